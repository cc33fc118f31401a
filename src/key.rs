//! SHA-256 of content: the key under which an object is stored.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::{quoted, Code, Error, Result};

/// The SHA-256 digest of a content, which is its key in the bucket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of this content.
    pub fn of(content: &[u8]) -> Self {
        Key(Sha256::digest(content).into())
    }

    /// A short form that tells one key from another, mostly.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.0
            .iter()
            .take(8)
            .fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Parses 64 lower-case hexadecimal digits.
    ///
    /// # Errors
    /// [`Code::Argument`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        Self::from_hex(text).ok_or_else(|| {
            Error::new(
                Code::Argument,
                format!(
                    "key {} ({} characters) is not a SHA-256 digest: 64 hexadecimal digits, lower case",
                    quoted(text),
                    text.chars().count()
                ),
            )
        })
    }

    fn from_hex(text: &str) -> Option<Self> {
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair
                .iter()
                .try_fold(0, |value, digit| Some(value << 4 | hex_value(*digit)?))?;
        }
        Some(Key(digest))
    }

    /// The digest as S3's checksum headers write it.
    pub(crate) fn base64(&self) -> String {
        base64::encode(self.0)
    }

    /// Reads what [`Key::base64`] writes; None for anything else.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let digest = base64::decode(text).ok()?;
        Some(Key(digest.try_into().ok()?))
    }

    /// The digest's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The digest as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({self})")
    }
}

/// Computes the key of a content that arrives in pieces.
#[derive(Clone, Default)]
pub struct Hasher(Sha256);

impl Hasher {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The key of all pieces together.
    pub fn finish(self) -> Key {
        Key(self.0.finalize().into())
    }
}

/// `bytes` as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // FIPS 180-2, appendix B.1
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn digest_of_a_content() {
        assert_eq!(Key::of(b"abc").hex(), ABC);
        let mut hasher = Hasher::default();
        hasher.update(b"a");
        hasher.update(b"bc");
        assert_eq!(hasher.finish(), Key::of(b"abc"));
    }

    #[test]
    fn a_key_is_parsed_as_it_is_printed() {
        assert_eq!(Key::parse(ABC).unwrap(), Key::of(b"abc"));
    }

    #[test]
    fn anything_else_is_no_key() {
        let upper = ABC.to_uppercase();
        let newline = format!("{ABC}\n");
        let umlaut = format!("{}ä", &ABC[..62]);
        for text in ["", "../x", &ABC[1..], &upper, &newline, &umlaut] {
            let error = Key::parse(text).unwrap_err();
            assert_eq!(error.code(), Code::Argument, "{text:?}");
            assert!(error.message().contains("64 hexadecimal digits"), "{error}");
            assert!(!error.message().contains('\n'));
        }
    }
}
