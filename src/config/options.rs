//! Reading options one by one, collecting the mistakes.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::mask::Mask;
use super::Mistake;
use crate::error::{one_line, quoted};

/// One option of `%ExternalStorage`.
#[derive(Clone, Copy, Debug)]
pub struct OptionInfo {
    /// Its name, as written in the configuration.
    pub name: &'static str,
    /// What holds where it is not given; empty: none.
    pub default: &'static str,
    /// Whether it touches what is written, so that a mistake in it refuses writing.
    pub written: bool,
    secret: bool,
}

const fn option(name: &'static str, default: &'static str) -> OptionInfo {
    OptionInfo {
        name,
        default,
        written: false,
        secret: false,
    }
}

const fn secret(name: &'static str) -> OptionInfo {
    OptionInfo {
        secret: true,
        ..option(name, "")
    }
}

const fn written(name: &'static str, default: &'static str) -> OptionInfo {
    OptionInfo {
        written: true,
        ..option(name, default)
    }
}

/// Every option, with its default: the one list of them.
pub const OPTIONS: [OptionInfo; 29] = [
    option("Type", ""),
    option("Bucket", ""),
    option("AccessKeyId", ""),
    secret("SecretAccessKey"),
    secret("SessionToken"),
    written("Profile", ""),
    written("CredentialSource", ""),
    option("Host", "s3.amazonaws.com"),
    option("Region", ""),
    option("AddressingStyle", "auto"),
    written("Prefix", ""),
    written("ServerSideEncryption", ""),
    written("SSEKMSKeyId", ""),
    written("StorageClass", ""),
    written("ExpectedBucketOwner", ""),
    written("Checksum", "auto"),
    option("CacheDir", ""),
    option("CacheSize", "1 GiB"),
    option("CAFile", ""),
    option("Proxy", ""),
    written("CreateBucket", "1"),
    option("DirectLink", "public"),
    option("DirectLinkExpires", "3600"),
    option("DirectLinkHost", ""),
    option("ConnectTimeout", "3"),
    option("ReadTimeout", "15"),
    option("Deadline", "120"),
    option("Retries", "4"),
    option("Concurrency", "32"),
];

/// The names of all options.
pub fn names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().map(|option| option.name)
}

fn info(name: &str) -> Option<&'static OptionInfo> {
    OPTIONS.iter().find(|option| option.name == name)
}

fn default_of(name: &str) -> &'static str {
    info(name).map_or("", |option| option.default)
}

/// The options as given, and the mistakes found so far.
pub(super) struct Options<'a> {
    given: Vec<(&'static OptionInfo, &'a str)>,
    mask: &'a Mask,
    mistakes: Vec<Mistake>,
}

impl<'a> Options<'a> {
    pub(super) fn new(given: &[(&'a str, &'a str)], mask: &'a Mask) -> Self {
        let mut options = Options {
            given: Vec::new(),
            mask,
            mistakes: Vec::new(),
        };
        for &(name, value) in given {
            match info(name) {
                None => options.unknown(name),
                Some(option) if options.raw(name).is_some() => options.mistake(
                    &format!("option {name} is given twice: the first one is used"),
                    option.written,
                ),
                Some(option) => options.given.push((option, value)),
            }
        }
        options
    }

    /// An option that does not exist, written where one that touches what is written seems meant,
    /// must not lead to documents stored in another way than the administrator asked for.
    fn unknown(&mut self, name: &str) {
        let nearest = OPTIONS
            .iter()
            .map(|option| {
                (
                    strsim::damerau_levenshtein(&name.to_lowercase(), &option.name.to_lowercase()),
                    option,
                )
            })
            .min_by_key(|(distance, _)| *distance)
            .filter(|(distance, option)| *distance <= (option.name.len() / 3).max(1));
        match nearest {
            Some((_, option)) => self.mistake(
                &format!(
                    "unknown option {}: did you mean {}? It is not used",
                    self.quoted(name),
                    option.name
                ),
                option.written,
            ),
            None => self.mistake(
                &format!(
                    "unknown option {}: it is not used; allowed are {}",
                    self.quoted(name),
                    names().collect::<Vec<_>>().join(", ")
                ),
                false,
            ),
        }
    }

    /// The option's value as given, if it is.
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.given
            .iter()
            .find(|(option, _)| option.name == name)
            .map(|(_, value)| *value)
    }

    /// The option's value; an empty one is a mistake.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        let value = self.raw(name)?;
        if !value.is_empty() {
            return Some(value);
        }
        let (default, written) = info(name).map_or(("", false), |o| (o.default, o.written));
        let instead = match default {
            "" => "as if it were not given".to_owned(),
            default => format!("using the default, {default}"),
        };
        self.mistake(&format!("option {name} is empty: {instead}"), written);
        None
    }

    /// The option's value, parsed; its default where it is not given or not allowed. `parse` says
    /// what is allowed.
    pub(super) fn checked<T>(
        &mut self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, &'static str>,
    ) -> T
    where
        T: Default,
    {
        let default = default_of(name);
        // An empty value that is the default is no mistake: Prefix => ''.
        let value = match self.raw(name) {
            Some("") if default.is_empty() => None,
            _ => self.text(name),
        };
        if let Some(value) = value {
            match parse(value) {
                Ok(parsed) => return parsed,
                Err(allowed) => self.not_allowed(name, value, allowed, default),
            }
        }
        parse(default).unwrap_or_default()
    }

    /// Seconds, with or without decimals.
    pub(super) fn seconds(&mut self, name: &'static str, least: f64, most: f64) -> Duration {
        Duration::from_secs_f64(self.number(name, "seconds", least, most))
    }

    /// A whole number within bounds.
    pub(super) fn whole_number(&mut self, name: &'static str, least: u32, most: u32) -> u32 {
        self.number(name, "a whole number", least, most)
    }

    fn number<T>(&mut self, name: &'static str, kind: &str, least: T, most: T) -> T
    where
        T: FromStr + PartialOrd + Display + Copy,
    {
        let default = default_of(name);
        let read = |text: &str| text.parse::<T>().ok().filter(|n| (least..=most).contains(n));
        if let Some(text) = self.text(name) {
            match read(text) {
                Some(number) => return number,
                None => self.not_allowed(name, text, &format!("{kind} from {least} to {most}"), default),
            }
        }
        read(default).unwrap_or(least)
    }

    pub(super) fn not_allowed(&mut self, name: &str, value: &str, allowed: &str, default: &str) {
        let option = info(name);
        let shown = match option {
            Some(option) if option.secret => "its value".to_owned(),
            _ => self.quoted(value),
        };
        let instead = match default {
            "" => "none".to_owned(),
            default => default.to_owned(),
        };
        self.mistake(
            &format!("option {name}: {shown} is not allowed: {allowed}; using the default, {instead}"),
            option.is_some_and(|option| option.written),
        );
    }

    /// `value` for a message; secrets in it are masked.
    pub(super) fn quoted(&self, value: &str) -> String {
        quoted(&self.mask.apply(value))
    }

    pub(super) fn mistake(&mut self, message: &str, refuses_writing: bool) {
        self.mistakes.push(Mistake {
            message: one_line(&self.mask.apply(message)),
            refuses_writing,
        });
    }

    /// A text, and what may explain it: the mistakes found so far.
    pub(super) fn with_mistakes(&self, text: &str) -> String {
        let mistakes: Vec<_> = self
            .mistakes
            .iter()
            .map(|mistake| mistake.message.as_str())
            .collect();
        match mistakes.is_empty() {
            true => text.to_owned(),
            false => format!("{text} ({})", mistakes.join("; ")),
        }
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }
}
