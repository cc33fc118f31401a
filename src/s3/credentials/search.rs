//! A look into the sources, in their order.

use std::time::SystemTime;

use super::super::outcome::{Failure, Retry};
use super::{container, environment, instance, profile, web_identity, Found};
use crate::config::{Config, Keys, Source};
use crate::error::Code;

/// Keys as a source gives them.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) keys: Keys,
    /// When they end, and what time it is, both by the clock of whoever gives them.
    pub(super) expires: Option<SystemTime>,
    pub(super) told: Option<SystemTime>,
}

impl Held {
    pub(super) fn for_good(keys: Keys) -> Self {
        Held {
            keys,
            expires: None,
            told: None,
        }
    }

    /// A clock of ours that is far ahead must not make new keys look old.
    pub(super) fn by_our_clock(self, now: SystemTime) -> Self {
        let left = self
            .expires
            .zip(self.told)
            .and_then(|(end, told)| end.duration_since(told).ok());
        match (self.expires, left) {
            (Some(end), Some(left)) if end <= now => Held {
                expires: Some(now + left),
                ..self
            },
            _ => self,
        }
    }
}

/// Why a source gives no keys.
#[derive(Debug)]
pub(super) enum NoKeys {
    /// It is not set up here: the next one is looked into.
    Absent(String),
    /// It is set up and does not work: the next one may be another account's.
    Failed(String),
    /// The same, and it may pass.
    Passing(String),
}

pub(super) type Sourced = Result<Held, NoKeys>;

/// Looks up variables of the environment.
pub(super) type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// One look into the sources.
pub(super) struct Search<'a> {
    pub(super) config: &'a Config,
    pub(super) variables: &'a Variables,
    /// The server's time.
    pub(super) now: SystemTime,
}

impl Search<'_> {
    /// A variable of the environment; an empty one counts as none.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name).filter(|value| !value.is_empty())
    }

    async fn look_into(&self, source: Source) -> Sourced {
        match source {
            Source::Options => Err(NoKeys::Absent("not given".to_owned())),
            Source::Environment => environment::look(self),
            Source::WebIdentity => web_identity::look(self).await,
            Source::Profile => profile::look(self).await,
            Source::Container => container::look(self).await,
            Source::Instance => instance::look(self).await,
        }
    }

    /// The first source that is set up, of those wanted.
    pub(super) async fn run(&self, wanted: Option<Source>) -> Result<Found, Failure> {
        let failed = |source: Source, retry, text: &str| {
            let text = format!("no credentials from {}: {text}", source.name());
            Failure::new(Code::Credentials, retry, text)
        };
        let mut reasons = Vec::new();
        for source in Source::CHAIN {
            if wanted.is_some_and(|wanted| wanted != source) {
                continue;
            }
            let sourced = self.look_into(source).await;
            match sourced.map(|held| held.by_our_clock(self.now)) {
                Ok(held) if held.expires.is_some_and(|end| end <= self.now) => {
                    return Err(failed(source, Retry::Backoff, "the keys have expired already"));
                }
                Ok(held) => return Ok(Found::new(source, held, self.now)),
                Err(NoKeys::Failed(text)) => return Err(failed(source, Retry::Never, &text)),
                Err(NoKeys::Passing(text)) => return Err(failed(source, Retry::Backoff, &text)),
                Err(NoKeys::Absent(text)) => reasons.push(format!("{}: {text}", source.name())),
            }
        }
        let text = format!(
            "no credentials: set the options AccessKeyId and SecretAccessKey, or set up a source ({})",
            reasons.join("; ")
        );
        Err(Failure::new(Code::Credentials, Retry::Never, text))
    }
}
