//! Direct URLs: where a browser reads an object without asking RT.

mod disposition;

use std::time::{Duration, SystemTime};

use crate::config::{encode_path, Address, Config};
use crate::content_type::{self, header_value};
use crate::error::{quoted, Code, Error, Result};
use crate::s3::{encode_value, Presigner};

/// What browsers, proxies and mail programs take; what is longer may be cut.
const LONGEST_URL: usize = 1999;
/// The parts of a link's life within which its URL stays the same.
const WINDOWS: u64 = 4;
/// Links that live shorter are of no use.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// What a browser is told of one download.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// What the file is called.
    pub file_name: Option<&'a str>,
    /// Its type, instead of the one that the object is stored with.
    pub content_type: Option<&'a str>,
    /// `inline` or `attachment`.
    pub disposition: Option<&'a str>,
}

/// A link that lives as long as the object, to its address in the bucket.
///
/// # Errors
/// [`Code::Config`] where the address is not safe in HTML.
pub fn public(address: &Address) -> Result<String> {
    safe(address.url())
}

/// The same at another host, scheme and all.
///
/// # Errors
/// As [`public`].
pub fn public_at(host: &str, object: &str) -> Result<String> {
    safe(format!("{host}/{}", encode_path(object)))
}

/// When the links that are given out at `now` are signed, and how many seconds they live from then
/// on: within a quarter of that time they stay the same, so that browsers keep what they have read.
///
/// # Errors
/// [`Code::Credentials`] where the keys, which are good until `keys_expire`, are about to expire.
pub fn window(
    expires: Duration,
    now: SystemTime,
    keys_expire: Option<SystemTime>,
) -> Result<(SystemTime, u64)> {
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let window = (expires.as_secs() / WINDOWS).max(1);
    let begin = Duration::from_secs(since_epoch.as_secs() / window * window);
    let begin = SystemTime::UNIX_EPOCH + begin;
    let Some(end) = keys_expire else {
        return Ok((begin, expires.as_secs()));
    };
    match end.duration_since(now) {
        Ok(left) if left >= SHORTEST_LIFE => {
            let life = end.duration_since(begin).unwrap_or_default();
            Ok((begin, expires.min(life).as_secs()))
        }
        _ => Err(Error::new(
            Code::Credentials,
            "no direct link: the temporary keys are about to expire",
        )),
    }
}

/// A signed link to `address`, for `life` seconds, in which a browser may keep what it has read: what is
/// stored under a digest never changes.
///
/// # Errors
/// [`Code::Argument`] for a disposition that does not exist; [`Code::Config`] where the URL would
/// not be safe in HTML, or too long.
pub fn presigned(
    config: &Config,
    presigner: &Presigner,
    address: &Address,
    life: u64,
    about: About<'_>,
) -> Result<String> {
    let kind = disposition(about)?;
    let content_type = about.content_type.map(|given| header_value(Some(given)).0);
    let sign = |disposition: String| {
        let mut more = vec![
            ("response-cache-control", format!("private%2C%20max-age%3D{life}")),
            ("response-content-disposition", disposition),
        ];
        if let Some(content_type) = &content_type {
            more.push(("response-content-type", encode_value(content_type)));
        }
        if let Some(owner) = &config.written.bucket_owner {
            more.push(("x-amz-expected-bucket-owner", owner.clone()));
        }
        presigner.url(address, life, &more)
    };
    let full = disposition::encoded(kind, about.file_name, LONGEST_URL);
    let length = full.len();
    let mut url = sign(full);
    if url.len() > LONGEST_URL {
        let room = LONGEST_URL.saturating_sub(url.len() - length);
        url = sign(disposition::encoded(kind, about.file_name, room));
    }
    if url.len() > LONGEST_URL {
        let text = format!(
            "no direct link: its URL would have {} characters, more than {LONGEST_URL}, which not every browser and proxy takes; the session token of the keys is too long",
            url.len()
        );
        return Err(Error::new(Code::Config, text));
    }
    safe(url)
}

/// What a browser would run is a download, whatever is asked for; so is what has no type, for then
/// the object's own decides.
fn disposition(about: About<'_>) -> Result<&'static str> {
    match about.disposition {
        None | Some("attachment") => Ok("attachment"),
        Some("inline") => match about.content_type.map(|given| header_value(Some(given)).0) {
            Some(content_type) => Ok(content_type::disposition(&content_type).unwrap_or("inline")),
            None => Ok("attachment"),
        },
        Some(other) => {
            let text = format!(
                "disposition: {} is not allowed: 'inline' or 'attachment'",
                quoted(other)
            );
            Err(Error::new(Code::Argument, text))
        }
    }
}

/// RT prints URLs into HTML, in places as they are.
fn safe(url: String) -> Result<String> {
    let is_safe = |c: u8| c.is_ascii_alphanumeric() || b"-_.~%/?&=:".contains(&c);
    if url.bytes().all(is_safe) {
        return Ok(url);
    }
    let host = url.split('/').nth(2).unwrap_or_default();
    let text = format!(
        "no direct link: the host {} has a character that is not safe in HTML; set Host to a name, or to an IPv4 address",
        quoted(host)
    );
    Err(Error::new(Code::Config, text))
}

#[cfg(test)]
mod tests;
