//! Names of hosts and buckets: how Host is written, and what providers write into theirs.

use crate::error::{quoted, Code, Error, Result};

/// S3's own endpoint, which knows every bucket of every region of the `aws` partition.
pub(super) const AWS: &str = "s3.amazonaws.com";
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// `host`, `host:port`, or either with `http://` or `https://` before it and a slash behind.
pub(super) fn parse_host(given: &str) -> Result<(bool, String, Option<u16>)> {
    let refuse = |what: &str| {
        // A password in a URL must not reach the log.
        let shown = match given.rsplit_once('@') {
            Some((_, host)) => format!("'***@{host}'"),
            None => quoted(given),
        };
        Err(Error::new(
            Code::Config,
            format!("option Host: {shown} {what}: allowed is host, host:port, or a URL http://host[:port] or https://host[:port]"),
        ))
    };
    let lower = given.to_ascii_lowercase();
    let (https, rest) = match lower.split_once("://") {
        None => (true, lower.as_str()),
        Some(("https", rest)) => (true, rest),
        Some(("http", rest)) => (false, rest),
        Some(_) => return refuse("has a scheme that is neither http nor https"),
    };
    if rest.contains('@') {
        return refuse("has a user name or password in it");
    }
    if rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return refuse("has a blank in it");
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains(['/', '?', '#', '\\']) {
        return refuse("has a path in it");
    }
    let (name, port) = match rest.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => match port.parse::<u16>() {
            Ok(port) if port > 0 => (name, Some(port)),
            _ => return refuse("has a port that is not a number from 1 to 65535"),
        },
        _ => (rest, None),
    };
    if !is_host(name) {
        return refuse("is not a host name or address");
    }
    Ok((https, name.to_owned(), port))
}

fn is_host(name: &str) -> bool {
    if let Some(inner) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label_ok)
}

/// The region that a provider writes into its host names.
pub(super) fn region_of_host(host: &str) -> Option<String> {
    // https://docs.aws.amazon.com/general/latest/gr/s3.html; Cloudflare R2 signs for "auto".
    if host.ends_with(".r2.cloudflarestorage.com") {
        return Some("auto".to_owned());
    }
    let labels: Vec<&str> = host.split('.').collect();
    let provider = [
        "amazonaws.com",
        "amazonaws.com.cn",
        "backblazeb2.com",
        "wasabisys.com",
        "scw.cloud",
    ]
    .into_iter()
    .find(|provider| host.ends_with(&format!(".{provider}")))?;
    let before = &labels[..labels.len() - provider.split('.').count()];
    let region = match before {
        // s3-eu-west-1: the form before 2019
        [.., last] if last.starts_with("s3-") && !last.starts_with("s3-fips") => last.strip_prefix("s3-")?,
        ["s3" | "s3-fips", region] => region,
        ["s3" | "s3-fips", "dualstack", region] => region,
        _ => return None,
    };
    // s3-external-1 and s3-accelerate are no regions.
    (!["external-1", "accelerate"].contains(&region)).then(|| region.to_owned())
}

/// The region in an address of AWS's, a URL or a host, with or without a bucket before it.
pub(crate) fn region_in_address(address: &str) -> Option<String> {
    let host = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = host.split(['/', ':', '?']).next().unwrap_or_default();
    let mut rest = is_aws(host).then_some(host)?;
    loop {
        if let Some(region) = region_of_host(rest) {
            return Some(region);
        }
        rest = rest.split_once('.')?.1;
    }
}

/// Whether it may be a region's name.
pub(crate) fn is_region(name: &str) -> bool {
    (1..=63).contains(&name.len())
        && name
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

/// The name that the same service has in another region, where AWS's names say the region.
pub(super) fn host_in_region(host: &str, region: &str) -> Option<String> {
    let same_partition = host.ends_with(".cn") == region.starts_with("cn-");
    if !is_aws(host) || !same_partition {
        return None;
    }
    match region_of_host(host) {
        // With dualstack or fips in it: only the label changes.
        Some(old) if host.contains(&format!(".{old}.")) => {
            Some(host.replacen(&format!(".{old}."), &format!(".{region}."), 1))
        }
        Some(_) => Some(regional_host(region)),
        None => (host == AWS).then(|| regional_host(region)),
    }
}

pub(super) fn regional_host(region: &str) -> String {
    match region {
        DEFAULT_REGION => AWS.to_owned(),
        region if region.starts_with("cn-") => format!("s3.{region}.amazonaws.com.cn"),
        region => format!("s3.{region}.amazonaws.com"),
    }
}

pub(super) fn is_aws(host: &str) -> bool {
    host == AWS || host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
}

/// Whether the bucket's name can be one label of a host name: no dots, for the wildcard
/// certificates of S3 cover one label only.
pub(super) fn is_dns_safe(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len()) && is_dns_safe_label(bucket)
}

pub(super) fn is_dns_safe_label(label: &str) -> bool {
    !label.is_empty()
        && label
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !label.starts_with('-')
        && !label.ends_with('-')
}
