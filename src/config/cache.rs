//! Where copies of contents are kept on this machine.

use std::path::PathBuf;

use super::options::Options;
use crate::error::quoted;

/// A cache smaller than this would be emptied by one attachment.
const LEAST: u64 = 1 << 20;
const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

/// What the options CacheDir and CacheSize say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheOptions {
    /// Below which each user has a directory.
    pub directory: PathBuf,
    /// Bytes that the copies of one user may take.
    pub size: u64,
}

impl CacheOptions {
    /// None: no copies are kept.
    pub(super) fn parse(options: &mut Options<'_>) -> Option<Self> {
        let size = options.checked("CacheSize", |value| {
            parse_size(value).ok_or("bytes, or a whole number of KiB, MiB, GiB or TiB, at least '1 MiB'")
        });
        let directory = match options.text("CacheDir") {
            Some(path) => path,
            None => {
                if options.raw("CacheSize").is_some() && options.raw("CacheDir").is_none() {
                    options.mistake(
                        "option CacheSize makes no sense without CacheDir: no local copies are kept",
                        false,
                    );
                }
                return None;
            }
        };
        if directory.starts_with('/') {
            return Some(CacheOptions {
                directory: directory.into(),
                size,
            });
        }
        let text = format!(
            "option CacheDir: {} is not allowed: the full path of a directory; no local copies are kept",
            quoted(directory)
        );
        options.mistake(&text, false);
        None
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let (number, shift) = UNITS
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?.trim_end_matches(' '), *shift)))
        .unwrap_or((text, 0));
    let digits = !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit());
    let size = number
        .parse::<u64>()
        .ok()
        .filter(|_| digits)?
        .checked_mul(1 << shift)?;
    (LEAST..=i64::MAX as u64).contains(&size).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, size) in [
            ("1 MiB", Some(1 << 20)),
            ("1048576", Some(1 << 20)),
            ("512KiB", None),
            ("2048 KiB", Some(2 << 20)),
            ("3GiB", Some(3 << 30)),
            ("1 TiB", Some(1 << 40)),
            ("1 MB", None),
            ("1.5 GiB", None),
            ("-1", None),
            ("+9999999", None),
            ("99999999999999 TiB", None),
            ("GiB", None),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
    }
}
