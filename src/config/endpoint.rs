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
mod tests {
    use crate::config::Config;

    /// URL and region for Host, Region, AddressingStyle and Bucket; `-`: not given.
    fn address(host: &str, region: &str, style: &str, bucket: &str) -> (String, String) {
        let given = [
            ("Host", host),
            ("Region", region),
            ("AddressingStyle", style),
            ("Bucket", bucket),
        ];
        let (config, _) = Config::parse(given.into_iter().filter(|(_, value)| *value != "-")).unwrap();
        let endpoint = &config.endpoint;
        (
            endpoint.address(bucket, "a b/ä+k").url(),
            endpoint.region().to_owned(),
        )
    }

    #[test]
    fn another_region_is_another_host_only_within_aws() {
        let table = [
            ("-", "https://files.s3.eu-west-1.amazonaws.com/"),
            (
                "s3.us-west-2.amazonaws.com",
                "https://files.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "s3-us-west-2.amazonaws.com",
                "https://files.s3.eu-west-1.amazonaws.com/",
            ),
            (
                "s3.dualstack.us-west-2.amazonaws.com",
                "https://files.s3.dualstack.eu-west-1.amazonaws.com/",
            ),
            (
                "s3-accelerate.amazonaws.com",
                "https://files.s3-accelerate.amazonaws.com/",
            ),
            (
                "s3.cn-north-1.amazonaws.com.cn",
                "https://files.s3.cn-north-1.amazonaws.com.cn/",
            ),
            ("https://s3.wasabisys.com", "https://s3.wasabisys.com/files"),
            ("http://localhost:9000", "http://localhost:9000/files"),
        ];
        for (host, url) in table {
            let given = [("Host", host), ("Bucket", "files")];
            let (config, _) = Config::parse(given.into_iter().filter(|(_, value)| *value != "-")).unwrap();
            let moved = config.endpoint.in_region("eu-west-1");
            assert_eq!(moved.address("files", "").url(), url, "{host}");
            assert_eq!(moved.region(), "eu-west-1");
        }
    }

    #[test]
    fn addresses() {
        let table = [
            ("-", "-", "-", "rt", "https://rt.s3.amazonaws.com", "us-east-1"),
            (
                "-",
                "eu-west-1",
                "-",
                "files",
                "https://files.s3.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "-",
                "us-east-1",
                "-",
                "files",
                "https://files.s3.amazonaws.com",
                "us-east-1",
            ),
            (
                "-",
                "cn-north-1",
                "-",
                "files",
                "https://files.s3.cn-north-1.amazonaws.com.cn",
                "cn-north-1",
            ),
            (
                "-",
                "-",
                "-",
                "my.files",
                "https://s3.amazonaws.com/my.files",
                "us-east-1",
            ),
            (
                "-",
                "-",
                "-",
                "My_Files",
                "https://s3.amazonaws.com/My_Files",
                "us-east-1",
            ),
            (
                "-",
                "-",
                "path",
                "files",
                "https://s3.amazonaws.com/files",
                "us-east-1",
            ),
            (
                "s3.eu-west-1.amazonaws.com",
                "-",
                "-",
                "files",
                "https://files.s3.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "s3-eu-west-1.amazonaws.com",
                "-",
                "-",
                "files",
                "https://files.s3-eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "s3.dualstack.eu-west-1.amazonaws.com",
                "-",
                "-",
                "files",
                "https://files.s3.dualstack.eu-west-1.amazonaws.com",
                "eu-west-1",
            ),
            (
                "localhost:9000",
                "-",
                "-",
                "files",
                "https://localhost:9000/files",
                "us-east-1",
            ),
            (
                "http://127.0.0.1:9000/",
                "garage",
                "-",
                "files",
                "http://127.0.0.1:9000/files",
                "garage",
            ),
            (
                "http://[::1]:9000",
                "-",
                "-",
                "files",
                "http://[::1]:9000/files",
                "us-east-1",
            ),
            (
                "HTTPS://S3.Example.org:443",
                "-",
                "virtual",
                "files",
                "https://files.s3.example.org",
                "us-east-1",
            ),
            (
                "s3.us-west-004.backblazeb2.com",
                "-",
                "-",
                "files",
                "https://s3.us-west-004.backblazeb2.com/files",
                "us-west-004",
            ),
            (
                "s3.eu-central-1.wasabisys.com",
                "-",
                "-",
                "files",
                "https://s3.eu-central-1.wasabisys.com/files",
                "eu-central-1",
            ),
            (
                "abc.r2.cloudflarestorage.com",
                "-",
                "-",
                "files",
                "https://abc.r2.cloudflarestorage.com/files",
                "auto",
            ),
        ];
        for (host, region, style, bucket, url, signed) in table {
            // A name of two letters is no bucket name on AWS.
            let url = if bucket == "rt" {
                "https://s3.amazonaws.com/rt"
            } else {
                url
            };
            let (got, got_region) = address(host, region, style, bucket);
            assert_eq!(
                got,
                format!("{url}/a%20b/%C3%A4%2Bk"),
                "Host {host}, Region {region}"
            );
            assert_eq!(got_region, signed, "Host {host}, Region {region}");
        }
    }

    #[test]
    fn the_bucket_itself_has_an_address() {
        let (config, _) = Config::parse([("Bucket", "files"), ("Host", "http://localhost:9")]).unwrap();
        assert_eq!(
            config.endpoint.address("files", "").url(),
            "http://localhost:9/files"
        );
        let (config, _) = Config::parse([("Bucket", "files")]).unwrap();
        assert_eq!(
            config.endpoint.address("files", "").url(),
            "https://files.s3.amazonaws.com/"
        );
    }
}
