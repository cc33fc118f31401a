//! Where the bytes of a content go that is read.

use std::ffi::c_void;
use std::{mem, ptr};

use crate::error::{Code, Error, Result};
use crate::key::Key;
use crate::s3::Output;

/// Asked for room for `size` bytes, never 0, within a call of `rts3_get`. It may be asked again, for
/// more or for less, and works like realloc: what was written before stays. It returns the room's
/// address, or NULL where there is none. `context` is what `rts3_get` was given.
pub type rts3_reserve = Option<unsafe extern "C" fn(context: *mut c_void, size: usize) -> *mut u8>;

/// Room of the caller's.
pub(super) struct Reserved {
    reserve: unsafe extern "C" fn(*mut c_void, usize) -> *mut u8,
    context: *mut c_void,
    room: *mut u8,
    size: usize,
    /// How often room was asked for.
    asked: u32,
}

impl Reserved {
    pub(super) fn new(
        reserve: unsafe extern "C" fn(*mut c_void, usize) -> *mut u8,
        context: *mut c_void,
    ) -> Self {
        Reserved {
            reserve,
            context,
            room: ptr::null_mut(),
            size: 0,
            asked: 0,
        }
    }

    /// Whether the room holds the content of `key`, `length` bytes. What was written was hashed; this
    /// looks whether it is still there, where room was asked for more than once.
    pub(super) fn check(&self, key: &Key, length: usize) -> Result<()> {
        if self.asked < 2 || length == 0 || length > self.size {
            return Ok(());
        }
        // SAFETY: reserve's answer is that many bytes, of which all up to `length` were written.
        let kept = unsafe { std::slice::from_raw_parts(self.room, length) };
        if Key::of(kept) == *key {
            return Ok(());
        }
        let text = "reserve did not keep what was in the room when it was asked again";
        Err(Error::new(Code::Argument, text))
    }

    pub(super) fn address(&self) -> *mut u8 {
        self.room
    }
}

impl Output for Reserved {
    fn reserve(&mut self, size: usize) -> bool {
        self.asked += 1;
        // SAFETY: rts3_get's caller vouches for the function and its context.
        self.room = unsafe { (self.reserve)(self.context, size) };
        self.size = if self.room.is_null() { 0 } else { size };
        !self.room.is_null()
    }

    fn write(&mut self, offset: usize, piece: &[u8]) {
        put(self.room, self.size, offset, piece);
    }

    fn content(&self, size: usize) -> Option<&[u8]> {
        content(self.room, self.size, size)
    }
}

/// Room from malloc.
pub(super) struct Allocated {
    room: *mut u8,
    size: usize,
}

impl Allocated {
    pub(super) fn new() -> Self {
        Allocated {
            room: ptr::null_mut(),
            size: 0,
        }
    }

    /// The room, which is the caller's from now on.
    pub(super) fn release(&mut self) -> *mut u8 {
        self.size = 0;
        mem::replace(&mut self.room, ptr::null_mut())
    }
}

impl Output for Allocated {
    fn reserve(&mut self, size: usize) -> bool {
        // SAFETY: `room` is NULL or came from realloc.
        let room = unsafe { libc::realloc(self.room.cast(), size) };
        if room.is_null() {
            return false;
        }
        self.room = room.cast();
        self.size = size;
        true
    }

    fn write(&mut self, offset: usize, piece: &[u8]) {
        put(self.room, self.size, offset, piece);
    }

    fn content(&self, size: usize) -> Option<&[u8]> {
        content(self.room, self.size, size)
    }
}

impl Drop for Allocated {
    fn drop(&mut self) {
        // SAFETY: `room` is NULL or came from realloc, and was not released.
        unsafe { libc::free(self.room.cast()) }
    }
}

fn content<'a>(room: *const u8, held: usize, size: usize) -> Option<&'a [u8]> {
    if size > held {
        return None;
    }
    match size {
        0 => Some(&[]),
        // SAFETY: `room` has `held` bytes, and those asked for were written.
        _ => Some(unsafe { std::slice::from_raw_parts(room, size) }),
    }
}

fn put(room: *mut u8, size: usize, offset: usize, piece: &[u8]) {
    assert!(
        offset.checked_add(piece.len()).is_some_and(|end| end <= size),
        "a write outside the room"
    );
    // SAFETY: `room` has `size` bytes, and the piece fits behind `offset`; the memory need not be
    // initialised for that.
    unsafe { ptr::copy_nonoverlapping(piece.as_ptr(), room.add(offset), piece.len()) }
}
