//! The bucket as a whole.

use std::ffi::c_char;

use super::deadline;
use super::error::{rts3_error, rts3_status};
use super::guard::guard;
use super::handle::{self, rts3_handle};
use super::text::{allocate, optional_text, target};
use crate::config::encode_path;

/// Makes the bucket, in the region in force; one that is there and ours is success. A Store in this
/// process then tries for up to 60 s while the new bucket is not visible yet.
///
/// Errors: `RTS3_CONFIG` where the option CreateBucket is 0; any other.
///
/// # Safety
/// Any pointer value is allowed for `handle`.
#[no_mangle]
pub unsafe extern "C" fn rts3_create_bucket(
    handle: *mut rts3_handle,
    deadline_ms: u64,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        handle::find(handle)?.create_bucket(deadline(deadline_ms))
    })
}

/// Finds out whether objects may be stored, without storing one (it begins an upload in parts and
/// drops it). `RTS3_NO_BUCKET` where the bucket is missing.
///
/// `*credentials` (`credentials` may be NULL): where the credentials come from: "options", "environment",
/// "web-identity", "profile", "container" or "instance"; to be released with `rts3_free`.
///
/// # Safety
/// Any pointer value is allowed for `handle`.
#[no_mangle]
pub unsafe extern "C" fn rts3_probe(
    handle: *mut rts3_handle,
    deadline_ms: u64,
    credentials: *mut *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let source = handle::find(handle)?.probe(deadline(deadline_ms))?;
        if let Some(credentials) = credentials.as_mut() {
            *credentials = allocate(source)?;
        }
        Ok(())
    })
}

/// Lists the objects of the bucket below the option Prefix, in the order of their names, up to 1,000 at a
/// time. `after`: the name, without the prefix and not percent-encoded, after which to go on, or NULL.
///
/// `*objects`: a line for each, its name without the prefix (percent-encoded, of which a key is not
/// changed), a tab, its size in bytes, a newline; to be released with `rts3_free`. `*more`: whether there
/// are more.
///
/// # Safety
/// `after` is NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_list(
    handle: *mut rts3_handle,
    after: *const c_char,
    deadline_ms: u64,
    objects: *mut *mut c_char,
    more: *mut i32,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let after = optional_text(after, "after")?;
        let (objects, more) = (target(objects, "objects")?, target(more, "more")?);
        let page = store.list(after, deadline(deadline_ms))?;
        let lines: String = page
            .objects
            .iter()
            .map(|object| format!("{}\t{}\n", encode_path(&object.name), object.size))
            .collect();
        *objects = allocate(&lines)?;
        *more = page.is_truncated.into();
        Ok(())
    })
}

/// What the bucket says of itself, for whoever looks whether it is as it should be. `document`: one of
/// S3's, which come in XML: "location", "lifecycle", "versioning", "encryption", "object-lock",
/// "policyStatus", "publicAccessBlock", "acl", "uploads"; or what is known here, as lines of `name: value`:
/// "credentials" (source, access-key-id, expires, in seconds since 1970, where they do), "learned" (region,
/// style, condition, clock-offset), "failures" (how many calls failed in the last day, by the name of their status; those of this
/// process and of others forked from the same parent after `rts3_open`), "cache" (directory, limit, bytes, hits,
/// misses; nothing without the option CacheDir). `*text` is to be released with `rts3_free`.
///
/// # Safety
/// `document` is NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_inspect(
    handle: *mut rts3_handle,
    document: *const c_char,
    deadline_ms: u64,
    text: *mut *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let document = super::text::text(document, "document")?;
        let text = target(text, "text")?;
        *text = allocate(&store.inspect(document, deadline(deadline_ms))?.replace('\0', ""))?;
        Ok(())
    })
}
