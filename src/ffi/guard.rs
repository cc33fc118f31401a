//! The one way in: whatever happens becomes a status.

use std::any::Any;
use std::panic::{catch_unwind, AssertUnwindSafe};

use super::error::{rts3_error, rts3_status};
use crate::error::{Code, Error, Result};

/// Runs `work`; its failure, or its panic, goes to `*error` where there is room for it.
///
/// # Safety
/// `error` is NULL or points to a pointer.
pub(super) unsafe fn guard(error: *mut *mut rts3_error, work: impl FnOnce() -> Result<()>) -> rts3_status {
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(internal(&*panic)));
    match result {
        Ok(()) => rts3_status::RTS3_OK,
        Err(failure) => {
            let status = failure.code().into();
            if let Some(error) = error.as_mut() {
                *error = Box::into_raw(Box::new(failure.into()));
            }
            status
        }
    }
}

fn internal(panic: &(dyn Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Error::new(
        Code::Internal,
        format!("a mistake in librts3, please report it: {text}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;
    use std::ptr;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let mut error = ptr::null_mut();
        // SAFETY: `error` is a pointer of ours, and the message lives as long as the error.
        unsafe {
            assert_eq!(
                guard(&mut error, || panic!("number {}", 7)),
                rts3_status::RTS3_INTERNAL
            );
            let message = CStr::from_ptr(super::super::rts3_error_message(error));
            assert!(message.to_str().unwrap().ends_with("please report it: number 7"));
            super::super::rts3_error_free(error);
            assert_eq!(guard(ptr::null_mut(), || panic!("x")), rts3_status::RTS3_INTERNAL);
        }
    }
}
