//! Many Stores at once.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{rts3_error, rts3_status};
use super::guard::guard;
use super::handle::{self, rts3_handle};
use super::registry::Registry;
use super::text::{bytes, optional_text, put_hex, target};
use crate::bulk::Bulk;
use crate::config::MOST_CONCURRENT;
use crate::error::{Code, Error, Result};
use crate::key::Key;

const MEMORY: u64 = 256 * 1024 * 1024;

/// Many contents on their way into a bucket. Opaque.
pub struct rts3_bulk {
    process: u32,
    /// None: it is closed.
    bulk: Mutex<Option<Arc<Bulk>>>,
}

static BULKS: Registry<rts3_bulk> = Registry::new();

impl rts3_bulk {
    /// In another process its threads are not there, and a lock of its may be held for ever.
    fn lock(&self) -> Result<MutexGuard<'_, Option<Arc<Bulk>>>> {
        match self.process == std::process::id() {
            true => Ok(self.bulk.lock().unwrap_or_else(PoisonError::into_inner)),
            false => Err(misuse("bulk was made by another process, before a fork")),
        }
    }
}

fn find(bulk: *mut rts3_bulk) -> Result<&'static rts3_bulk> {
    BULKS.find(bulk).ok_or_else(|| match bulk.is_null() {
        true => misuse("bulk is NULL"),
        false => misuse("bulk is none that rts3_bulk_open gave"),
    })
}

fn open(bulk: *mut rts3_bulk) -> Result<Arc<Bulk>> {
    find(bulk)?.lock()?.clone().ok_or_else(closed)
}

fn closed() -> Error {
    misuse("bulk is closed")
}

fn misuse(text: &str) -> Error {
    Error::new(Code::Argument, text)
}

/// Begins to store many contents at once. No network, no thread yet: those that store are born with all
/// signals blocked, and live until `rts3_bulk_close`. It belongs to the process that made it; any of its
/// threads may use it.
///
/// `concurrency`: uploads under way at once, at most; 0 means what the option Concurrency says. `memory`: bytes of contents that it may
/// hold; 0 means 256 MiB.
///
/// # Safety
/// Any pointer value is allowed for `handle`.
#[no_mangle]
pub unsafe extern "C" fn rts3_bulk_open(
    handle: *mut rts3_handle,
    concurrency: u32,
    memory: u64,
    bulk: *mut *mut rts3_bulk,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let bulk = target(bulk, "bulk")?;
        let concurrency = match concurrency {
            0 => store.config().concurrency,
            given @ 1..=MOST_CONCURRENT => given,
            _ => return Err(misuse(&format!("concurrency is above {MOST_CONCURRENT}"))),
        };
        let memory = if memory == 0 { MEMORY } else { memory };
        let new = rts3_bulk {
            process: std::process::id(),
            bulk: Mutex::new(Some(Arc::new(Bulk::new(store, concurrency as usize, memory)))),
        };
        *bulk = ptr::from_ref(BULKS.add(new, |_| false)).cast_mut();
        Ok(())
    })
}

/// Takes a copy of `content`, to be hashed and stored as `rts3_store` does, within the option Deadline
/// from when its turn comes. `id`: a number of the caller's, which comes back with the result. `key`: the
/// SHA-256 that the content must have, or NULL.
///
/// `*accepted`: 0 where there is no room for it before another content is done: take a result, and try
/// again. A content that is larger than all the room is taken when nothing else is held.
///
/// # Safety
/// `content` points to `size` bytes (it may be NULL if `size` is 0); the strings are NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_bulk_submit(
    bulk: *mut rts3_bulk,
    id: u64,
    key: *const c_char,
    content: *const u8,
    size: usize,
    content_type: *const c_char,
    accepted: *mut i32,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let bulk = open(bulk)?;
        let key = optional_text(key, "key")?.map(Key::parse).transpose()?;
        let content = bytes(content, size, "content")?;
        let content_type = optional_text(content_type, "content_type")?;
        let accepted = target(accepted, "accepted")?;
        *accepted = bulk.submit(id, key.as_ref(), content, content_type)?.into();
        Ok(())
    })
}

/// Waits for the result of any content, for `timeout_ms`, and never longer than 200 ms.
///
/// `*found`: whether there is one. If so, `*id` is the number that the content was submitted with, and
/// either `*failure` is NULL, `key`, 65 bytes of the caller's, is the key that it is stored under, and
/// `*existed` says whether the object may have been there before (then somebody who found it unused may be
/// about to delete it), or `*failure` is an error, to be released with `rts3_error_free`. `*outstanding`: contents whose result
/// was not taken yet; 0: all is done.
///
/// # Safety
/// The outputs are as large as said.
#[no_mangle]
pub unsafe extern "C" fn rts3_bulk_wait(
    bulk: *mut rts3_bulk,
    timeout_ms: u64,
    found: *mut i32,
    id: *mut u64,
    key: *mut c_char,
    existed: *mut i32,
    failure: *mut *mut rts3_error,
    outstanding: *mut u64,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let bulk = open(bulk)?;
        let (found, id) = (target(found, "found")?, target(id, "id")?);
        let (failure, outstanding) = (target(failure, "failure")?, target(outstanding, "outstanding")?);
        let existed = target(existed, "existed")?;
        target(key, "key")?;
        match bulk.wait(Duration::from_millis(timeout_ms)) {
            Some(done) => {
                *id = done.id;
                *found = 1;
                *failure = match done.result {
                    Ok((stored, was_there)) => {
                        put_hex(key, &stored);
                        *existed = was_there.into();
                        ptr::null_mut()
                    }
                    Err(error) => Box::into_raw(Box::new(error.into())),
                };
            }
            None => *found = 0,
        }
        *outstanding = bulk.outstanding();
        Ok(())
    })
}

/// Ends it. Contents that are not done are given up: they may be stored, or not. Returns when the threads
/// are over, soon.
///
/// # Safety
/// Any pointer value is allowed for `bulk`.
#[no_mangle]
pub unsafe extern "C" fn rts3_bulk_close(bulk: *mut rts3_bulk, error: *mut *mut rts3_error) -> rts3_status {
    guard(error, || {
        let bulk = find(bulk)?.lock()?.take().ok_or_else(closed)?;
        // Another thread's call may still use it; it ends with that.
        drop(bulk);
        Ok(())
    })
}
