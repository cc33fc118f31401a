//! Options to a validated [`Config`].
//!
//! Two kinds of mistake are told apart. Where no request can be formed at all (no Bucket, half a
//! key pair, a Host that can't be parsed), [`Config::parse`] fails. Every other mistake is reported
//! beside the configuration, which then works for reading; where the mistake touches what is
//! written, [`Config::check_writable`] refuses.

mod cache;
mod credentials;
mod endpoint;
mod host;
mod link;
mod mask;
mod options;
mod proxy;
mod secret;
mod written;

use std::time::Duration;

use crate::error::{quoted, Code, Error, Result};

pub use cache::CacheOptions;
pub use credentials::{Credentials, Keys, Source};
pub(crate) use endpoint::encode_path;
pub use endpoint::{Address, AddressingStyle, Endpoint};
pub(crate) use host::{is_region, region_in_address};
pub use link::DirectLink;
pub use mask::Mask;
pub use options::{names, OPTIONS};
pub use proxy::Proxy;
pub use secret::Secret;
pub use written::Written;

use options::Options;

/// The most uploads at once that can be asked for.
pub(crate) const MOST_CONCURRENT: u32 = 1024;

/// A configuration with which requests can be formed.
#[derive(Debug)]
pub struct Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Where the bucket is, and how it is addressed.
    pub endpoint: Endpoint,
    /// The same in the other addressing style, where that may be tried.
    pub other_endpoint: Option<Endpoint>,
    /// The keys to sign with, or where to look for them.
    pub credentials: Credentials,
    /// Put before every object key; may be empty.
    pub prefix: String,
    /// Extra certificate authorities, PEM.
    pub extra_authorities: Option<Vec<u8>>,
    /// The HTTP proxy to go through.
    pub proxy: Option<Proxy>,
    /// What goes with what is written.
    pub written: Written,
    /// Whether a missing bucket may be made.
    pub create_bucket: bool,
    /// Which direct links can be given out, if any.
    pub direct_link: Option<DirectLink>,
    /// To connect: name look-up and TLS included.
    pub connect_timeout: Duration,
    /// Stalled: less than 1 kB moved in this time, either way.
    pub read_timeout: Duration,
    /// Time without success in one call.
    pub deadline: Duration,
    /// Attempts after the first.
    pub retries: u32,
    /// Uploads under way at once in bulk work.
    pub concurrency: u32,
    /// Where copies of contents are kept.
    pub cache: Option<CacheOptions>,
    /// Masks the secrets of these options.
    pub mask: Mask,
    refusal: Option<String>,
}

/// A mistake in the options that does not stop reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// One line: the option, its value, what is allowed, what is used instead.
    pub message: String,
    /// Whether writing is refused until it is mended.
    pub refuses_writing: bool,
}

