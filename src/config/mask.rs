//! Keeping secrets out of whatever is printed.

use std::fmt;

use percent_encoding::percent_decode_str;

/// A shorter secret can't be told from ordinary text; S3's have 40 characters.
const SHORTEST: usize = 6;
const MASKED: &str = "***";
/// Length of AWS's secret keys.
const AWS_SECRET: usize = 40;

/// The secrets of one configuration. It masks a text *before* the text is cut to a length.
#[derive(Clone, Default)]
pub struct Mask(Vec<String>);

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASKED)
    }
}

impl Mask {
    /// The secrets among options as given, whether or not they are right or in the right place, and
    /// those of proxies.
    pub(super) fn of(given: &[(&str, &str)], proxies: impl IntoIterator<Item = String>) -> Self {
        let mut mask = Mask::default();
        for (name, value) in given {
            match *name {
                "SecretAccessKey" | "SessionToken" => mask.add(value),
                "Proxy" => mask.add_proxy(value),
                _ => {}
            }
            for text in [name, value].into_iter().filter(|text| looks_secret(text)) {
                mask.add(text);
            }
        }
        for proxy in proxies {
            mask.add_proxy(&proxy);
        }
        mask
    }

    fn add(&mut self, secret: &str) {
        let secret = secret.to_ascii_lowercase();
        if secret.len() >= SHORTEST && !self.0.contains(&secret) {
            self.0.push(secret);
            // What contains another one goes first.
            self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// User and password of a URL, in all forms in which they go over the wire.
    fn add_proxy(&mut self, url: &str) {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let Some((user, _)) = rest.rsplit_once('@') else {
            return;
        };
        let decoded: Vec<u8> = percent_decode_str(user).collect();
        self.add(&base64::encode(&decoded));
        let decoded = String::from_utf8_lossy(&decoded);
        for text in [user, &decoded] {
            self.add(text);
            if let Some((_, password)) = text.split_once(':') {
                self.add(password);
            }
        }
    }

    /// This mask, and one secret more.
    pub(crate) fn and(&self, secret: &str) -> Self {
        let mut more = self.clone();
        more.add(secret);
        more
    }

    /// This mask, and another one.
    pub(crate) fn with(&self, other: &Mask) -> Self {
        other.0.iter().fold(self.clone(), |mask, secret| mask.and(secret))
    }

    /// `text` without the secrets, in whatever case of letters, without Authorization headers and
    /// signatures.
    pub(crate) fn apply(&self, text: &str) -> String {
        let text = self.0.iter().fold(text.to_owned(), |text, secret| {
            replace(&text, secret, |_| Some(secret.len()))
        });
        let text = self
            .0
            .iter()
            .fold(text, |text, secret| without_beginning(&text, secret));
        let text = without_users(&text);
        let text = replace(&text, "aws4-hmac-sha256 credential=", |_| Some(usize::MAX));
        replace(&text, "signature=", |rest| {
            let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            (digits >= 16).then_some("signature=".len() + digits)
        })
    }
}

/// A value that is cut, which ends with `…`, may hold the beginning of a secret.
fn without_beginning(text: &str, secret: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut shown = text.to_owned();
    for (end, _) in lower.rmatch_indices('…') {
        let begins = |length: &usize| {
            secret
                .get(..*length)
                .is_some_and(|part| lower[..end].ends_with(part))
        };
        if let Some(length) = (4..secret.len()).rev().find(begins) {
            shown.replace_range(end - length..end, MASKED);
        }
    }
    shown
}

/// User and password of every URL masked.
fn without_users(text: &str) -> String {
    let mut parts = text.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| c.is_whitespace() || "'\"".contains(c))
            .unwrap_or(part.len());
        let (authority, rest) = part.split_at(end);
        shown.push_str("://");
        // "[user:password@]" says what is allowed, "user:password@" how to write it.
        let is_secret = !part.starts_with('[') && !part.starts_with("user:password@host");
        match authority.rsplit_once('@').filter(|_| is_secret) {
            Some((_, host)) => shown.extend([MASKED, "@", host, rest]),
            None => shown.push_str(part),
        }
    }
    shown
}

/// Replaces what begins with `mark` (in lower case), for as many bytes as `length` says when it is
/// told what follows the mark.
fn replace(text: &str, mark: &str, length: impl Fn(&str) -> Option<usize>) -> String {
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(found) = lower[at..].find(mark) {
        let start = at + found;
        let after = start + mark.len();
        shown.push_str(&text[at..start]);
        match length(&text[after..]) {
            Some(length) => {
                shown.push_str(MASKED);
                at = start.saturating_add(length).min(text.len());
            }
            None => {
                shown.push_str(&text[start..after]);
                at = after;
            }
        }
    }
    shown.push_str(&text[at..]);
    shown
}

/// Whether it looks like one of AWS's secret keys: pasted into the wrong option, most likely.
fn looks_secret(text: &str) -> bool {
    let has = |class: fn(&u8) -> bool| text.bytes().any(|c| class(&c));
    text.len() == AWS_SECRET
        && text
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || b"+/".contains(&c))
        && has(u8::is_ascii_uppercase)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_every_form() {
        let given = [
            ("SecretAccessKey", "Top/Secret+"),
            ("SessionToken", "TokenOfMine"),
            ("Proxy", "http://me:p%40ssw0rd@proxy"),
        ];
        let mask = Mask::of(&given, []).and("0123456789abcdef");
        for (text, shown) in [
            ("a Top/Secret+ b top/secret+", "a *** b ***"),
            ("TokenOfMineTokenOfMine", "******"),
            ("me:p@ssw0rd me:p%40ssw0rd p@ssw0rd", "*** *** ***"),
            ("Basic bWU6cEBzc3cwcmQ=", "Basic ***"),
            ("it was 0123456789ABCDEF", "it was ***"),
            ("not AWS4-HMAC-SHA256 Credential=ID/2026, Signature=12", "not ***"),
            ("use AWS4-HMAC-SHA256.", "use AWS4-HMAC-SHA256."),
            (
                "X-Amz-Signature=00112233445566778899&ä Signature=x",
                "X-Amz-***&ä Signature=x",
            ),
            ("größe", "größe"),
            ("'x top/sec…' and 'top/s…'", "'x ***…' and '***…'"),
            ("http://[user:password@]host", "http://[user:password@]host"),
            ("http://user:password@host'", "http://user:password@host'"),
            (
                "'http://user:pw@proxy' and https://a/@b",
                "'http://***@proxy' and https://***@b",
            ),
        ] {
            assert_eq!(mask.apply(text), shown);
        }
        assert_eq!(format!("{mask:?}"), "***");
    }

    #[test]
    fn what_looks_like_a_key() {
        assert!(looks_secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"));
        assert!(!looks_secret("eu-central-1"));
        assert!(!looks_secret(&"a".repeat(40)));
    }
}
