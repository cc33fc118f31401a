//! Which keys sign: those of the options, or where to look for some.

use super::mask::Mask;
use super::options::Options;
use super::secret::Secret;
use crate::error::{quoted, Code, Error, Result};

/// An access key, for good or for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The key's id, sent with every request.
    pub access_key_id: String,
    /// The key itself, which signs requests.
    pub secret_access_key: Secret,
    /// Sent with requests that temporary keys sign.
    pub session_token: Option<Secret>,
}

impl Keys {
    /// Keys as they were given; an empty token is none.
    ///
    /// # Errors
    /// Names the part that has a character which no key has.
    pub(crate) fn checked(
        id: &str,
        secret: &str,
        token: Option<&str>,
    ) -> std::result::Result<Self, &'static str> {
        let token = token.filter(|token| !token.is_empty());
        let parts = [
            ("AccessKeyId", Some(id)),
            ("SecretAccessKey", Some(secret)),
            ("SessionToken", token),
        ];
        for (name, value) in parts {
            if value.is_some_and(|value| value.is_empty() || !value.bytes().all(|c| c.is_ascii_graphic())) {
                return Err(name);
            }
        }
        Ok(Keys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
        })
    }

    /// Masks what is secret of them.
    pub(crate) fn mask(&self) -> Mask {
        let token = self.session_token.as_ref().map_or("", |token| token.reveal());
        Mask::default().and(self.secret_access_key.reveal()).and(token)
    }
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The options AccessKeyId and SecretAccessKey.
    Options,
    /// Variables of the environment.
    Environment,
    /// A token in a file, which AWS's token service takes.
    WebIdentity,
    /// AWS's files of profiles.
    Profile,
    /// The service for the containers of ECS and EKS.
    Container,
    /// The metadata service of an EC2 instance.
    Instance,
}

impl Source {
    /// Those that are looked into where the options have no keys, in this order.
    pub const CHAIN: [Source; 5] = [
        Source::Environment,
        Source::WebIdentity,
        Source::Profile,
        Source::Container,
        Source::Instance,
    ];

    /// Its name, as the option CredentialSource gives it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Options => "options",
            Source::Environment => "environment",
            Source::WebIdentity => "web-identity",
            Source::Profile => "profile",
            Source::Container => "container",
            Source::Instance => "instance",
        }
    }
}

/// What the options say of the keys.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// These.
    Given(Keys),
    /// What is found.
    Sought {
        /// The one source to look into; none: all of them, in order.
        source: Option<Source>,
        /// The profile to look for.
        profile: Option<String>,
    },
}

impl Credentials {
    pub(super) fn parse(options: &mut Options<'_>) -> Result<Self> {
        let half = |given: &str, missing: &str| {
            let text = format!("option {missing} is missing: {given} is given, and each needs the other");
            Err(Error::new(Code::Config, text))
        };
        let id = options.text("AccessKeyId");
        let secret = options.text("SecretAccessKey");
        let token = options.text("SessionToken");
        let source = options.checked("CredentialSource", parse_source);
        let profile = options.text("Profile");
        match (id, secret) {
            (Some(id), Some(secret)) => {
                let keys = Keys::checked(id, secret, token).map_err(|name| {
                    let text = format!("option {name} has a blank or a character that no key has: letters, digits and ASCII punctuation are allowed");
                    Error::new(Code::Config, text)
                })?;
                for (name, is_given) in [
                    ("CredentialSource", source.is_some()),
                    ("Profile", profile.is_some()),
                ] {
                    if is_given {
                        options.mistake(
                            &format!("option {name} makes no sense with AccessKeyId and SecretAccessKey: these are used for reading"),
                            true,
                        );
                    }
                }
                Ok(Credentials::Given(keys))
            }
            (Some(_), None) => half("AccessKeyId", "SecretAccessKey"),
            (None, Some(_)) => half("SecretAccessKey", "AccessKeyId"),
            (None, None) => {
                if token.is_some() {
                    options.mistake(
                        "option SessionToken makes no sense without AccessKeyId and SecretAccessKey: it is not used",
                        true,
                    );
                }
                Ok(Credentials::Sought {
                    source: source.or(profile.map(|_| Source::Profile)),
                    profile: profile_for(options, source, profile),
                })
            }
        }
    }

    /// Whether the administrator has named this source, and so knows that all users of RT have it.
    pub fn names(&self, source: Source) -> bool {
        match self {
            Credentials::Given(_) => source == Source::Options,
            Credentials::Sought { source: named, .. } => *named == Some(source),
        }
    }
}

fn profile_for(options: &mut Options<'_>, source: Option<Source>, profile: Option<&str>) -> Option<String> {
    let profile = profile?;
    match source.filter(|source| *source != Source::Profile) {
        None => Some(profile.to_owned()),
        Some(source) => {
            options.mistake(
                &format!(
                    "option Profile: {} makes no sense with CredentialSource '{}': it is not used",
                    quoted(profile),
                    source.name()
                ),
                true,
            );
            None
        }
    }
}

fn parse_source(value: &str) -> std::result::Result<Option<Source>, &'static str> {
    if value.is_empty() {
        return Ok(None);
    }
    match Source::CHAIN.into_iter().find(|source| source.name() == value) {
        None => Err("'environment', 'web-identity', 'profile', 'container' or 'instance'"),
        found => Ok(found),
    }
}
