//! What must never be printed.

use std::fmt;

/// A secret text; its Debug output is masked.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` as a secret.
    pub fn new(text: &str) -> Self {
        Secret(text.to_owned())
    }

    /// The secret itself, for signing.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An access key given as options.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    /// The key's id, sent with every request.
    pub access_key_id: String,
    /// The key itself, which signs requests.
    pub secret_access_key: Secret,
    /// Sent with requests that temporary keys sign.
    pub session_token: Option<Secret>,
}

impl StaticKeys {
    pub(crate) fn new(id: &str, secret: &str, token: Option<&str>) -> Self {
        StaticKeys {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(secret),
            session_token: token.map(Secret::new),
        }
    }
}