impl Config {
    /// Checks options given as name and value.
    ///
    /// # Errors
    /// [`Code::Config`] where no request can be formed.
    pub fn parse<'a>(given: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<(Config, Vec<Mistake>)> {
        Config::parse_in(given, |name| std::env::var(name).ok())
    }

    /// As [`Config::parse`], in an environment whose variables `environment` looks up.
    ///
    /// # Errors
    /// [`Code::Config`] where no request can be formed.
    pub fn parse_in<'a>(
        given: impl IntoIterator<Item = (&'a str, &'a str)>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Config, Vec<Mistake>)> {
        let given: Vec<_> = given.into_iter().collect();
        let mask = Mask::of(&given, Proxy::variables().filter_map(&environment));
        Config::parse_with(&given, &mask, environment)
            .map_err(|error| Error::new(error.code(), mask.apply(error.message())))
    }

    fn parse_with(
        given: &[(&str, &str)],
        mask: &Mask,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<(Config, Vec<Mistake>)> {
        let mut options = Options::new(given, mask);
        let bucket = parse_bucket(&options)?;
        let credentials = Credentials::parse(&mut options)?;
        let endpoint = Endpoint::parse(&mut options, &bucket)?;
        let config = Config {
            credentials,
            prefix: options.checked("Prefix", parse_prefix),
            extra_authorities: parse_authorities(&mut options, endpoint.is_https()),
            proxy: Proxy::find(&mut options, endpoint.is_https(), endpoint.host(), environment),
            written: Written::parse(&mut options, endpoint.is_aws()),
            create_bucket: parse_create_bucket(&mut options),
            direct_link: DirectLink::parse(&mut options),
            connect_timeout: options.seconds("ConnectTimeout", 0.1, 60.0),
            read_timeout: options.seconds("ReadTimeout", 0.1, 600.0),
            deadline: options.seconds("Deadline", 0.1, 3600.0),
            retries: options.whole_number("Retries", 0, 20),
            concurrency: options.whole_number("Concurrency", 1, MOST_CONCURRENT),
            cache: CacheOptions::parse(&mut options),
            mask: mask.clone(),
            refusal: None,
            other_endpoint: endpoint.in_other_style(&bucket),
            bucket,
            endpoint,
        };
        let mistakes = options.into_mistakes();
        let refusal = mistakes
            .iter()
            .find(|mistake| mistake.refuses_writing)
            .map(|mistake| mistake.message.clone());
        Ok((Config { refusal, ..config }, mistakes))
    }

    /// The full object key for a digest.
    pub fn object_key(&self, digest: &str) -> String {
        format!("{}{digest}", self.prefix)
    }

    /// What is to be said where keys are used over a connection that anybody can read.
    pub(crate) fn http_warning(&self) -> Option<&'static str> {
        (!self.endpoint.is_https()).then_some(
            "option Host begins with http://: whoever is on the way can read what is stored and change what is answered; use https:// where you can",
        )
    }

    /// Whether this configuration may write.
    ///
    /// # Errors
    /// [`Code::Config`] with the mistake that has to be mended first.
    pub fn check_writable(&self) -> Result<()> {
        match &self.refusal {
            None => Ok(()),
            Some(mistake) => Err(Error::new(
                Code::Config,
                format!("nothing is written until this is mended: {mistake}"),
            )),
        }
    }
}

fn parse_bucket(options: &Options<'_>) -> Result<String> {
    const ALLOWED: &str = "letters, digits, '.', '-' and '_', at most 255 of them";
    match options.raw("Bucket") {
        None | Some("") => Err(Error::new(
            Code::Config,
            options.with_mistakes("option Bucket is missing: it names the bucket that keeps the attachments"),
        )),
        Some(name)
            if name.len() <= 255
                && !name.trim_matches('.').is_empty()
                && name
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || b".-_".contains(&c)) =>
        {
            Ok(name.to_owned())
        }
        Some(name) => Err(Error::new(
            Code::Config,
            format!("option Bucket: {} is not a bucket name: {ALLOWED}", quoted(name)),
        )),
    }
}

fn parse_prefix(value: &str) -> std::result::Result<String, &'static str> {
    let segments_ok = !value.starts_with('/')
        && !value.contains("//")
        && !value.split('/').any(|segment| segment == "." || segment == "..");
    if segments_ok && value.len() <= 512 && !value.chars().any(char::is_control) {
        Ok(value.to_owned())
    } else {
        Err("at most 512 bytes, no control character, no slash at the start, no '//', no '.' or '..' between slashes")
    }
}

fn parse_authorities(options: &mut Options<'_>, https: bool) -> Option<Vec<u8>> {
    let path = options.text("CAFile")?;
    if !https {
        options.mistake(
            "option CAFile makes no sense with an http:// Host: it is not used",
            false,
        );
        return None;
    }
    let problem = match std::fs::read(path) {
        Err(error) => error.to_string(),
        Ok(pem) => match native_tls::Certificate::stack_from_pem(&pem) {
            Ok(certificates) if !certificates.is_empty() => return Some(pem),
            Ok(_) => "it holds no certificate".to_owned(),
            Err(error) => error.to_string(),
        },
    };
    options.mistake(
        &format!(
            "option CAFile: {} can't be used ({problem}): a readable file of PEM certificates is allowed; using the system's certificate authorities",
            quoted(path)
        ),
        false,
    );
    None
}

fn parse_create_bucket(options: &mut Options<'_>) -> bool {
    options.checked("CreateBucket", |value| match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("0 or 1"),
    })
}

#[cfg(test)]
mod tests;
