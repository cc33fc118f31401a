//! One rule: which requests it fits, and when it fires.

use serde_json::Value;

use super::Fault;
use super::fields::Fields;
use crate::address::Target;

/// A line of the file.
pub struct Rule {
    operation: Option<String>,
    bucket: Option<String>,
    key: Option<String>,
    nth: Option<Vec<u64>>,
    from: Option<u64>,
    chance: Option<f64>,
    /// What happens then.
    pub fault: Fault,
    /// It says nothing but how the server is: other rules apply too.
    pub is_standing: bool,
}

impl Rule {
    /// Whether it is about such a request.
    pub fn fits(&self, target: &Target) -> bool {
        self.operation
            .as_deref()
            .is_none_or(|name| target.operation == Some(name))
            && self
                .bucket
                .as_deref()
                .is_none_or(|name| target.bucket.as_deref() == Some(name))
            && self.key.as_deref().is_none_or(|pattern| {
                let key = target.key.as_deref().unwrap_or_default();
                pattern
                    .strip_suffix('*')
                    .map_or(key == pattern, |prefix| key.starts_with(prefix))
            })
    }

    /// Whether it fires for the request with this number; `lot` is a number from 0 to 1 that is drawn.
    pub fn fires(&self, count: u64, lot: impl FnOnce() -> f64) -> bool {
        let listed = self.nth.as_ref().is_some_and(|nth| nth.contains(&count));
        let always = self.nth.is_none() && self.from.is_none();
        (always || listed || self.from.is_some_and(|from| count >= from))
            && self.chance.is_none_or(|chance| lot() < chance)
    }

    /// Reads a line.
    pub fn parse(line: &str) -> Result<Self, String> {
        let mut fields = Fields::of(serde_json::from_str(line).map_err(|error| error.to_string())?)?;
        let nth = fields.take("nth", nth)?;
        let from = fields.number("from")?;
        let (nth, onwards) = nth.map_or((None, None), |(nth, from)| (Some(nth), from));
        let fault = fields.with("do", |value| {
            let keys = value.as_object().map(|map| map.keys().cloned().collect());
            Ok((Fault::parse(value)?, keys.unwrap_or_default()))
        })?;
        let (fault, keys): (Fault, Vec<String>) = fault.ok_or("do is missing")?;
        let rule = Self {
            operation: fields.string("operation")?,
            bucket: fields.string("bucket")?,
            key: fields.string("key")?,
            nth,
            from: from.or(onwards),
            chance: fields.take("chance", Value::as_f64)?,
            fault,
            is_standing: !keys.is_empty() && keys.iter().all(|key| key == "region" || key == "clock_s"),
        };
        // A mark that makes a rule different from an equal one before, so that it counts anew.
        fields.take("set", |_| Some(()))?;
        fields.end().map(|()| rule)
    }
}

/// Numbers; `"..."` in the end stands for all behind the last one.
fn nth(value: &Value) -> Option<(Vec<u64>, Option<u64>)> {
    let list = value.as_array()?;
    let (numbers, from) = match list.split_last() {
        Some((last, before)) if last == "..." => (before, Some(before.last()?.as_u64()?)),
        _ => (list.as_slice(), None),
    };
    let numbers = numbers.iter().map(Value::as_u64).collect::<Option<_>>()?;
    Some((numbers, from))
}
