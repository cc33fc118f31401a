//! AWS Signature Version 4.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::time::SystemTime;

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::config::Keys;
use crate::key::hex;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// One request, as far as the signature covers it.
pub(super) struct Signable<'a> {
    pub(super) method: &'a str,
    /// Percent-encoded path.
    pub(super) path: &'a str,
    /// Percent-encoded query, sorted by name.
    pub(super) query: &'a str,
    /// Names in lower case, sorted, with the values that are sent.
    pub(super) headers: Vec<(&'a str, &'a str)>,
    /// Hexadecimal SHA-256 of the body, as `x-amz-content-sha256` says it, or `UNSIGNED-PAYLOAD`.
    pub(super) payload: &'a str,
}

/// A moment as SigV4 writes it: `20130524T000000Z`.
pub(super) fn timestamp(time: SystemTime) -> String {
    DateTime::<Utc>::from(time).format("%Y%m%dT%H%M%SZ").to_string()
}

/// What a signature holds for.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    /// `s3`, or another service of AWS's.
    pub(super) service: &'a str,
    /// The moment, as `x-amz-date` says it.
    pub(super) timestamp: &'a str,
}

impl Scope<'_> {
    /// `20130524`
    pub(super) fn date(&self) -> &str {
        self.timestamp.get(..8).unwrap_or(self.timestamp)
    }

    /// `20130524/us-east-1/s3/aws4_request`
    pub(super) fn text(&self) -> String {
        let Scope { region, service, .. } = self;
        format!("{}/{region}/{service}/aws4_request", self.date())
    }

    /// The key that signs within this scope; good for the whole day.
    pub(super) fn key(&self, keys: &Keys) -> [u8; 32] {
        let secret = format!("AWS4{}", keys.secret_access_key.reveal());
        [self.date(), self.region, self.service, "aws4_request"]
            .into_iter()
            .fold(Vec::from(secret), |key, part| hmac(&key, part).to_vec())
            .try_into()
            .unwrap_or_default()
    }

    /// `key`: what [`Scope::key`] gives.
    pub(super) fn sign(&self, key: &[u8; 32], request: Signable<'_>) -> String {
        let digest = hex(&Sha256::digest(canonical_request(request)));
        let to_sign = format!("{ALGORITHM}\n{}\n{}\n{digest}", self.timestamp, self.text());
        hex(&hmac(key, &to_sign))
    }
}

/// The value of the Authorization header.
pub(super) fn authorization(keys: &Keys, scope: Scope<'_>, mut request: Signable<'_>) -> String {
    request.headers.sort_unstable();
    let signed_headers = request.signed_headers();
    let signature = scope.sign(&scope.key(keys), request);
    format!(
        "{ALGORITHM} Credential={}/{},SignedHeaders={signed_headers},Signature={signature}",
        keys.access_key_id,
        scope.text(),
    )
}

impl Signable<'_> {
    fn signed_headers(&self) -> String {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        names.join(";")
    }
}

fn canonical_request(request: Signable<'_>) -> String {
    let signed_headers = request.signed_headers();
    let headers: String = request
        .headers
        .iter()
        .map(|(name, value)| {
            let value = value.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
            format!("{name}:{value}\n")
        })
        .collect();
    let Signable {
        method,
        path,
        query,
        payload,
        ..
    } = request;
    format!("{method}\n{path}\n{query}\n{headers}\n{signed_headers}\n{payload}")
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    // HMAC takes a key of any length; an empty tag could only come from a broken crate.
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(text.as_bytes());
            mac.finalize().into_bytes().into()
        }
        Err(_) => [0; 32],
    }
}

/// The keys of AWS's examples.
#[cfg(test)]
pub(super) fn example_keys() -> Keys {
    let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    Keys::checked("AKIAIOSFODNN7EXAMPLE", secret, None).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of AWS's page above.
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const HOST: (&str, &str) = ("host", "examplebucket.s3.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", "20130524T000000Z");

    fn example_scope(timestamp: &str) -> Scope<'_> {
        Scope {
            region: "us-east-1",
            service: "s3",
            timestamp,
        }
    }

    fn signature(request: Signable<'_>) -> String {
        let header = authorization(&example_keys(), example_scope(DATE.1), request);
        header.rsplit('=').next().unwrap().to_owned()
    }

    #[test]
    fn get_object() {
        let headers = vec![
            HOST,
            ("range", "bytes=0-9"),
            ("x-amz-content-sha256", EMPTY),
            DATE,
        ];
        let request = Signable {
            method: "GET",
            path: "/test.txt",
            query: "",
            headers,
            payload: EMPTY,
        };
        assert_eq!(
            signature(request),
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
    }

    #[test]
    fn put_object() {
        let payload = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
        let headers = vec![
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            HOST,
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", payload),
        ];
        let request = Signable {
            method: "PUT",
            path: "/test%24file.text",
            query: "",
            headers,
            payload,
        };
        assert_eq!(
            signature(request),
            "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
        );
    }

    #[test]
    fn get_bucket_lifecycle_and_list() {
        let headers = || vec![HOST, ("x-amz-content-sha256", EMPTY), DATE];
        let request = Signable {
            method: "GET",
            path: "/",
            query: "lifecycle=",
            headers: headers(),
            payload: EMPTY,
        };
        assert_eq!(
            signature(request),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
        );
        let query = "max-keys=2&prefix=J";
        let request = Signable {
            method: "GET",
            path: "/",
            query,
            headers: headers(),
            payload: EMPTY,
        };
        assert_eq!(
            signature(request),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
        );
    }

    #[test]
    fn moments() {
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_369_353_600);
        assert_eq!(timestamp(time), DATE.1);
    }
}
