//! What the server teaches about itself: its region, how it wants to be addressed, what time it is.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::outcome::Failure;
use crate::config::{AddressingStyle, Config, Endpoint};
use crate::error::quoted;
use crate::log::{Level, Log};
use crate::process::Page;

/// S3's words, and those of Alibaba OSS and Tencent COS, for a bucket that is addressed in the wrong style.
const WRONG_STYLE: [&str; 4] = [
    "SecondLevelDomainForbidden",
    "PathStyleDomainForbidden",
    "VirtualHostDomainRequired",
    "PathStyleRequestNotAllowed",
];
/// A clock that is off by less, in seconds, needs no correction: S3 allows 15 minutes.
const CLOCK_IS_RIGHT: i64 = 300;
/// Dates are whole seconds and travel a while: a smaller change of the clock is none.
const CLOCK_CHANGED: i64 = 60;
/// What S3 allows, in seconds, less the time that a request may take.
pub(super) const CLOCK_ALLOWED: i64 = 840;

/// What the server has taught this process and the workers that share its page.
pub struct Learned {
    page: &'static Page,
    log: Arc<Log>,
}

impl Learned {
    /// `page`: where it is kept; `log`: who is told.
    pub fn new(page: &'static Page, log: Arc<Log>) -> Self {
        Learned { page, log }
    }

    /// The endpoint in the addressing style and the region in force.
    pub fn endpoint(&self, config: &Config) -> Endpoint {
        let endpoint = self.endpoint_as_configured(config);
        match self.page.region.get() {
            Some(region) if region != endpoint.region() => endpoint.in_region(&region),
            _ => endpoint.clone(),
        }
    }

