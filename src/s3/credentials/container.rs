//! The services that give keys to the containers of ECS and EKS.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html>

use std::net::IpAddr;
use std::time::Duration;

use super::http::{address, Http};
use super::{answer, NoKeys, Search, Sourced};
use crate::config::Address;

const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const ECS: &str = "http://169.254.170.2";
const LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn look(search: &Search<'_>) -> Sourced {
    let service = service(search)?;
    let token = authorization(search)?;
    let mut headers = vec![("accept", "application/json")];
    if let Some(token) = &token {
        headers.push(("authorization", token));
    }
    let answer = Http::direct(LIMIT)
        .send("GET", &service, &headers, String::new())
        .await
        .map_err(NoKeys::Passing)?;
    match answer.status {
        200 => answer::of_json(&answer.body, "Token", answer.date)
            .map_err(|problem| NoKeys::Passing(format!("the container's service: {problem}"))),
        status => {
            let text = format!("the container's service answers with status {status}");
            Err(match status {
                429 | 500.. => NoKeys::Passing(text),
                _ => NoKeys::Failed(text),
            })
        }
    }
}

fn service(search: &Search<'_>) -> Result<Address, NoKeys> {
    if let Some(path) = search.variable(RELATIVE) {
        if !path.starts_with('/') {
            return Err(NoKeys::Failed(format!("{RELATIVE} does not begin with a slash")));
        }
        return address(&format!("{ECS}{path}"))
            .map_err(|problem| NoKeys::Failed(format!("{RELATIVE} can't be used: {problem}")));
    }
    let Some(url) = search.variable(FULL) else {
        return Err(NoKeys::Absent(format!("neither {RELATIVE} nor {FULL} is set")));
    };
    let service =
        address(&url).map_err(|problem| NoKeys::Failed(format!("{FULL} can't be used: {problem}")))?;
    if service.https || is_local(&service.host) {
        return Ok(service);
    }
    Err(NoKeys::Failed(format!(
        "{FULL} can't be used: with http:// only this machine and the addresses of ECS and EKS are allowed"
    )))
}

fn is_local(host: &str) -> bool {
    const SERVICES: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
    match host.parse::<IpAddr>() {
        Ok(ip) => ip.is_loopback() || SERVICES.iter().any(|service| service.parse() == Ok(ip)),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

fn authorization(search: &Search<'_>) -> Result<Option<String>, NoKeys> {
    let (name, token) = match search.variable(TOKEN_FILE) {
        Some(path) => match std::fs::read_to_string(&path) {
            Ok(token) => (TOKEN_FILE, token),
            Err(error) => {
                return Err(NoKeys::Failed(format!(
                    "can't read {path}, which {TOKEN_FILE} names: {error}"
                )))
            }
        },
        None => match search.variable(TOKEN) {
            Some(token) => (TOKEN, token),
            None => return Ok(None),
        },
    };
    let token = token.trim();
    match token.bytes().all(|c| (b' '..=b'~').contains(&c)) {
        true => Ok(Some(token.to_owned())),
        false => Err(NoKeys::Failed(format!(
            "{name} has a character that no header has"
        ))),
    }
}
