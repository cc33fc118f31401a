//! The HTTP proxy, from the option Proxy or the environment.

use percent_encoding::percent_decode_str;

use super::host::parse_host;
use super::options::Options;
use super::secret::Secret;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The value of Proxy-Authorization, where a user and password are given.
    pub authorization: Option<Secret>,
}

const ALLOWED: &str = "allowed is http://[user:password@]host[:port], or 'none'";

impl Proxy {
    /// The proxy for requests to `host`; the option first, then what the environment says, which
    /// `environment` looks up. RT's own backend honours the same variables.
    pub(super) fn find(
        options: &mut Options<'_>,
        https: bool,
        host: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Option<Self> {
        match options.text("Proxy") {
            Some("none") => return None,
            Some(given) => {
                let proxy = Proxy::parse(given);
                if proxy.is_none() {
                    options.mistake(
                        &format!(
                            "option Proxy: {} is not allowed: {ALLOWED}; no proxy is used",
                            masked(given)
                        ),
                        false,
                    );
                }
                return proxy;
            }
            None => {}
        }
        let look_up = |names: &[&str]| {
            let found = names.iter().map(|name| (*name, environment(name)));
            found
                .filter_map(|(name, value)| Some((name.to_owned(), value.filter(|value| !value.is_empty())?)))
                .next()
        };
        // HTTP_PROXY in capitals is what a CGI program's client may set.
        let (name, value) = look_up(if https {
            &["https_proxy", "HTTPS_PROXY"]
        } else {
            &["http_proxy"]
        })?;
        let exceptions = look_up(&["no_proxy", "NO_PROXY"]).map_or(String::new(), |(_, value)| value);
        if is_exception(&exceptions, host) {
            return None;
        }
        let proxy = Proxy::parse(&value);
        if proxy.is_none() {
            options.mistake(
                &format!(
                    "environment variable {name}: {} is not allowed: {ALLOWED}; no proxy is used",
                    masked(&value)
                ),
                false,
            );
        }
        proxy
    }

    /// The environment variables that may name one.
    pub(super) fn variables() -> impl Iterator<Item = &'static str> {
        ["https_proxy", "HTTPS_PROXY", "http_proxy"].into_iter()
    }

    fn parse(given: &str) -> Option<Self> {
        let (scheme, rest) = given.split_once("://").unwrap_or(("http", given));
        if !scheme.eq_ignore_ascii_case("http") {
            return None;
        }
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (_, host, port) = parse_host(&format!("http://{rest}")).ok()?;
        Some(Proxy {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: port.unwrap_or(80),
            authorization: user.map(|user| {
                let user: Vec<u8> = percent_decode_str(user).collect();
                Secret::new(&format!("Basic {}", base64::encode(user)))
            }),
        })
    }
}

/// `no_proxy`: names with or without a dot before them, each for itself and what is below it; `*`.
fn is_exception(list: &str, host: &str) -> bool {
    list.split(',').map(str::trim).any(|entry| {
        let entry = entry.trim_start_matches('.').to_ascii_lowercase();
        let name = entry.split_once(':').map_or(entry.as_str(), |(name, _)| name);
        name == "*" || (!name.is_empty() && (host == name || host.ends_with(&format!(".{name}"))))
    })
}

/// A password in a URL must not reach the log.
fn masked(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((_, host)) => format!("'***@{}'", crate::error::one_line(host)),
        None => crate::error::quoted(url),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn proxy(given: &[(&str, &str)], environment: &[(&str, &str)]) -> (Option<super::Proxy>, Vec<String>) {
        let fixed = [
            ("Bucket", "files"),
            ("AccessKeyId", "ID"),
            ("SecretAccessKey", "TOPSECRET"),
        ];
        let look_up = |name: &str| {
            environment
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.to_string())
        };
        let (config, mistakes) =
            Config::parse_in(fixed.into_iter().chain(given.iter().copied()), look_up).unwrap();
        (
            config.proxy,
            mistakes.into_iter().map(|mistake| mistake.message).collect(),
        )
    }

    #[test]
    fn the_option_goes_before_the_environment() {
        let environment = [
            ("https_proxy", "http://env:8080"),
            ("http_proxy", "http://plain:8081"),
        ];
        let found =
            |given: &[(&str, &str)]| proxy(given, &environment).0.map(|proxy| (proxy.host, proxy.port));
        assert_eq!(found(&[]), Some(("env".to_owned(), 8080)));
        assert_eq!(found(&[("Host", "http://h")]), Some(("plain".to_owned(), 8081)));
        assert_eq!(
            found(&[("Proxy", "http://option:3128")]),
            Some(("option".to_owned(), 3128))
        );
        assert_eq!(found(&[("Proxy", "none")]), None);
        assert_eq!(
            proxy(&[("Host", "http://h")], &[("HTTP_PROXY", "http://evil")]).0,
            None
        );
    }

    #[test]
    fn exceptions() {
        for (list, used) in [
            ("", true),
            ("*", false),
            ("amazonaws.com", false),
            (".amazonaws.com", false),
            ("s3.amazonaws.com:443, x", false),
            ("aws.com", true),
            ("x,y", true),
        ] {
            let found = proxy(&[], &[("https_proxy", "http://env:8080"), ("no_proxy", list)]).0;
            assert_eq!(found.is_some(), used, "{list}");
        }
    }

    #[test]
    fn passwords_are_sent_and_never_shown() {
        let (found, _) = proxy(&[("Proxy", "http://me:hunter%402@p")], &[]);
        let found = found.unwrap();
        assert_eq!(
            found.authorization.as_ref().unwrap().reveal(),
            format!("Basic {}", base64::encode("me:hunter@2"))
        );
        assert!(!format!("{found:?}").contains("aHV"));
        for bad in ["socks5://me:hunter2@p", "http://me:hunter2@p/path", "http://a b"] {
            let (found, mistakes) = proxy(&[("Proxy", bad)], &[]);
            assert_eq!((found, mistakes.len()), (None, 1), "{bad}");
            assert!(
                mistakes[0].contains("option Proxy") && !mistakes[0].contains("hunter2"),
                "{mistakes:?}"
            );
        }
    }
}