    /// The endpoint in the addressing style in force, in the region of the configuration.
    pub fn endpoint_as_configured<'a>(&self, config: &'a Config) -> &'a Endpoint {
        match &config.other_endpoint {
            Some(other) if self.page.other_style.load(Relaxed) => other,
            _ => &config.endpoint,
        }
    }

    /// Whether the region in force is known to be the bucket's: it was configured, or the server has
    /// said it, or has taken what was signed for it.
    pub fn knows_region(&self, config: &Config) -> bool {
        config.endpoint.region_is_given()
            || self.page.region_taken.load(Relaxed)
            || self.page.region.get().is_some()
    }

    /// The server has taken a request.
    pub(super) fn note_success(&self) {
        self.page.region_taken.store(true, Relaxed);
    }

    /// What is in force, as lines of `name: value`.
    pub fn describe(&self, config: &Config) -> String {
        let endpoint = self.endpoint(config);
        let style = match endpoint.style() {
            AddressingStyle::Path => "path",
            AddressingStyle::Virtual => "virtual",
        };
        let condition = match self.supports_condition() {
            true => "no objection",
            false => "unsupported",
        };
        format!(
            "region: {}\nstyle: {style}\ncondition: {condition}\nclock-offset: {}\n",
            endpoint.region(),
            self.clock_offset()
        )
    }

    /// The server's time, as far as it is known.
    pub fn now(&self) -> SystemTime {
        corrected(self.clock_offset())
    }

    /// What is added to this machine's clock, in seconds.
    pub(super) fn clock_offset(&self) -> i64 {
        self.page.clock_offset.load(Relaxed)
    }

    /// Whether `If-None-Match: *` may be sent with a PUT.
    pub fn supports_condition(&self) -> bool {
        !self.page.condition_unsupported.load(Relaxed)
    }

    /// The server took without the condition what it had refused with it.
    pub fn forget_condition(&self) {
        self.page.condition_unsupported.store(true, Relaxed);
    }

    /// The server has stored an object without saying that it is encrypted, which was asked for.
    pub(super) fn note_unencrypted(&self) {
        if !self.page.unencrypted.swap(true, Relaxed) {
            self.warn("the server does not say that it encrypts: it seems to ignore the option ServerSideEncryption");
        }
    }

    /// Corrects what the server has said was wrong; true if the request is to be made again. A
    /// region other than the one signed for is corrected a few times in all, so there is no loop.
    pub(super) fn correct(&self, config: &Config, signed_for: &Endpoint, failure: &Failure) -> bool {
        self.try_other_style(config, failure) || self.take_region(signed_for, failure)
    }

    fn take_region(&self, signed_for: &Endpoint, failure: &Failure) -> bool {
        let Some(region) = failure.region.as_deref() else {
            return false;
        };
        if region == signed_for.region() {
            return false;
        }
        // Another worker may have taken it meanwhile.
        if self.page.region.get().as_deref() == Some(region) {
            return true;
        }
        let taken = self.page.region.set(region);
        if taken {
            self.warn(&format!(
                "the bucket is in the region {}, not {}; it is asked there from now on: set Region => {}",
                quoted(region),
                quoted(signed_for.region()),
                quoted(region)
            ));
        }
        taken
    }

    /// A definite addressing error: true if the other style is to be tried, once.
    fn try_other_style(&self, config: &Config, failure: &Failure) -> bool {
        let definite = failure
            .s3_code
            .as_deref()
            .is_some_and(|code| WRONG_STYLE.contains(&code));
        let Some(other) = config.other_endpoint.as_ref().filter(|_| definite) else {
            return false;
        };
        if self.page.other_style.swap(true, Relaxed) {
            return false;
        }
        let style = match other.style() {
            AddressingStyle::Path => "path",
            AddressingStyle::Virtual => "virtual",
        };
        self.warn(&format!(
            "{}: trying the other addressing style; set AddressingStyle => '{style}'",
            failure.text
        ));
        true
    }

    /// Compares the clocks. `ahead`: by how many seconds the server's is ahead of this machine's;
    /// `refused`: whether the request, signed with this `offset`, was refused for its time. True if
    /// it is to be made again.
    pub(super) fn see_clock(&self, ahead: i64, offset: i64, refused: bool) -> bool {
        let wrong = (ahead - offset).abs() > CLOCK_CHANGED;
        if !wrong || (offset == 0 && !refused) {
            return false;
        }
        let right = if ahead.abs() <= CLOCK_IS_RIGHT { 0 } else { ahead };
        if self.page.clock_offset.swap(right, Relaxed) == right {
            return right != offset;
        }
        if right == 0 {
            self.warn("this machine's clock is right again: its own time is used to sign with");
        } else {
            let direction = if ahead > 0 { "behind" } else { "ahead of" };
            self.warn(&format!(
                "this machine's clock is {} s {direction} the server's: the server's time is used to sign with; set the clock",
                ahead.abs()
            ));
        }
        right != offset
    }

    fn warn(&self, text: &str) {
        self.log.tell(Level::Warning, text);
    }
}

/// This machine's time, and so many seconds.
pub(super) fn corrected(offset: i64) -> SystemTime {
    let now = SystemTime::now();
    let seconds = Duration::from_secs(offset.unsigned_abs());
    let corrected = match offset >= 0 {
        true => now.checked_add(seconds),
        false => now.checked_sub(seconds),
    };
    corrected.unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_corrected_and_let_go() {
        let learned = Learned::new(Page::map(), Arc::default());
        let lines = || std::iter::from_fn(|| learned.log.next()).count();
        assert!(!learned.see_clock(500, 0, false), "S3 does not mind");
        assert!(!learned.see_clock(2, 0, true), "it is not the clock");
        assert_eq!((learned.clock_offset(), lines()), (0, 0));
        assert!(learned.see_clock(1200, 0, true));
        assert_eq!((learned.clock_offset(), lines()), (1200, 1));
        assert!(!learned.see_clock(1201, 1200, false));
        assert!(!learned.see_clock(1201, 1200, true), "no loop");
        assert!(learned.see_clock(-1, 1200, true), "the clock was set");
        assert_eq!((learned.clock_offset(), lines()), (0, 1));
        assert!(learned.see_clock(-4000, 0, true));
        assert!(learned.see_clock(1, -4000, false), "noticed by any answer");
        assert_eq!(learned.clock_offset(), 0);
    }
}
