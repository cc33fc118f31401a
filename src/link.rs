//! Direct URLs: where a browser reads an object without asking RT.

use crate::config::{encode_path, Config, DirectLink, Endpoint};
use crate::error::{Code, Error, Result};
use crate::key::Key;

/// The URL of an object. Letters, digits and `-_.~%/:[]` only, so that it is safe in HTML.
///
/// `endpoint`: that of the configuration, in the addressing style in force.
///
/// # Errors
/// [`Code::Config`] where the options don't allow a link.
pub fn direct_url(config: &Config, endpoint: &Endpoint, key: &Key) -> Result<String> {
    let object = config.object_key(&key.hex());
    match &config.direct_link {
        Some(DirectLink::Public) => Ok(endpoint.address(&config.bucket, &object).url()),
        Some(DirectLink::PublicAt(host)) => Ok(format!("{host}/{}", encode_path(&object))),
        None => Err(Error::new(
            Code::Config,
            "no direct links: a link option has a value that is not allowed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn url(given: &[(&str, &str)]) -> Result<String> {
        let (config, _) = Config::parse(given.iter().copied()).unwrap();
        direct_url(&config, &config.endpoint, &Key::of(b""))
    }

    #[test]
    fn public_links() {
        let bucket = ("Bucket", "files");
        assert_eq!(
            url(&[bucket]).unwrap(),
            format!("https://files.s3.amazonaws.com/{EMPTY}")
        );
        assert_eq!(
            url(&[
                bucket,
                ("Host", "http://localhost:9000"),
                ("Prefix", "rt \"<ä>'/")
            ])
            .unwrap(),
            format!("http://localhost:9000/files/rt%20%22%3C%C3%A4%3E%27/{EMPTY}")
        );
        assert_eq!(
            url(&[("Bucket", "my.files"), ("DirectLink", "public")]).unwrap(),
            format!("https://s3.amazonaws.com/my.files/{EMPTY}")
        );
    }

    #[test]
    fn links_at_another_host_have_nothing_of_the_bucket() {
        let bucket = ("Bucket", "files");
        assert_eq!(
            url(&[bucket, ("DirectLinkHost", "cdn.example.org"), ("Prefix", "r t/")]).unwrap(),
            format!("https://cdn.example.org/r%20t/{EMPTY}")
        );
        assert_eq!(
            url(&[
                bucket,
                ("DirectLinkHost", "http://cdn:8080/"),
                ("Host", "elsewhere")
            ])
            .unwrap(),
            format!("http://cdn:8080/{EMPTY}")
        );
        assert!(url(&[bucket, ("DirectLinkHost", "cdn/path")]).is_err());
    }

    #[test]
    fn no_link_where_another_kind_was_asked_for() {
        let error = url(&[("Bucket", "files"), ("DirectLink", "private")]).unwrap_err();
        assert_eq!(error.code(), Code::Config);
    }
}
