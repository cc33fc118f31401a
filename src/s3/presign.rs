//! SigV4 in a query: a URL with which whoever has it can read one object, for a time.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>

use std::time::SystemTime;

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

use super::sign::{timestamp, Scope, Signable, ALGORITHM};
use crate::config::{Address, Keys};

/// RFC 3986's unreserved characters stay.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A value as it stands in a query.
pub(crate) fn encode_value(value: &str) -> String {
    utf8_percent_encode(value, QUERY).to_string()
}

/// Signs links of one day, in one region, with one access key: most of a signature's work is the
/// same for all of them.
pub struct Presigner {
    keys: Keys,
    region: String,
    date: String,
    key: [u8; 32],
    /// As they stand in a query.
    credential: String,
    token: Option<String>,
}

impl Presigner {
    /// Signs with `keys` on the day of `time`, in UTC.
    pub(crate) fn new(keys: &Keys, region: &str, time: SystemTime) -> Self {
        let timestamp = timestamp(time);
        let scope = Scope {
            region,
            service: SERVICE,
            timestamp: &timestamp,
        };
        Presigner {
            keys: keys.clone(),
            region: region.to_owned(),
            date: scope.date().to_owned(),
            key: scope.key(keys),
            credential: encode_value(&format!("{}/{}", keys.access_key_id, scope.text())),
            token: keys
                .session_token
                .as_ref()
                .map(|token| encode_value(token.reveal())),
        }
    }

    /// Whether it is the one for these.
    pub(crate) fn is_for(&self, keys: &Keys, region: &str, time: SystemTime) -> bool {
        self.region == region && timestamp(time).starts_with(&self.date) && self.keys == *keys
    }

    /// A URL to read what is at `address`, from `time` on for so many seconds. `more`: further
    /// parameters, sorted, their values encoded; they come after `X-Amz-*`.
    pub(crate) fn url(
        &self,
        address: &Address,
        time: SystemTime,
        expires: u64,
        more: &[(&str, String)],
    ) -> String {
        let timestamp = timestamp(time);
        let mut query = format!(
            "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={}&X-Amz-Date={timestamp}&X-Amz-Expires={expires}",
            self.credential
        );
        if let Some(token) = &self.token {
            query.extend(["&X-Amz-Security-Token=", token]);
        }
        query.push_str("&X-Amz-SignedHeaders=host");
        for (name, value) in more {
            query.extend(["&", name, "=", value]);
        }
        let scope = Scope {
            region: &self.region,
            service: SERVICE,
            timestamp: &timestamp,
        };
        let request = Signable {
            method: "GET",
            path: &address.path,
            query: &query,
            headers: vec![("host", &address.authority)],
            payload: "UNSIGNED-PAYLOAD",
        };
        let signature = scope.sign(&self.key, request);
        format!("{}?{query}&X-Amz-Signature={signature}", address.url())
    }
}

const SERVICE: &str = "s3";

#[cfg(test)]
mod tests {
    use super::super::sign::example_keys;
    use super::*;
    use std::time::Duration;

    fn example() -> (Address, SystemTime) {
        let address = Address {
            https: true,
            host: "examplebucket.s3.amazonaws.com".to_owned(),
            port: 443,
            authority: "examplebucket.s3.amazonaws.com".to_owned(),
            path: "/test.txt".to_owned(),
        };
        (
            address,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_369_353_600),
        )
    }

    /// The example of AWS's page above, letter for letter.
    #[test]
    fn get_object() {
        let (address, time) = example();
        let presigner = Presigner::new(&example_keys(), "us-east-1", time);
        assert_eq!(
            presigner.url(&address, time, 86_400, &[]),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn one_day_one_region_one_key() {
        let (_, time) = example();
        let presigner = Presigner::new(&example_keys(), "us-east-1", time);
        let hours = |n: u64| time + Duration::from_secs(3600 * n);
        assert!(presigner.is_for(&example_keys(), "us-east-1", hours(23)));
        assert!(!presigner.is_for(&example_keys(), "us-east-1", hours(24)));
        assert!(!presigner.is_for(&example_keys(), "eu-west-1", time));
        let other = Keys::checked("AKIAIOSFODNN7EXAMPLE", "another", None).unwrap();
        assert!(!presigner.is_for(&other, "us-east-1", time));
    }

    #[test]
    fn a_token_goes_along() {
        let (address, time) = example();
        let keys = Keys::checked("ID", "secret", Some("a+b/c=")).unwrap();
        let url = Presigner::new(&keys, "r", time).url(&address, time, 1, &[("z", "1".to_owned())]);
        assert!(
            url.contains("&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders=host&z=1&X-Amz-Signature="),
            "{url}"
        );
    }
}
