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

/// Signs links of one moment, in one region, with one access key: most of a signature's work is the
/// same for all of them.
pub struct Presigner {
    keys: Keys,
    region: String,
    time: SystemTime,
    timestamp: String,
    /// Good for the whole day.
    key: [u8; 32],
    /// The query up to the time that a link lives.
    begin: String,
    /// As it stands in a query.
    token: Option<String>,
}

impl Presigner {
    /// Signs with `keys`, at `time`. `last`: another one, whose signing key may still be good.
    pub(crate) fn new(keys: &Keys, region: &str, time: SystemTime, last: Option<&Presigner>) -> Self {
        let timestamp = timestamp(time);
        let scope = scope(region, &timestamp);
        let same = last.filter(|last| {
            last.region == region && last.keys == *keys && last.timestamp.starts_with(scope.date())
        });
        let credential = encode_value(&format!("{}/{}", keys.access_key_id, scope.text()));
        Presigner {
            keys: keys.clone(),
            region: region.to_owned(),
            time,
            key: same.map_or_else(|| scope.key(keys), |last| last.key),
            begin: format!(
                "X-Amz-Algorithm={ALGORITHM}&X-Amz-Credential={credential}&X-Amz-Date={timestamp}&X-Amz-Expires="
            ),
            token: keys.session_token.as_ref().map(|token| encode_value(token.reveal())),
            timestamp,
        }
    }

    /// Whether it is the one for these.
    pub(crate) fn is_for(&self, keys: &Keys, region: &str, time: SystemTime) -> bool {
        self.time == time && self.region == region && self.keys == *keys
    }

    /// A URL to read what is at `address`, for so many seconds. `more`: further parameters, sorted, their values encoded; they come after `X-Amz-*`.
    pub(crate) fn url(&self, address: &Address, expires: u64, more: &[(&str, String)]) -> String {
        let mut query = format!("{}{expires}", self.begin);
        if let Some(token) = &self.token {
            query.extend(["&X-Amz-Security-Token=", token]);
        }
        query.push_str("&X-Amz-SignedHeaders=host");
        for (name, value) in more {
            query.extend(["&", name, "=", value]);
        }
        let request = Signable {
            method: "GET",
            path: &address.path,
            query: &query,
            headers: vec![("host", &address.authority)],
            payload: "UNSIGNED-PAYLOAD",
        };
        let signature = scope(&self.region, &self.timestamp).sign(&self.key, request);
        format!("{}?{query}&X-Amz-Signature={signature}", address.url())
    }
}

fn scope<'a>(region: &'a str, timestamp: &'a str) -> Scope<'a> {
    Scope {
        region,
        service: "s3",
        timestamp,
    }
}

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
        let presigner = Presigner::new(&example_keys(), "us-east-1", time, None);
        assert_eq!(
            presigner.url(&address, 86_400, &[]),
            "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
        );
    }

    #[test]
    fn a_signing_key_is_good_for_one_day_one_region_and_one_access_key() {
        let (address, time) = example();
        let other = Keys::checked("AKIAIOSFODNN7EXAMPLE", "another", None).unwrap();
        let first = Presigner::new(&example_keys(), "us-east-1", time, None);
        assert!(first.is_for(&example_keys(), "us-east-1", time));
        for (keys, region, hours) in [
            (&example_keys(), "us-east-1", 23),
            (&example_keys(), "us-east-1", 24),
            (&example_keys(), "eu-west-1", 0),
            (&other, "us-east-1", 0),
        ] {
            let time = time + Duration::from_secs(3600 * hours);
            assert!(!first.is_for(keys, region, time), "{region} {hours}");
            let next = Presigner::new(keys, region, time, Some(&first));
            let anew = Presigner::new(keys, region, time, None);
            assert_eq!(next.url(&address, 1, &[]), anew.url(&address, 1, &[]));
        }
    }

    #[test]
    fn a_token_goes_along() {
        let (address, time) = example();
        let keys = Keys::checked("ID", "secret", Some("a+b/c=")).unwrap();
        let url = Presigner::new(&keys, "r", time, None).url(&address, 1, &[("z", "1".to_owned())]);
        assert!(
            url.contains("&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders=host&z=1&X-Amz-Signature="),
            "{url}"
        );
    }
}
