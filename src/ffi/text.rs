//! Texts and bytes of C, borrowed for one call.

use std::ffi::{c_char, CStr};
use std::{ptr, slice};

use crate::error::{Code, Error, Result};
use crate::key::Key;

fn misuse(text: String) -> Error {
    Error::new(Code::Argument, text)
}

/// A text that must be given.
///
/// # Safety
/// `pointer` is NULL or NUL-terminated, and outlives what is returned.
pub(super) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    optional_text(pointer, name)?.ok_or_else(|| misuse(format!("{name} is NULL")))
}

/// A text that may be NULL.
///
/// # Safety
/// As for [`text`].
pub(super) unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    match CStr::from_ptr(pointer).to_str() {
        Ok(text) => Ok(Some(text)),
        Err(error) => Err(misuse(format!(
            "{name} is not UTF-8, from byte {}",
            error.valid_up_to()
        ))),
    }
}

/// Pairs of name and value, without those whose value is NULL.
///
/// # Safety
/// `options` points to `2 * count` pointers, each as for [`text`].
pub(super) unsafe fn options(options: *const *const c_char, count: usize) -> Result<Vec<(String, String)>> {
    if options.is_null() && count > 0 {
        return Err(misuse("options is NULL".to_owned()));
    }
    let mut given = Vec::new();
    for index in 0..count {
        let name = text(
            *options.add(2 * index),
            &format!("the name of option {}", index + 1),
        )?;
        let value = optional_text(
            *options.add(2 * index + 1),
            &format!("the value of option {name}"),
        )?;
        given.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    Ok(given)
}

/// Bytes that may be none.
///
/// # Safety
/// `pointer` points to `size` bytes that outlive what is returned, or `size` is 0.
pub(super) unsafe fn bytes<'a>(pointer: *const u8, size: usize, name: &str) -> Result<&'a [u8]> {
    if size == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(misuse(format!("{name} is NULL, but its size is {size}")));
    }
    if isize::try_from(size).is_err() {
        return Err(misuse(format!("{name} is larger than memory can be")));
    }
    Ok(slice::from_raw_parts(pointer, size))
}

/// Where an output goes.
///
/// # Safety
/// `pointer` is NULL or may be written to.
pub(super) unsafe fn target<'a, T>(pointer: *mut T, name: &str) -> Result<&'a mut T> {
    pointer.as_mut().ok_or_else(|| misuse(format!("{name} is NULL")))
}

/// A copy of `text` from malloc, NUL-terminated.
pub(super) fn allocate(text: &str) -> Result<*mut c_char> {
    // SAFETY: the room holds the text and its NUL.
    unsafe {
        let room = libc::malloc(text.len() + 1).cast::<c_char>();
        if room.is_null() {
            return Err(Error::new(Code::Internal, "out of memory"));
        }
        ptr::copy_nonoverlapping(text.as_ptr().cast(), room, text.len());
        *room.add(text.len()) = 0;
        Ok(room)
    }
}

/// Writes a key's 64 digits and a NUL.
///
/// # Safety
/// `target` points to 65 writable bytes.
pub(super) unsafe fn put_hex(target: *mut c_char, key: &Key) {
    let digits = key.hex();
    ptr::copy_nonoverlapping(digits.as_ptr().cast::<c_char>(), target, digits.len());
    *target.add(digits.len()) = 0;
}
