//! Where a bucket is: Host, Region and AddressingStyle.

use std::borrow::Cow;

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

use super::host::{
    host_in_region, is_aws, is_dns_safe, is_dns_safe_label, is_region, parse_host, region_of_host,
    regional_host, AWS, DEFAULT_REGION,
};
use super::options::Options;
use crate::error::{quoted, Result};

const STYLES: &str = "'auto', 'path' or 'virtual'";

/// RFC 3986's unreserved characters and the slash stay; SigV4 wants the same.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// How a bucket is named in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressingStyle {
    /// `https://host/bucket/key`
    Path,
    /// `https://bucket.host/key`
    Virtual,
}

/// A server that speaks S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    https: bool,
    /// Name or address; an IPv6 address in brackets.
    host: String,
    port: Option<u16>,
    region: String,
    /// Whether it was given, or the host's name says it.
    region_is_given: bool,
    style: AddressingStyle,
    /// Whether the style was not given, so that the other one may be tried.
    automatic: bool,
}

/// Where one request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Whether over TLS.
    pub https: bool,
    /// Name or address to connect to, without brackets.
    pub host: String,
    /// TCP port to connect to.
    pub port: u16,
    /// The Host header: name, and the port where it is not the scheme's own.
    pub authority: String,
    /// The path, percent-encoded, from its first slash.
    pub path: String,
}

impl Address {
    /// The address as a URL without query.
    pub fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

impl Endpoint {
    pub(super) fn parse(options: &mut Options<'_>, bucket: &str) -> Result<Self> {
        let host = options.text("Host");
        let (https, host, port) = match host {
            None => (true, AWS.to_owned(), None),
            Some(host) => parse_host(host)?,
        };
        let region = parse_region(options, &host);
        let host = match (host.as_str(), &region) {
            (AWS, Some(region)) => regional_host(region),
            _ => host,
        };
        let (style, automatic) = parse_style(options, &host, bucket);
        Ok(Endpoint {
            https,
            region_is_given: region.is_some(),
            region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
            host,
            port,
            style,
            automatic,
        })
    }

    /// Whether requests go over TLS.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Name or address of the server, without the bucket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the server is AWS's; its name decides.
    pub fn is_aws(&self) -> bool {
        is_aws(&self.host)
    }

    /// The region to sign for.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Whether the region was given, by an option or the host's name; else it is a guess.
    pub fn region_is_given(&self) -> bool {
        self.region_is_given
    }

    /// The addressing style in force.
    pub fn style(&self) -> AddressingStyle {
        self.style
    }

    /// The same server in the other addressing style, where that may be tried.
    pub fn in_other_style(&self, bucket: &str) -> Option<Endpoint> {
        let style = match self.style {
            AddressingStyle::Virtual => AddressingStyle::Path,
            AddressingStyle::Path if is_dns_safe(bucket) => AddressingStyle::Virtual,
            AddressingStyle::Path => return None,
        };
        self.automatic.then(|| Endpoint {
            style,
            ..self.clone()
        })
    }

    /// The same server for another region. The host changes only where AWS's names say the region.
    pub fn in_region(&self, region: &str) -> Endpoint {
        Endpoint {
            host: host_in_region(&self.host, region).unwrap_or_else(|| self.host.clone()),
            region: region.to_owned(),
            ..self.clone()
        }
    }

    /// Address of an object, or of the bucket itself where `object` is empty.
    pub fn address(&self, bucket: &str, object: &str) -> Address {
        let object = encode_path(object);
        let (host, path) = match self.style {
            AddressingStyle::Path => (Cow::from(&self.host), format!("/{bucket}/{object}")),
            AddressingStyle::Virtual => (Cow::from(format!("{bucket}.{}", self.host)), format!("/{object}")),
        };
        let path = match path.strip_suffix('/') {
            Some(bucket_alone) if bucket_alone.len() > 1 => bucket_alone.to_owned(),
            _ => path,
        };
        let port = self.port.unwrap_or(if self.https { 443 } else { 80 });
        let authority = match (self.https, port) {
            (true, 443) | (false, 80) => host.to_string(),
            _ => format!("{host}:{port}"),
        };
        Address {
            https: self.https,
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority,
            path,
        }
    }
}

/// An object's key as it stands in a URL.
pub(crate) fn encode_path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

fn parse_region(options: &mut Options<'_>, host: &str) -> Option<String> {
    let from_host = region_of_host(host);
    let Some(given) = options.text("Region") else {
        return from_host;
    };
    if is_region(given) {
        return Some(given.to_owned());
    }
    let default = from_host.clone().unwrap_or_else(|| DEFAULT_REGION.to_owned());
    options.not_allowed(
        "Region",
        given,
        "lower-case letters, digits and '-', such as eu-central-1",
        &default,
    );
    from_host
}

/// The style, and whether it was chosen here.
fn parse_style(options: &mut Options<'_>, host: &str, bucket: &str) -> (AddressingStyle, bool) {
    let automatic = if is_aws(host) && is_dns_safe(bucket) {
        AddressingStyle::Virtual
    } else {
        AddressingStyle::Path
    };
    match options.text("AddressingStyle") {
        None | Some("auto") => (automatic, true),
        Some("path") => (AddressingStyle::Path, false),
        Some("virtual") if bucket.split('.').all(is_dns_safe_label) => (AddressingStyle::Virtual, false),
        Some("virtual") => {
            options.mistake(
                &format!(
                    "option AddressingStyle: 'virtual' makes no sense with Bucket {}, which is no host name: using 'path'",
                    quoted(bucket)
                ),
                false,
            );
            (AddressingStyle::Path, false)
        }
        Some(other) => {
            options.not_allowed("AddressingStyle", other, STYLES, "auto");
            (automatic, true)
        }
    }
}

#[cfg(test)]
mod tests;
