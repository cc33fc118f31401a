//! The keys to sign with: found along the chain of sources, kept in this process, replaced before they
//! expire.

mod answer;
mod container;
mod environment;
mod http;
mod instance;
mod profile;
mod program;
mod search;
mod sts;
mod web_identity;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::outcome::{Failure, Retry};
use super::retry::Budget;
use crate::config::{Config, Credentials as Wanted, Keys, Mask, Source};
use crate::error::{seconds, Code};
use crate::log::{Level, Log};
use crate::process::Page;

use search::{Held, NoKeys, Search, Sourced, Variables};

/// How long before they expire keys are replaced, at most; keys that live shortly: a third of that.
const MARGIN: Duration = Duration::from_secs(300);
/// How long a failed search is not repeated; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What a search may take; a program has 10 s.
const LONGEST_SEARCH: Duration = Duration::from_secs(12);
/// The same while there are keys that are still good: enough for one service that does not answer.
const SHORT_SEARCH: Duration = Duration::from_millis(1500);
/// A search that had less has had no fair chance.
const FAIR_CHANCE: Duration = Duration::from_secs(1);

/// Keys, and where they were found.
#[derive(Debug)]
pub struct Found {
    /// The keys.
    pub keys: Keys,
    /// When they end, by the server's clock.
    pub expires: Option<SystemTime>,
    /// Where they come from.
    pub source: Source,
    /// Masks the keys that these have replaced: a server may still repeat them.
    pub(super) earlier: Mask,
    replace: Option<SystemTime>,
    since: Instant,
}

impl Found {
    fn new(source: Source, held: Held, now: SystemTime) -> Self {
        let replace = held.expires.map(|end| {
            let life = end.duration_since(now).unwrap_or_default();
            end - MARGIN.min(life / 3)
        });
        Found {
            keys: held.keys,
            expires: held.expires,
            source,
            earlier: Mask::default(),
            replace,
            since: Instant::now(),
        }
    }

    /// Without what is secret, as lines of `name: value`.
    pub fn describe(&self) -> String {
        let since_epoch = |end: SystemTime| end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let expires = self.expires.map_or(String::new(), |end| {
            format!("expires: {}\n", since_epoch(end).as_secs())
        });
        format!(
            "source: {}\naccess-key-id: {}\n{expires}",
            self.source.name(),
            self.keys.access_key_id
        )
    }

    fn is_good(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    fn is_fresh(&self, now: SystemTime) -> bool {
        self.replace.is_none_or(|moment| now < moment)
    }
}

/// The keys that this process uses.
pub struct Credentials {
    config: Arc<Config>,
    page: &'static Page,
    log: Arc<Log>,
    variables: Box<Variables>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    found: Option<Arc<Found>>,
    /// Those found last, whether or not they are used on.
    last: Option<Arc<Found>>,
    /// Where keys came from last, as the log was told.
    told: Option<Source>,
    /// Why the last search failed.
    reason: String,
}

impl Credentials {
    /// Looks for nothing yet. `page` says whether a search is worth it; `log` is told what was found.
    pub fn new(config: Arc<Config>, page: &'static Page, log: Arc<Log>) -> Self {
        Credentials::in_environment(config, page, log, |name| std::env::var(name).ok())
    }

    fn in_environment(
        config: Arc<Config>,
        page: &'static Page,
        log: Arc<Log>,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        let given = match &config.credentials {
            Wanted::Given(keys) => Some(Held::for_good(keys.clone())),
            Wanted::Sought { .. } => None,
        };
        let found = given.map(|held| Arc::new(Found::new(Source::Options, held, SystemTime::now())));
        Credentials {
            config,
            page,
            log,
            variables: Box::new(variables),
            state: Mutex::new(State {
                found,
                ..State::default()
            }),
        }
    }

    /// The keys at hand, if they need no replacement, or are good and none is looked for yet.
    pub fn at_hand(&self, now: SystemTime) -> Option<Arc<Found>> {
        let found = self.state().found.clone()?;
        let is_used = found.is_fresh(now) || (found.is_good(now) && !self.pause_left().is_zero());
        is_used.then_some(found)
    }

