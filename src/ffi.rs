//! The C ABI: pointers in, pointers out, and nothing else.
//!
//! Every export goes through one guard, which turns NULL, text that is not UTF-8, misuse and panics
//! into errors. The header's introduction stands in `include/cbindgen.toml`.
#![allow(non_camel_case_types)]

mod bucket;
mod bulk;
mod error;
mod guard;
mod handle;
mod output;
mod registry;
mod text;

use std::ffi::{c_char, c_void};
use std::ptr;
use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::link::About;

pub use bucket::{rts3_create_bucket, rts3_inspect, rts3_list, rts3_probe};
pub use bulk::{rts3_bulk, rts3_bulk_close, rts3_bulk_open, rts3_bulk_submit, rts3_bulk_wait};
pub use error::{
    rts3_error, rts3_error_free, rts3_error_message, rts3_error_status, rts3_status, rts3_status_name,
};
pub use handle::rts3_handle;
pub use output::rts3_reserve;

use guard::guard;
use output::{Allocated, Reserved};
use text::{allocate, bytes, optional_text, put_hex, target, text};

/// Opens a bucket with these options and gives a handle to it. No network, no thread.
///
/// `options`: `2 * count` strings, name, value, name, value …; a NULL value means that the option is
/// not given. Names, values and defaults are those of `%ExternalStorage` in RT's configuration.
/// The same options give the same handle, counted: close it as often as it was opened.
///
/// Errors: `RTS3_CONFIG` where no request can be formed with these options; `RTS3_ARGUMENT`. Every
/// other mistake in the options is a message of level 1, see `rts3_next_message`.
///
/// # Safety
/// `options` points to `2 * count` pointers, each NULL or a NUL-terminated string.
#[no_mangle]
pub unsafe extern "C" fn rts3_open(
    options: *const *const c_char,
    count: usize,
    handle: *mut *mut rts3_handle,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let handle = target(handle, "handle")?;
        let given = text::options(options, count)?;
        *handle = handle::open(given)?;
        Ok(())
    })
}

/// Closes a handle once. After the last close its connections are gone, and using it is an error.
///
/// # Safety
/// Any pointer value is allowed for `handle`.
#[no_mangle]
pub unsafe extern "C" fn rts3_close(handle: *mut rts3_handle, error: *mut *mut rts3_error) -> rts3_status {
    guard(error, || handle::close(handle))
}

/// Stores `content` of `size` bytes, 5 GiB at most, under `key`. `RTS3_OK` means that the object in the bucket is
/// known to be the content, whole. An object that is there already is believed only after it was
/// read back; a damaged one is written over, with a message of level 2.
///
/// `content_type`: the object's Content-Type, or NULL for application/octet-stream; one that can't
/// be sent is replaced by that, with a message. A type that a browser would run is stored with
/// `Content-Disposition: attachment`.
///
/// Errors: `RTS3_MISMATCH` where `key` is not the SHA-256 of `content` (nothing is stored);
/// `RTS3_ARGUMENT` where it is too large; `RTS3_NO_BUCKET`; any other.
///
/// # Safety
/// `content` points to `size` bytes (it may be NULL if `size` is 0); the strings are NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_store(
    handle: *mut rts3_handle,
    key: *const c_char,
    content: *const u8,
    size: usize,
    content_type: *const c_char,
    deadline_ms: u64,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let key = Key::parse(text(key, "key")?)?;
        let content = bytes(content, size, "content")?;
        let content_type = optional_text(content_type, "content_type")?;
        store.store(&key, content, content_type, deadline(deadline_ms))
    })
}

