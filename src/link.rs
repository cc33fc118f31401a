//! Direct URLs: where a browser reads an object without asking RT.

use crate::config::{Config, DirectLink};
use crate::error::{Code, Error, Result};
use crate::key::Key;

/// The URL of an object. Letters, digits and `-_.~%/:[]` only, so that it is safe in HTML.
///
/// # Errors
/// [`Code::Config`] where the options don't allow a link.
pub fn direct_url(config: &Config, key: &Key) -> Result<String> {
    match config.direct_link {
        Some(DirectLink::Public) => {
            let object = config.object_key(&key.hex());
            Ok(config.endpoint.address(&config.bucket, &object).url())
        }
        None => Err(Error::new(
            Code::Config,
            "no direct links: the option DirectLink has a value that is not allowed",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn url(given: &[(&str, &str)]) -> Result<String> {
        let (config, _) = Config::parse(given.iter().copied()).unwrap();
        direct_url(&config, &Key::of(b""))
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
    fn no_link_where_another_kind_was_asked_for() {
        let error = url(&[("Bucket", "files"), ("DirectLink", "private")]).unwrap_err();
        assert_eq!(error.code(), Code::Config);
    }
}
