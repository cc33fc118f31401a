//! Keys as services and programs write them in JSON.

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Held;
use crate::config::Keys;

/// `token`: what the session token is called; `told`: when it was written. An error says what is wrong, without what was read.
pub(super) fn of_json(document: &[u8], token: &str, told: Option<SystemTime>) -> Result<Held, String> {
    let document: Value =
        serde_json::from_slice(document).map_err(|_| "what it says is not JSON".to_owned())?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    // The metadata service says so, with status 200.
    if let Some(code) = text("Code").filter(|code| *code != "Success") {
        let code: String = code
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .take(64)
            .collect();
        return Err(format!("it says {code}"));
    }
    held(
        text("AccessKeyId"),
        text("SecretAccessKey"),
        text(token),
        text("Expiration"),
        told,
    )
}

/// Keys and their end, as they were written.
pub(super) fn held(
    id: Option<&str>,
    secret: Option<&str>,
    token: Option<&str>,
    expiration: Option<&str>,
    told: Option<SystemTime>,
) -> Result<Held, String> {
    let missing = |name: &str| format!("it gives no {name}");
    let id = id.ok_or_else(|| missing("AccessKeyId"))?;
    let secret = secret.ok_or_else(|| missing("SecretAccessKey"))?;
    let keys = Keys::checked(id, secret, token)
        .map_err(|name| format!("it gives a {name} with a character that no key has"))?;
    let expires = expiration.map(moment).transpose()?;
    Ok(Held { keys, expires, told })
}

/// `2026-11-25T20:00:00Z`
fn moment(text: &str) -> Result<SystemTime, String> {
    DateTime::parse_from_rfc3339(text.trim())
        .map(|time| time.with_timezone(&Utc).into())
        .map_err(|_| "it gives an Expiration that is no time".to_owned())
}
