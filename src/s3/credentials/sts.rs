//! AWS's token service: temporary keys of a role.
//!
//! <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html>

use std::time::Duration;

use super::super::document::children;
use super::super::presign::encode_value;
use super::super::sign::{authorization, timestamp, Scope, Signable};
use super::http::{address, Answer, Http};
use super::{answer, NoKeys, Search, Sourced};
use crate::config::{is_region, Address, Keys, Mask};
use crate::error::one_line;
use crate::key::Key;

const LIMIT: Duration = Duration::from_secs(5);
const ENDPOINT: &str = "AWS_ENDPOINT_URL_STS";
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A role, and how it is to be assumed.
#[derive(Debug, Default)]
pub(super) struct Role {
    pub(super) arn: String,
    pub(super) session_name: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) duration_seconds: Option<String>,
}

/// The service of one region.
pub(super) struct Sts {
    http: Http,
    address: Address,
    region: String,
}

impl Sts {
    /// `region`: that of the profile, if there is one.
    pub(super) fn new(search: &Search<'_>, region: Option<&str>) -> Result<Self, NoKeys> {
        let variable = |name| search.variable(name);
        let endpoint = &search.config.endpoint;
        let region = variable("AWS_REGION")
            .or_else(|| variable("AWS_DEFAULT_REGION"))
            .or_else(|| region.map(str::to_owned))
            .unwrap_or_else(|| endpoint.region().to_owned());
        if !is_region(&region) {
            return Err(NoKeys::Failed(
                "the region of the token service, in AWS_REGION or the profile, is not one".to_owned(),
            ));
        }
        let url = variable(ENDPOINT).unwrap_or_else(|| match region.starts_with("cn-") {
            true => format!("https://sts.{region}.amazonaws.com.cn"),
            false => format!("https://sts.{region}.amazonaws.com"),
        });
        let address = address(&url)
            .map_err(|problem| NoKeys::Failed(format!("{ENDPOINT} can't be used: {problem}")))?;
        Ok(Sts {
            http: Http::configured(search.config, LIMIT),
            address,
            region,
        })
    }

    /// With keys that may do so.
    pub(super) async fn assume_role(&self, search: &Search<'_>, role: &Role, keys: &Keys) -> Sourced {
        let body = form("AssumeRole", role, &[("ExternalId", role.external_id.as_deref())]);
        let timestamp = timestamp(search.now);
        let mut headers = vec![
            ("content-type", FORM),
            ("host", &self.address.authority),
            ("x-amz-date", &timestamp),
        ];
        if let Some(token) = &keys.session_token {
            headers.push(("x-amz-security-token", token.reveal()));
        }
        let (path, query) = self
            .address
            .path
            .split_once('?')
            .unwrap_or((&self.address.path, ""));
        let signable = Signable {
            method: "POST",
            path,
            query,
            headers: headers.clone(),
            payload: &Key::of(body.as_bytes()).hex(),
        };
        let scope = Scope {
            region: &self.region,
            service: "sts",
            timestamp: &timestamp,
        };
        let authorization = authorization(keys, scope, signable);
        headers.retain(|(name, _)| *name != "host");
        headers.push(("authorization", &authorization));
        let mask = search.config.mask.with(&keys.mask());
        let answer = self.http.send("POST", &self.address, &headers, body).await;
        read(answer, "AssumeRole", &mask)
    }

    /// With a token that somebody else has signed.
    pub(super) async fn assume_role_with_web_identity(
        &self,
        search: &Search<'_>,
        role: &Role,
        token: &str,
    ) -> Sourced {
        const ACTION: &str = "AssumeRoleWithWebIdentity";
        let body = form(ACTION, role, &[("WebIdentityToken", Some(token))]);
        let headers = [("content-type", FORM)];
        let answer = self.http.send("POST", &self.address, &headers, body).await;
        read(answer, ACTION, &search.config.mask.and(token))
    }
}

fn form(action: &str, role: &Role, more: &[(&str, Option<&str>)]) -> String {
    let fields = [
        ("Action", Some(action)),
        ("Version", Some("2011-06-15")),
        ("RoleArn", Some(role.arn.as_str())),
        (
            "RoleSessionName",
            Some(role.session_name.as_deref().unwrap_or("rts3")),
        ),
        ("DurationSeconds", role.duration_seconds.as_deref()),
    ];
    let fields = fields.iter().chain(more).filter_map(|(name, value)| {
        let value = encode_value((*value)?);
        Some(format!("{name}={value}"))
    });
    fields.collect::<Vec<_>>().join("&")
}

fn read(answer: Result<Answer, String>, action: &str, mask: &Mask) -> Sourced {
    let answer = answer.map_err(|error| NoKeys::Passing(format!("{action}: {error}")))?;
    let element = |path: &[&str]| children(&answer.body, path).unwrap_or_default();
    let text = |found: &[(String, String)], name: &str| {
        let found = found.iter().find(|(child, _)| child == name);
        found.map(|(_, text)| text.trim().to_owned())
    };
    if answer.status == 200 {
        let path = [
            &*format!("{action}Response"),
            &*format!("{action}Result"),
            "Credentials",
        ];
        let found = element(&path);
        let part = |name| text(&found, name);
        return answer::held(
            part("AccessKeyId").as_deref(),
            part("SecretAccessKey").as_deref(),
            part("SessionToken").as_deref(),
            part("Expiration").as_deref(),
            answer.date,
        )
        .map_err(|problem| NoKeys::Passing(format!("{action}: {problem}")));
    }
    let found = element(&["ErrorResponse", "Error"]);
    let code = text(&found, "Code").unwrap_or_default();
    let said = match text(&found, "Message") {
        Some(message) => format!(", {code}: {message}"),
        None => String::new(),
    };
    let said: String = one_line(&mask.apply(&said)).chars().take(200).collect();
    let text = format!("{action} is answered with status {}{said}", answer.status);
    Err(match answer.status {
        429 | 500.. => NoKeys::Passing(text),
        _ if code == "IDPCommunicationError" || code == "Throttling" => NoKeys::Passing(text),
        _ => NoKeys::Failed(text),
    })
}
