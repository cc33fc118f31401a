//! Handles: interned by their options, counted, and checked at every use.
//!
//! The table of handles is a list that only grows, and that no lock guards: a fork at any moment
//! leaves it whole in the child. An entry outlives its last close, so that a closed handle is
//! recognised; sets of options are few.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::store::Store;

/// A bucket with its options. Opaque.
pub struct rts3_handle {
    options: Vec<(String, String)>,
    store: Store,
    opened: AtomicUsize,
    next: *mut rts3_handle,
}

static HANDLES: AtomicPtr<rts3_handle> = AtomicPtr::new(ptr::null_mut());

/// The handle for these options, opened once more.
pub(super) fn open(mut options: Vec<(String, String)>) -> Result<*mut rts3_handle> {
    options.sort();
    let mut first = HANDLES.load(Ordering::Acquire);
    if let Some(handle) = opened_before(first, &options) {
        return Ok(handle);
    }
    let given = options
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let (config, mistakes) = Config::parse(given)?;
    let mut new = Box::new(rts3_handle {
        options,
        store: Store::new(config, mistakes),
        opened: AtomicUsize::new(1),
        next: ptr::null_mut(),
    });
    loop {
        new.next = first;
        let pointer = Box::into_raw(new);
        match HANDLES.compare_exchange(first, pointer, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(pointer),
            Err(other) => {
                first = other;
                // SAFETY: it was not put into the list, so it is still ours alone.
                new = unsafe { Box::from_raw(pointer) };
                if let Some(handle) = opened_before(first, &new.options) {
                    return Ok(handle);
                }
            }
        }
    }
}

fn opened_before(first: *mut rts3_handle, options: &[(String, String)]) -> Option<*mut rts3_handle> {
    let entry = entries(first).find(|entry| entry.options == options)?;
    entry.opened.fetch_add(1, Ordering::AcqRel);
    Some(ptr::from_ref(entry).cast_mut())
}

/// The store of a handle that is open.
pub(super) fn find(handle: *mut rts3_handle) -> Result<&'static Store> {
    let entry = entry(handle)?;
    if entry.opened.load(Ordering::Acquire) == 0 {
        return Err(closed());
    }
    Ok(&entry.store)
}

/// Takes back one open.
pub(super) fn close(handle: *mut rts3_handle) -> Result<()> {
    let entry = entry(handle)?;
    let before = entry
        .opened
        .fetch_update(Ordering::AcqRel, Ordering::Acquire, |opened| {
            opened.checked_sub(1)
        })
        .map_err(|_| closed())?;
    if before == 1 {
        entry.store.disconnect();
    }
    Ok(())
}

/// The pointer is compared, never followed, before it is known to be one of ours.
fn entry(handle: *mut rts3_handle) -> Result<&'static rts3_handle> {
    entries(HANDLES.load(Ordering::Acquire))
        .find(|entry| ptr::eq(*entry, handle))
        .ok_or_else(|| match handle.is_null() {
            true => Error::new(Code::Argument, "handle is NULL"),
            false => Error::new(Code::Argument, "handle is none that rts3_open gave"),
        })
}

fn entries(first: *mut rts3_handle) -> impl Iterator<Item = &'static rts3_handle> {
    let mut next = first;
    std::iter::from_fn(move || {
        // SAFETY: what is in the list came from Box::into_raw, is never freed, and changes only in
        // its atomics and in what the store guards itself.
        let entry = unsafe { next.as_ref() }?;
        next = entry.next;
        Some(entry)
    })
}

fn closed() -> Error {
    Error::new(
        Code::Argument,
        "handle is closed: rts3_open gives one that is open",
    )
}
