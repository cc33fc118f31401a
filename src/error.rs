//! The error type of the whole library and its codes.

use std::fmt;
use std::time::Duration;

/// What kind of trouble an [`Error`] is.
///
/// The numbers are those of the C ABI and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// No request can be formed with these options, or writing is refused until one is mended.
    Config = 1,
    /// No credentials, or the server does not accept them.
    Credentials = 2,
    /// The credentials have no right to do this, or the object is archived.
    Denied = 3,
    /// No object under this key.
    NotFound = 4,
    /// The object's bytes are not the content of its key.
    Corrupt = 5,
    /// The content given to Store is not the content of the key given to it.
    Mismatch = 6,
    /// Name look-up, connection or TLS failed, or a connection broke.
    Network = 7,
    /// Stalled, or the deadline is over.
    Timeout = 8,
    /// The server asks to slow down.
    Throttled = 9,
    /// The server failed, or its answer is not one of S3's.
    Server = 10,
    /// Not even tried, because the server was just found to be down.
    Unavailable = 11,
    /// A mistake of this library.
    Internal = 12,
    /// Misuse of this library: a bad key, NULL, a closed handle.
    Argument = 13,
    /// The bucket does not exist.
    NoBucket = 14,
}

impl Code {
    /// Every code, in the order of the numbers.
    pub const ALL: [Code; 14] = [
        Code::Config,
        Code::Credentials,
        Code::Denied,
        Code::NotFound,
        Code::Corrupt,
        Code::Mismatch,
        Code::Network,
        Code::Timeout,
        Code::Throttled,
        Code::Server,
        Code::Unavailable,
        Code::Internal,
        Code::Argument,
        Code::NoBucket,
    ];

    /// The code's name, as messages and the C ABI give it.
    pub fn name(self) -> &'static str {
        match self {
            Code::Config => "config",
            Code::Credentials => "credentials",
            Code::Denied => "denied",
            Code::NotFound => "not-found",
            Code::Corrupt => "corrupt",
            Code::Mismatch => "mismatch",
            Code::Network => "network",
            Code::Timeout => "timeout",
            Code::Throttled => "throttled",
            Code::Server => "server",
            Code::Unavailable => "unavailable",
            Code::Internal => "internal",
            Code::Argument => "argument",
            Code::NoBucket => "no-bucket",
        }
    }
}

/// A failure: its code and one line of text for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

impl Error {
    /// An error with this message, which is made to fit on one line.
    pub fn new(code: Code, message: impl AsRef<str>) -> Self {
        Error {
            code,
            message: one_line(message.as_ref()),
        }
    }

    /// What kind of trouble it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// One line that says what failed and, where known, what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Result with the library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// `text` with every run of blanks and control characters made one blank.
pub(crate) fn one_line(text: &str) -> String {
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// `text` for a message: quoted, on one line, at most 80 characters of it.
pub(crate) fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().nth(80).is_some() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// `time` for a message: `15 s`, `2.5 s`, `20 ms`.
pub(crate) fn seconds(time: Duration) -> String {
    if time < Duration::from_millis(100) {
        return format!("{} ms", time.as_millis());
    }
    let tenths = (time.as_secs_f64() * 10.0).round() / 10.0;
    format!("{tenths} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_order_of_all() {
        for (index, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, index + 1, "{}", code.name());
        }
    }

    #[test]
    fn times_are_short() {
        let shown = [15_000, 2_540, 100, 20, 0].map(|time| seconds(Duration::from_millis(time)));
        assert_eq!(shown, ["15 s", "2.5 s", "0.1 s", "20 ms", "0 ms"]);
    }

    #[test]
    fn a_message_is_one_line() {
        let error = Error::new(Code::Server, "two\r\nlines\tand\0 more");
        assert_eq!(error.message(), "two lines and more");
    }

    #[test]
    fn long_values_are_cut_in_messages() {
        assert_eq!(quoted("a\nb"), "'a\\nb'");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 83);
    }
}
