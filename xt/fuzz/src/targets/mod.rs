//! The entry functions of the fuzz targets, against the library's public API alone. They panic where
//! the library breaks a promise.

mod abi;
mod answers;
mod options;
mod server;

use rts3::error::{Code, Error};
use rts3::key::{Hasher, Key};

pub use abi::abi;
pub use answers::{answer, raw};
pub use options::options;

/// A target: it takes any bytes, and panics where a promise is broken.
pub type Target = fn(&[u8]);

/// Every target and its name, which is that of its corpus too.
pub const ALL: [(&str, Target); 5] = [
    ("options", options),
    ("key", key),
    ("answer", answer),
    ("raw", raw),
    ("abi", abi),
];

/// Looks like a secret key of AWS's, and occurs nowhere else.
pub(crate) const SECRET: &str = "q7Zk9Xw2Vt5Bn8Jm4Hf6Dr3Ls1Pc0Yg+/uEoAiTx";

/// Keys are parsed as they are printed, and digests don't depend on the pieces.
pub fn key(data: &[u8]) {
    let key = Key::of(data);
    assert_eq!(Key::parse(&key.hex()), Ok(key));
    assert_eq!(key.to_string(), key.hex());
    let mut hasher = Hasher::default();
    let (first, second) = data.split_at(data.len() / 3);
    hasher.update(first);
    hasher.update(second);
    assert_eq!(hasher.finish(), key);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Key::parse(text) {
        Ok(key) => {
            assert_eq!(key.hex(), text);
            assert!(text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')));
            assert_eq!(key.as_bytes().len(), 32);
        }
        Err(error) => {
            assert_eq!(error.code(), Code::Argument);
            check_error(&error, &[]);
        }
    }
}

/// What holds for every error.
pub(crate) fn check_error(error: &Error, secrets: &[&str]) {
    check_line(error.message(), secrets);
    assert_ne!(error.code(), Code::Internal, "{error}");
}

/// What holds for every line that is shown: it is one, it says something, and no secret.
pub(crate) fn check_line(line: &str, secrets: &[&str]) {
    assert!(!line.is_empty());
    assert!(!line.chars().any(char::is_control), "not one line: {line:?}");
    for secret in secrets {
        assert!(!line.contains(secret), "{secret:?} is shown: {line:?}");
    }
}

/// Not a part of the secret either: a value must not be cut before it is masked. Unless the input has
/// that part itself: libFuzzer sees what texts are compared with.
pub(crate) fn check_parts(line: &str, input: &[u8]) {
    for part in SECRET.as_bytes().windows(12) {
        let text = String::from_utf8_lossy(part);
        let given = input.windows(part.len()).any(|window| window == part);
        assert!(
            given || !line.contains(&*text),
            "a part of the secret is shown: {line:?}"
        );
    }
}