/// Reads the content of `key`. The bytes given are those whose SHA-256 is `key`, always.
/// With a `deadline_ms` of 1 only a local copy is looked for (option CacheDir); where there is none, it is
/// `RTS3_TIMEOUT`.
///
/// `*size`: the bytes of the content. Where `reserve` is not NULL, it is asked for room once the size is
/// known, and `*data` (`data` may be NULL then) becomes what it returned last. Where `reserve` is NULL,
/// the library allocates `*data`, to be released with `rts3_free`. Content of no bytes asks for no room: `*data` is NULL then.
///
/// Errors: `RTS3_NOT_FOUND` (see `rts3_proven`); `RTS3_CORRUPT` where the object is there but is not
/// the content of `key`; `RTS3_ARGUMENT` where `reserve` returned NULL, or did not keep what was in
/// the room; any other. After an error what the room holds means nothing.
///
/// # Safety
/// `key` is NUL-terminated; `reserve` returns NULL or the address of as many writable bytes as it
/// was asked for, which stay valid until it is called again or this function returns.
#[no_mangle]
pub unsafe extern "C" fn rts3_get(
    handle: *mut rts3_handle,
    key: *const c_char,
    deadline_ms: u64,
    reserve: rts3_reserve,
    context: *mut c_void,
    data: *mut *mut u8,
    size: *mut usize,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let key = Key::parse(text(key, "key")?)?;
        let size = target(size, "size")?;
        let deadline = deadline(deadline_ms);
        if let Some(reserve) = reserve {
            let mut room = Reserved::new(reserve, context);
            let length = store.get(&key, &mut room, deadline)?;
            room.check(&key, as_size(length)?)?;
            *size = as_size(length)?;
            if let Some(data) = data.as_mut() {
                *data = if length == 0 {
                    ptr::null_mut()
                } else {
                    room.address()
                };
            }
        } else {
            let data = target(data, "data")?;
            let mut room = Allocated::new();
            let length = store.get(&key, &mut room, deadline)?;
            *size = as_size(length)?;
            *data = if length == 0 {
                ptr::null_mut()
            } else {
                room.release()
            };
        }
        Ok(())
    })
}

/// Removes the object under `key`; gone or never there is success.
///
/// # Safety
/// `key` is NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_delete(
    handle: *mut rts3_handle,
    key: *const c_char,
    deadline_ms: u64,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        store.delete(&Key::parse(text(key, "key")?)?, deadline(deadline_ms))
    })
}

/// Asks whether there is an object under `key`: `RTS3_OK` or `RTS3_NOT_FOUND`, or another error. It
/// says nothing about whether the object is whole. (S3 answers this question without saying whether
/// it is the bucket that is missing.)
///
/// `*size` (`size` may be NULL): its size in bytes; UINT64_MAX where the server does not tell it. `*checksum` (`checksum` may be NULL): the SHA-256
/// that the server keeps of it, 64 hexadecimal digits, to be released with `rts3_free`; NULL where
/// it keeps none.
///
/// # Safety
/// `key` is NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_head(
    handle: *mut rts3_handle,
    key: *const c_char,
    deadline_ms: u64,
    size: *mut u64,
    checksum: *mut *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let head = store.head(&Key::parse(text(key, "key")?)?, deadline(deadline_ms))?;
        if let Some(checksum) = checksum.as_mut() {
            *checksum = match head.checksum {
                Some(kept) => allocate(&kept.hex())?,
                None => ptr::null_mut(),
            };
        }
        if let Some(size) = size.as_mut() {
            *size = head.size.unwrap_or(u64::MAX);
        }
        Ok(())
    })
}

/// Whether an object was read or stored with this handle, by this process or by one that was forked
/// from the same parent after `rts3_open`: `*proven` is 1 or 0. Before that, `RTS3_NOT_FOUND` may as well mean a mistake in Bucket or Prefix. No network.
///
/// # Safety
/// `proven` points to an `int32_t`.
#[no_mangle]
pub unsafe extern "C" fn rts3_proven(
    handle: *mut rts3_handle,
    proven: *mut i32,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        *target(proven, "proven")? = i32::from(store.is_proven());
        Ok(())
    })
}

