//! Handles: interned by their options, counted, and checked at every use.
//!
//! One outlives its last close, so that a closed handle is recognised; sets of options are few.

use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::registry::Registry;
use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::store::Store;

/// A bucket with its options. Opaque.
pub struct rts3_handle {
    options: Vec<(String, String)>,
    store: Store,
    opened: AtomicUsize,
}

static HANDLES: Registry<rts3_handle> = Registry::new();

/// The handle for these options, opened once more.
pub(super) fn open(mut options: Vec<(String, String)>) -> Result<*mut rts3_handle> {
    options.sort();
    let handle = match HANDLES.search(|handle| handle.options == options) {
        Some(handle) => handle,
        None => {
            let given = options
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str()));
            let (config, mistakes) = Config::parse(given)?;
            let new = rts3_handle {
                options: options.clone(),
                store: Store::new(config, mistakes),
                opened: AtomicUsize::new(0),
            };
            HANDLES.add(new, |handle| handle.options == options)
        }
    };
    handle.opened.fetch_add(1, Ordering::AcqRel);
    Ok(ptr::from_ref(handle).cast_mut())
}

/// The store of a handle that is open.
pub(super) fn find(handle: *mut rts3_handle) -> Result<&'static Store> {
    let handle = given(handle)?;
    if handle.opened.load(Ordering::Acquire) == 0 {
        return Err(closed());
    }
    Ok(&handle.store)
}

/// Takes back one open.
pub(super) fn close(handle: *mut rts3_handle) -> Result<()> {
    let handle = given(handle)?;
    let before = handle
        .opened
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |opened| {
            opened.checked_sub(1)
        })
        .map_err(|_| closed())?;
    if before == 1 {
        handle.store.disconnect();
    }
    Ok(())
}

fn given(handle: *mut rts3_handle) -> Result<&'static rts3_handle> {
    HANDLES.find(handle).ok_or_else(|| match handle.is_null() {
        true => Error::new(Code::Argument, "handle is NULL"),
        false => Error::new(Code::Argument, "handle is none that rts3_open gave"),
    })
}

fn closed() -> Error {
    Error::new(
        Code::Argument,
        "handle is closed: rts3_open gives one that is open",
    )
}
