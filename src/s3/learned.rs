//! What the server teaches about itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::outcome::Failure;
use crate::config::{AddressingStyle, Config, Endpoint};

/// S3's words, and those of Alibaba OSS and Tencent COS, for a bucket that is addressed in the wrong style.
const WRONG_STYLE: [&str; 4] = [
    "SecondLevelDomainForbidden",
    "PathStyleDomainForbidden",
    "VirtualHostDomainRequired",
    "PathStyleRequestNotAllowed",
];

/// What the server has taught this process about itself.
#[derive(Default)]
pub struct Learned {
    other_style: AtomicBool,
    unencrypted: AtomicBool,
    notes: Mutex<Vec<String>>,
}

impl Learned {
    /// The endpoint in the addressing style in force.
    pub fn endpoint<'a>(&self, config: &'a Config) -> &'a Endpoint {
        match &config.other_endpoint {
            Some(other) if self.other_style.load(Ordering::Relaxed) => other,
            _ => &config.endpoint,
        }
    }

    /// Lines for the log about what was learned since the last time.
    pub fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The server has stored an object without saying that it is encrypted, which was asked for.
    pub(super) fn note_unencrypted(&self) {
        if !self.unencrypted.swap(true, Ordering::Relaxed) {
            self.note("the server does not say that it encrypts: it seems to ignore the option ServerSideEncryption".to_owned());
        }
    }

    fn note(&self, text: String) {
        self.notes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(text);
    }

    /// A definite addressing error: true if the other style is to be tried, once.
    pub(super) fn try_other_style(&self, config: &Config, failure: &Failure) -> bool {
        let definite = failure
            .s3_code
            .as_deref()
            .is_some_and(|code| WRONG_STYLE.contains(&code));
        let Some(other) = config.other_endpoint.as_ref().filter(|_| definite) else {
            return false;
        };
        if self.other_style.swap(true, Ordering::Relaxed) {
            return false;
        }
        let style = match other.style() {
            AddressingStyle::Path => "path",
            AddressingStyle::Virtual => "virtual",
        };
        let note = format!(
            "{}: trying the other addressing style; set AddressingStyle => '{style}'",
            failure.text
        );
        self.note(note);
        true
    }
}
