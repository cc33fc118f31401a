//! Messages for the log of whoever uses the library.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::Mask;
use crate::error::one_line;

/// Messages that nobody takes don't pile up.
const MOST_MESSAGES: usize = 1000;

/// How serious a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Something has to be mended.
    Error = 1,
    /// Something went wrong and was mended, or will have to be.
    Warning = 2,
    /// Worth knowing.
    Info = 3,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// How serious it is.
    pub level: Level,
    /// One line.
    pub text: String,
}

/// The messages that wait to be taken.
#[derive(Debug, Default)]
pub struct Log {
    mask: Mask,
    messages: Mutex<VecDeque<Message>>,
}

impl Log {
    /// A log without messages; `mask` keeps secrets out of it.
    pub fn new(mask: Mask) -> Self {
        Log {
            mask,
            messages: Mutex::default(),
        }
    }

    /// Adds a message, made to fit on one line.
    pub fn tell(&self, level: Level, text: impl AsRef<str>) {
        let mut messages = self.messages();
        if messages.len() < MOST_MESSAGES {
            messages.push_back(Message {
                level,
                text: one_line(&self.mask.apply(text.as_ref())),
            });
        }
    }

    /// Takes the oldest message.
    pub fn next(&self) -> Option<Message> {
        self.messages().pop_front()
    }

    fn messages(&self) -> MutexGuard<'_, VecDeque<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