    /// The keys to use: those at hand, or others where they are about to expire. Those that are still
    /// good are used on where a search fails.
    pub(super) async fn get(&self, budget: &Budget, now: SystemTime) -> Result<Arc<Found>, Failure> {
        if let Some(found) = self.at_hand(now) {
            return Ok(found);
        }
        let pause = self.pause_left();
        if !pause.is_zero() {
            return Err(self.not_repeated(budget, pause));
        }
        let good = self.state().found.clone().filter(|found| found.is_good(now));
        let most = if good.is_some() {
            SHORT_SEARCH
        } else {
            LONGEST_SEARCH
        };
        let limit = budget.left().min(most);
        let search = Search {
            config: &self.config,
            variables: &*self.variables,
            now,
        };
        let wanted = match &self.config.credentials {
            Wanted::Given(_) => Some(Source::Options),
            Wanted::Sought { source, .. } => *source,
        };
        let result = tokio::time::timeout(limit, search.run(wanted)).await;
        let mut failure = match result {
            Ok(Ok(found)) => return Ok(self.keep(found)),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(
                Code::Credentials,
                Retry::Backoff,
                format!("no credentials within {}", seconds(limit)),
            ),
        };
        if limit >= FAIR_CHANCE {
            self.pause(&failure.text);
        }
        if let Some(good) = good {
            let left = good.expires.and_then(|end| end.duration_since(now).ok());
            self.log.tell(
                Level::Warning,
                format!(
                    "the keys could not be replaced, and are used for {} more: {}",
                    seconds(left.unwrap_or_default()),
                    failure.text
                ),
            );
            return Ok(good);
        }
        if budget.fails_fast() {
            failure.retry = Retry::Never;
        }
        failure.retry_after = Some(self.pause_left());
        Err(failure)
    }

    /// The server has refused these keys: others are looked for, if they may have changed since the
    /// call began. True if so.
    pub(super) fn refused(&self, refused: &Arc<Found>, budget: &Budget, failure: &Failure) -> bool {
        let is_about_keys = matches!(
            failure.s3_code.as_deref(),
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId")
        );
        if !is_about_keys || refused.source == Source::Options || refused.since >= budget.start() {
            return false;
        }
        let mut state = self.state();
        if state
            .found
            .as_ref()
            .is_some_and(|found| Arc::ptr_eq(found, refused))
        {
            state.found = None;
        }
        true
    }

    fn keep(&self, found: Found) -> Arc<Found> {
        self.page.no_keys_until.store(0, Relaxed);
        self.page.no_keys_for.store(0, Relaxed);
        let mut state = self.state();
        let earlier = state
            .last
            .take()
            .map_or_else(Mask::default, |last| last.keys.mask());
        let found = Arc::new(Found { earlier, ..found });
        state.found = Some(Arc::clone(&found));
        state.last = Some(Arc::clone(&found));
        let told = state.told.replace(found.source);
        if let (None, Some(warning)) = (told, self.config.http_warning()) {
            self.log.tell(Level::Warning, warning);
        }
        if told != Some(found.source) {
            self.log.tell(
                Level::Info,
                format!(
                    "the credentials come from {}: access key {}",
                    found.source.name(),
                    found.keys.access_key_id
                ),
            );
        }
        found
    }

    /// How long no keys are looked for.
    fn pause_left(&self) -> Duration {
        self.page.until(self.page.no_keys_until.load(Relaxed))
    }

    fn pause(&self, reason: &str) {
        reason.clone_into(&mut self.state().reason);
        let page = self.page;
        // Another worker may have failed at the same time.
        if !self.pause_left().is_zero() {
            return;
        }
        let last = Duration::from_millis(page.no_keys_for.load(Relaxed));
        let pause = (last * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        let milliseconds = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        page.no_keys_for.store(milliseconds, Relaxed);
        page.no_keys_until.store(page.now() + milliseconds, Relaxed);
    }

    fn not_repeated(&self, budget: &Budget, pause: Duration) -> Failure {
        let reason = match &*self.state().reason {
            "" => "another process found none".to_owned(),
            reason => reason.to_owned(),
        };
        let retry = if budget.fails_fast() {
            Retry::Never
        } else {
            Retry::Backoff
        };
        let text = format!("{reason}; they are looked for again in {}", seconds(pause));
        Failure {
            retry_after: Some(pause),
            ..Failure::new(Code::Credentials, retry, text)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether others who run this RT may not have these keys: what is stored with them could not be read.
pub(super) fn are_personal(source: Source, config: &Config) -> bool {
    matches!(source, Source::Environment | Source::Profile) && !config.credentials.names(source)
}

#[cfg(test)]
mod tests;
