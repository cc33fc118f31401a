//! Status codes and the error object.

use std::ffi::{c_char, CStr, CString};

use crate::error::{Code, Error};

/// What came of a call. Numbers are never reused.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rts3_status {
    /// Success.
    RTS3_OK = 0,
    /// No request can be formed with these options, or writing is refused until one is mended.
    RTS3_CONFIG = 1,
    /// No credentials, or the server does not accept them.
    RTS3_CREDENTIALS = 2,
    /// The credentials have no right to do this, or the object is archived.
    RTS3_DENIED = 3,
    /// No object under this key.
    RTS3_NOT_FOUND = 4,
    /// The object's bytes are not the content of its key.
    RTS3_CORRUPT = 5,
    /// The content given is not that of the key given.
    RTS3_MISMATCH = 6,
    /// Name look-up, connection or TLS failed, or a connection broke.
    RTS3_NETWORK = 7,
    /// Stalled, or the deadline is over.
    RTS3_TIMEOUT = 8,
    /// The server asks to slow down.
    RTS3_THROTTLED = 9,
    /// The server failed, or its answer is not one of S3's.
    RTS3_SERVER = 10,
    /// Not even tried, because the server was just found to be down.
    RTS3_UNAVAILABLE = 11,
    /// A mistake of this library.
    RTS3_INTERNAL = 12,
    /// Misuse: NULL, text that is not UTF-8, a bad key, a closed handle, no room.
    RTS3_ARGUMENT = 13,
    /// The bucket does not exist.
    RTS3_NO_BUCKET = 14,
}

impl From<Code> for rts3_status {
    fn from(code: Code) -> Self {
        match code {
            Code::Config => rts3_status::RTS3_CONFIG,
            Code::Credentials => rts3_status::RTS3_CREDENTIALS,
            Code::Denied => rts3_status::RTS3_DENIED,
            Code::NotFound => rts3_status::RTS3_NOT_FOUND,
            Code::Corrupt => rts3_status::RTS3_CORRUPT,
            Code::Mismatch => rts3_status::RTS3_MISMATCH,
            Code::Network => rts3_status::RTS3_NETWORK,
            Code::Timeout => rts3_status::RTS3_TIMEOUT,
            Code::Throttled => rts3_status::RTS3_THROTTLED,
            Code::Server => rts3_status::RTS3_SERVER,
            Code::Unavailable => rts3_status::RTS3_UNAVAILABLE,
            Code::Internal => rts3_status::RTS3_INTERNAL,
            Code::Argument => rts3_status::RTS3_ARGUMENT,
            Code::NoBucket => rts3_status::RTS3_NO_BUCKET,
        }
    }
}

/// A failure: its status and one line of text. Released with `rts3_error_free`.
pub struct rts3_error {
    status: rts3_status,
    message: CString,
}

impl From<Error> for rts3_error {
    fn from(error: Error) -> Self {
        rts3_error {
            status: error.code().into(),
            // A message is one line, so there is no NUL in it.
            message: CString::new(error.message()).unwrap_or_default(),
        }
    }
}

/// The error's status; `RTS3_OK` for NULL.
///
/// # Safety
/// `error` is NULL or an error of this library that was not released yet.
#[no_mangle]
pub unsafe extern "C" fn rts3_error_status(error: *const rts3_error) -> rts3_status {
    error.as_ref().map_or(rts3_status::RTS3_OK, |error| error.status)
}

/// One line of UTF-8 that says what failed and, where known, what to do. It lives as long as the
/// error. An empty string for NULL.
///
/// # Safety
/// `error` is NULL or an error of this library that was not released yet.
#[no_mangle]
pub unsafe extern "C" fn rts3_error_message(error: *const rts3_error) -> *const c_char {
    error
        .as_ref()
        .map_or(c"", |error| error.message.as_c_str())
        .as_ptr()
}

/// Releases an error. NULL is allowed.
///
/// # Safety
/// `error` is NULL or an error of this library that was not released yet.
#[no_mangle]
pub unsafe extern "C" fn rts3_error_free(error: *mut rts3_error) {
    if !error.is_null() {
        drop(Box::from_raw(error));
    }
}

/// The status's name, such as "not-found"; "ok" for `RTS3_OK`, "unknown" for a number that is none.
/// Never to be released.
#[no_mangle]
pub extern "C" fn rts3_status_name(status: u32) -> *const c_char {
    let name: &CStr = match status {
        0 => c"ok",
        1 => c"config",
        2 => c"credentials",
        3 => c"denied",
        4 => c"not-found",
        5 => c"corrupt",
        6 => c"mismatch",
        7 => c"network",
        8 => c"timeout",
        9 => c"throttled",
        10 => c"server",
        11 => c"unavailable",
        12 => c"internal",
        13 => c"argument",
        14 => c"no-bucket",
        _ => c"unknown",
    };
    name.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_codes() {
        for code in Code::ALL {
            let status = rts3_status::from(code) as u32;
            assert_eq!(status, code as u32);
            // SAFETY: a static string.
            let name = unsafe { CStr::from_ptr(rts3_status_name(status)) };
            assert_eq!(name.to_str(), Ok(code.name()));
        }
        assert_eq!(Code::ALL.len() + 1, 15, "a code without a name");
    }
}
