//! Options that touch what is written: encryption, class, owner, checksum. A mistake in one of them
//! stops writing, for documents must not be stored otherwise than the administrator asked for.

use super::options::Options;
use crate::error::quoted;

/// What goes with the requests that write, and with those that ask about what was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// `x-amz-server-side-encryption`
    pub encryption: Option<String>,
    /// `x-amz-server-side-encryption-aws-kms-key-id`
    pub kms_key_id: Option<String>,
    /// `x-amz-storage-class`
    pub storage_class: Option<String>,
    /// `x-amz-expected-bucket-owner`, sent with every request about an object.
    pub bucket_owner: Option<String>,
    /// Whether `x-amz-checksum-sha256` goes with an object.
    pub checksum: bool,
}

const ENCRYPTIONS: [&str; 3] = ["AES256", "aws:kms", "aws:kms:dsse"];
/// Classes whose objects can be read at once: <https://aws.amazon.com/s3/storage-classes/>
const CLASSES: [&str; 6] = [
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER_IR",
    "REDUCED_REDUNDANCY",
];
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];

impl Written {
    /// `aws`: whether the server is AWS's, which has no storage classes but its own.
    pub(super) fn parse(options: &mut Options<'_>, aws: bool) -> Self {
        let encryption = optional(options, "ServerSideEncryption", |value| {
            ENCRYPTIONS
                .contains(&value)
                .then_some(())
                .ok_or("'AES256', 'aws:kms' or 'aws:kms:dsse'")
        });
        let kms_key_id = optional(options, "SSEKMSKeyId", |value| {
            let sendable = value.len() <= 2048 && value.bytes().all(|c| c.is_ascii_graphic());
            sendable.then_some(()).ok_or("the id, alias or ARN of a KMS key")
        });
        if kms_key_id.is_some()
            && !encryption
                .as_deref()
                .is_some_and(|kind| kind.starts_with("aws:kms"))
        {
            options.mistake(
                "option SSEKMSKeyId makes no sense without ServerSideEncryption => 'aws:kms' or 'aws:kms:dsse'",
                true,
            );
        }
        Written {
            encryption,
            kms_key_id,
            storage_class: optional(options, "StorageClass", |value| check_class(value, aws)),
            bucket_owner: optional(options, "ExpectedBucketOwner", |value| {
                let id = value.len() == 12 && value.bytes().all(|c| c.is_ascii_digit());
                id.then_some(()).ok_or("the 12 digits of an AWS account")
            }),
            checksum: options.checked("Checksum", |value| match value {
                "auto" => Ok(aws),
                "always" => Ok(true),
                "never" => Ok(false),
                _ => Err("'auto', 'always' or 'never'"),
            }),
        }
    }
}

fn check_class(value: &str, aws: bool) -> Result<(), &'static str> {
    if ARCHIVES.contains(&value) {
        return Err("a class whose objects can be read at once, which those of an archive can't");
    }
    let well_formed = value.len() <= 64
        && value
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || b"_-".contains(&c));
    match (aws, CLASSES.contains(&value)) {
        (_, true) => Ok(()),
        (false, _) if well_formed => Ok(()),
        (true, _) => {
            Err("STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING, GLACIER_IR or REDUCED_REDUNDANCY")
        }
        (false, _) => Err("capital letters, digits, '_' and '-', at most 64 of them"),
    }
}

/// An option without a default; None on a mistake.
fn optional(
    options: &mut Options<'_>,
    name: &'static str,
    check: impl Fn(&str) -> Result<(), &'static str>,
) -> Option<String> {
    let value = options.text(name)?;
    match check(value) {
        Ok(()) => Some(value.to_owned()),
        Err(allowed) => {
            options.mistake(
                &format!("option {name}: {} is not allowed: {allowed}", quoted(value)),
                true,
            );
            None
        }
    }
}