/// What calls with this handle do while the server is known to be down: fail at once with
/// `RTS3_UNAVAILABLE` (`fail_fast` is 1: somebody waits at a screen), or wait for its recovery within
/// their deadline (0, as at first). It holds for this process and those forked from it later. No
/// network.
///
/// # Safety
/// Any pointer value is allowed for `handle`.
#[no_mangle]
pub unsafe extern "C" fn rts3_fail_fast(
    handle: *mut rts3_handle,
    fail_fast: i32,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        handle::find(handle)?.set_fails_fast(fail_fast != 0);
        Ok(())
    })
}

/// The URL under which a browser can read the object, as the option DirectLink says. It holds letters,
/// digits and `-_.~%/?&=:` only, and fewer than 2,000 of them. No network, except where keys that are
/// about to expire have to be replaced. `*url` is to be released with `rts3_free`.
///
/// `file_name`, `content_type`, `disposition` (`inline` or `attachment`, as which NULL counts): what the
/// browser is told of this download, or NULL. A public link can't carry them: the object has the type and
/// disposition it was stored with. A signed one does: a type that a browser would run, and no type at all,
/// is an attachment whatever is asked for; what is dangerous in a name is taken out, and what is too long
/// is cut.
///
/// # Safety
/// The strings are NULL or NUL-terminated.
#[no_mangle]
pub unsafe extern "C" fn rts3_direct_url(
    handle: *mut rts3_handle,
    key: *const c_char,
    file_name: *const c_char,
    content_type: *const c_char,
    disposition: *const c_char,
    url: *mut *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let key = Key::parse(text(key, "key")?)?;
        let about = About {
            file_name: optional_text(file_name, "file_name")?,
            content_type: optional_text(content_type, "content_type")?,
            disposition: optional_text(disposition, "disposition")?,
        };
        let url = target(url, "url")?;
        *url = allocate(&store.direct_url(&key, about)?)?;
        Ok(())
    })
}

/// The SHA-256 of `content`, which is its key. `hex`: 65 bytes of the caller's, which become 64
/// hexadecimal digits and a NUL.
///
/// # Safety
/// `content` points to `size` bytes (it may be NULL if `size` is 0), `hex` to 65 writable bytes.
#[no_mangle]
pub unsafe extern "C" fn rts3_sha256(
    content: *const u8,
    size: usize,
    hex: *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let key = Key::of(bytes(content, size, "content")?);
        target(hex, "hex")?;
        put_hex(hex, &key);
        Ok(())
    })
}

/// Takes the oldest message for the log out of the handle's queue: `*text`, one line, to be released
/// with `rts3_free`; NULL where there is none. `*level`: 1 error, 2 warning, 3 information. No network.
/// Ask after `rts3_open` and after every other call, until there is none.
///
/// # Safety
/// `level` points to a `uint32_t`, `text` to a pointer.
#[no_mangle]
pub unsafe extern "C" fn rts3_next_message(
    handle: *mut rts3_handle,
    level: *mut u32,
    text: *mut *mut c_char,
    error: *mut *mut rts3_error,
) -> rts3_status {
    guard(error, || {
        let store = handle::find(handle)?;
        let (level, text) = (target(level, "level")?, target(text, "text")?);
        match store.next_message() {
            Some(message) => {
                *text = allocate(&message.text)?;
                *level = message.level as u32;
            }
            None => *text = ptr::null_mut(),
        }
        Ok(())
    })
}

/// Releases memory that the library has handed out, other than an error. NULL is allowed.
///
/// # Safety
/// `memory` was handed out by this library, and not released yet.
#[no_mangle]
pub unsafe extern "C" fn rts3_free(memory: *mut c_void) {
    libc::free(memory);
}

/// The library's version, such as "0.1.0". Never to be released.
#[no_mangle]
pub extern "C" fn rts3_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

fn deadline(milliseconds: u64) -> Option<Duration> {
    (milliseconds > 0).then(|| Duration::from_millis(milliseconds.min(86_400_000)))
}

fn as_size(length: u64) -> Result<usize> {
    usize::try_from(length).map_err(|_| Error::new(Code::Internal, "an object that does not fit into memory"))
}
