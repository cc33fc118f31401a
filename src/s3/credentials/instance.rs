//! The metadata service of an EC2 instance, version 2; version 1 is never used: it gives the keys to
//! whoever can make a program on the instance ask for an address.
//!
//! <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>

use std::time::Duration;

use super::http::{address, Answer, Http};
use super::{answer, NoKeys, Search, Sourced};
use crate::config::{encode_path, Source};

/// For each request: elsewhere than on an instance nobody answers.
const LIMIT: Duration = Duration::from_secs(1);
const SERVICE: &str = "http://169.254.169.254";
const SERVICE_IPV6: &str = "http://[fd00:ec2::254]";
const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

pub(super) async fn look(search: &Search<'_>) -> Sourced {
    let is_off = |value: String| value.eq_ignore_ascii_case("true");
    if search.variable("AWS_EC2_METADATA_DISABLED").is_some_and(is_off) {
        return Err(NoKeys::Absent("AWS_EC2_METADATA_DISABLED is true".to_owned()));
    }
    let named = search.variable(ENDPOINT);
    let base = named.clone().unwrap_or_else(|| {
        let mode = search.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE");
        let is_ipv6 = mode.is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        if is_ipv6 { SERVICE_IPV6 } else { SERVICE }.to_owned()
    });
    let base = base.trim_end_matches('/');
    // Without being named it is only a guess that this is an instance.
    let is_named = named.is_some() || search.config.credentials.names(Source::Instance);
    let http = Http::direct(LIMIT);
    let ask = async |method, path: &str, header| {
        let address = address(&format!("{base}{path}"))
            .map_err(|problem| NoKeys::Failed(format!("{ENDPOINT} can't be used: {problem}")))?;
        let answer = http.send(method, &address, &[header], String::new()).await;
        answer.map_err(|error| match is_named || method == "GET" {
            true => NoKeys::Passing(error),
            false => NoKeys::Absent(error),
        })
    };
    let life = ("x-aws-ec2-metadata-token-ttl-seconds", "300");
    let token = ask("PUT", "/latest/api/token", life).await?;
    let token = match text(token)? {
        Some(token) if !token.is_empty() => token,
        _ => {
            return Err(NoKeys::Failed(
                "the metadata service gives no token of version 2, and version 1 is not used".to_owned(),
            ))
        }
    };
    let header = ("x-aws-ec2-metadata-token", token.as_str());
    let roles = text(ask("GET", ROLES, header).await?)?.unwrap_or_default();
    let Some(role) = roles.lines().map(str::trim).find(|role| !role.is_empty()) else {
        return Err(NoKeys::Absent("the instance has no IAM role".to_owned()));
    };
    let keys = ask("GET", &format!("{ROLES}{}", encode_path(role)), header).await?;
    let date = keys.date;
    let Some(keys) = text(keys)? else {
        return Err(NoKeys::Failed(
            "the metadata service has no keys of the instance's role".to_owned(),
        ));
    };
    answer::of_json(keys.as_bytes(), "Token", date)
        .map_err(|problem| NoKeys::Passing(format!("the metadata service: {problem}")))
}

/// The text of an answer; None: there is nothing under this name, or it is not allowed.
fn text(answer: Answer) -> Result<Option<String>, NoKeys> {
    match answer.status {
        200 => Ok(String::from_utf8(answer.body)
            .ok()
            .map(|text| text.trim().to_owned())),
        401 | 403 | 404 | 405 => Ok(None),
        status => Err(NoKeys::Passing(format!(
            "the metadata service answers with status {status}"
        ))),
    }
}
