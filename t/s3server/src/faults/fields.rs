//! JSON objects, taken apart.

use serde_json::{Map, Value};

/// A JSON object; what is left over in the end was misspelt.
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Takes an object and nothing else.
    pub fn of(value: Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self(map)),
            other => Err(format!("an object is wanted, not {other}")),
        }
    }

    /// Takes a field out, if it is there and `read` understands it.
    pub fn take<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, String> {
        match self.0.remove(name) {
            Some(value) => read(&value)
                .map(Some)
                .ok_or_else(|| format!("{name} can't be {value}")),
            None => Ok(None),
        }
    }

    /// Takes a text.
    pub fn string(&mut self, name: &str) -> Result<Option<String>, String> {
        self.take(name, |value| value.as_str().map(str::to_owned))
    }

    /// Takes a truth.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool, String> {
        self.take(name, Value::as_bool)
            .map(|value| value.unwrap_or(default))
    }

    /// Takes a number that is not negative.
    pub fn number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.take(name, Value::as_u64)
    }

    /// Takes a value of whatever type, to be understood by `read`.
    pub fn with<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(Value) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        match self.0.remove(name) {
            Some(value) => read(value).map(Some).map_err(|error| format!("{name}: {error}")),
            None => Ok(None),
        }
    }

    /// Nothing may be left.
    pub fn end(self) -> Result<(), String> {
        self.0
            .keys()
            .next()
            .map_or(Ok(()), |name| Err(format!("unknown field {name}")))
    }
}
