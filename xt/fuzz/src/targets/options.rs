//! Options, given as lines `name=value`.

use rts3::config::{Config, Credentials};
use rts3::error::Code;
use rts3::key::Key;
use rts3::link;

use super::{check_error, check_line, check_parts, SECRET};

/// Stands for the secret.
const SECRET_MARK: &str = "\u{1}";
/// Before the name of an environment variable.
const ENVIRONMENT: &str = "$";

/// Options and environment variables to a configuration.
pub fn options(data: &[u8]) {
    let text = String::from_utf8_lossy(data).replace(SECRET_MARK, SECRET);
    // A value may have a newline in it: a line feed begins a new option, a record separator does not.
    let pairs: Vec<(String, String)> = text
        .split('\n')
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.replace('\u{1e}', "\n")))
        .map(|(name, value)| match name.as_str() {
            // Never a device, which may have no end.
            "CAFile" if !value.is_empty() => (name, format!("/nonexistent/{value}")),
            _ => (name, value),
        })
        .collect();
    let (environment, given): (Vec<_>, Vec<_>) = pairs
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .partition(|(name, _)| name.starts_with(ENVIRONMENT));
    let look_up = |name: &str| {
        let found = environment
            .iter()
            .find(|(variable, _)| variable.strip_prefix(ENVIRONMENT) == Some(name));
        found.map(|(_, value)| (*value).to_owned())
    };
    let proxies = ["https_proxy", "HTTPS_PROXY", "http_proxy"];
    let proxies: Vec<String> = proxies.into_iter().filter_map(look_up).collect();
    let secrets = secrets(&given, &proxies);
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();

    match Config::parse_in(given.iter().copied(), look_up) {
        Err(error) => {
            assert!(matches!(error.code(), Code::Config), "{error}");
            check_error(&error, &secrets);
        }
        Ok((config, mistakes)) => {
            for mistake in &mistakes {
                check_line(&mistake.message, &secrets);
            }
            let refused = mistakes.iter().any(|mistake| mistake.refuses_writing);
            match config.check_writable() {
                Ok(()) => assert!(!refused),
                Err(error) => {
                    assert!(refused);
                    check_error(&error, &secrets);
                }
            }
            check_config(&config, &secrets, data);
        }
    }
}

fn check_config(config: &Config, secrets: &[&str], data: &[u8]) {
    assert!(config.retries <= 20 && config.deadline.as_secs() <= 3600);
    assert!(!config.connect_timeout.is_zero() && !config.read_timeout.is_zero());
    let key = Key::of(b"");
    let object = config.object_key(&key.hex());
    if let Ok(url) = link::public(&config.endpoint.address(&config.bucket, &object)) {
        let is_safe = |c: u8| c.is_ascii_alphanumeric() || b"-_.~%/:".contains(&c);
        assert!(url.bytes().all(is_safe), "{url:?}");
        assert!(
            url.starts_with("https://") || url.starts_with("http://"),
            "{url:?}"
        );
        assert!(url.ends_with(&key.hex()), "{url:?}");
    }
    for endpoint in std::iter::once(&config.endpoint).chain(&config.other_endpoint) {
        let moved = endpoint.in_region("eu-west-9");
        assert_eq!(moved.region(), "eu-west-9");
        for endpoint in [endpoint, &moved] {
            let address = endpoint.address(&config.bucket, &object);
            assert!(address.path.starts_with('/') && address.port > 0);
        }
    }
    // A secret that is also a name, or a part of one, is shown as that name.
    if secrets.contains(&SECRET) && !shown_on_purpose(config) {
        check_parts(&format!("{config:?}"), data);
    }
}

/// Whoever gives the secret as the bucket's name, say, sends it to the server as such.
fn shown_on_purpose(config: &Config) -> bool {
    let names = [
        Some(&config.bucket),
        Some(&config.prefix),
        config.written.kms_key_id.as_ref(),
        config.written.storage_class.as_ref(),
        config.written.bucket_owner.as_ref(),
        config.written.encryption.as_ref(),
        match &config.credentials {
            Credentials::Given(keys) => Some(&keys.access_key_id),
            Credentials::Sought { profile, .. } => profile.as_ref(),
        },
    ];
    names
        .into_iter()
        .flatten()
        .any(|name| name.contains(&SECRET[..12]))
}

/// The secrets that must not be shown. Shorter ones can't be told from ordinary text, and one with a
/// star from what stands in the place of another.
fn secrets(given: &[(&str, &str)], proxies: &[String]) -> Vec<String> {
    let mut secrets = Vec::new();
    let proxy_password = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (user, _) = rest.rsplit_once('@')?;
        user.split_once(':').map(|(_, password)| password.to_owned())
    };
    for (name, value) in given {
        match *name {
            "SecretAccessKey" | "SessionToken" => secrets.push((*value).to_owned()),
            "Proxy" => secrets.extend(proxy_password(value)),
            _ => {}
        }
    }
    secrets.extend(proxies.iter().filter_map(|url| proxy_password(url)));
    secrets.retain(|secret| secret.len() >= 6 && !secret.contains('*'));
    secrets
}
