//! The C ABI: calls in any order, with whatever the header allows.

use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr;

use rts3::ffi;
use rts3::ffi::{rts3_error, rts3_handle, rts3_status};

use super::{check_line, SECRET};

/// Nobody listens there.
const NOBODY: &CStr = c"http://127.0.0.1:1";
const MOST_CALLS: usize = 40;
/// Not to be set by the input: another host would be asked, or calls would take long.
const FIXED: [(&CStr, &CStr); 6] = [
    (c"Host", NOBODY),
    (c"Proxy", c"none"),
    (c"Deadline", c"0.1"),
    (c"Retries", c"0"),
    (c"ConnectTimeout", c"0.1"),
    (c"ReadTimeout", c"0.1"),
];
const NAMES: [&CStr; 12] = [
    c"Bucket",
    c"AccessKeyId",
    c"SecretAccessKey",
    c"SessionToken",
    c"Region",
    c"AddressingStyle",
    c"Prefix",
    c"ServerSideEncryption",
    c"Checksum",
    c"CreateBucket",
    c"DirectLink",
    c"DirectLinkHost",
];

/// Calls of the exported functions.
pub fn abi(data: &[u8]) {
    let mut input = Input(data);
    let mut handles = Vec::new();
    let mut calls = 0;
    while !input.0.is_empty() && calls < MOST_CALLS {
        calls += 1;
        // SAFETY: every pointer is one that the header allows.
        unsafe { call(&mut input, &mut handles) };
    }
    // The table of handles outlives the input: what it opened is closed.
    for handle in handles {
        // SAFETY: any pointer is allowed.
        unsafe { while ffi::rts3_close(handle, ptr::null_mut()) == rts3_status::RTS3_OK {} };
    }
}

/// What is left of the input.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte()).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// Of any bytes; it may stand for a key.
    fn text(&mut self) -> CString {
        let text = match self.byte() % 4 {
            0 => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".into(),
            1 => SECRET.into(),
            _ => self
                .bytes()
                .iter()
                .copied()
                .filter(|c| *c != 0)
                .collect::<Vec<u8>>(),
        };
        CString::new(text).expect("no NUL")
    }

    /// NULL, mostly not.
    fn optional(&mut self) -> Option<CString> {
        (self.byte() % 8 != 0).then(|| self.text())
    }

    fn handle(&mut self, handles: &[*mut rts3_handle]) -> *mut rts3_handle {
        let number = usize::from(self.byte());
        match handles.get(number % (handles.len() + 2)) {
            Some(handle) => *handle,
            None if number % 2 == 0 => ptr::null_mut(),
            // A number that no handle has, of any alignment.
            None => ptr::without_provenance_mut(number * 0x101),
        }
    }
}

fn pointer(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(ptr::null(), |text| text.as_ptr())
}

/// Room for an error, or NULL, and what holds of it after a call.
struct Trouble {
    error: *mut rts3_error,
    wanted: bool,
}

impl Trouble {
    fn new(input: &mut Input<'_>) -> Self {
        Trouble {
            error: ptr::null_mut(),
            wanted: input.byte() % 4 != 0,
        }
    }

    fn target(&mut self) -> *mut *mut rts3_error {
        match self.wanted {
            true => &mut self.error,
            false => ptr::null_mut(),
        }
    }

    /// True for success.
    unsafe fn check(self, status: rts3_status) -> bool {
        assert_ne!(status, rts3_status::RTS3_INTERNAL, "{}", message(self.error));
        if status == rts3_status::RTS3_OK || !self.wanted {
            assert!(self.error.is_null());
        } else {
            assert!(!self.error.is_null());
            assert_eq!(ffi::rts3_error_status(self.error), status);
            // The secret itself may have been given as a key, say, which is shown.
            check_line(message(self.error), &[]);
            ffi::rts3_error_free(self.error);
        }
        status == rts3_status::RTS3_OK
    }
}

unsafe fn message<'a>(error: *const rts3_error) -> &'a str {
    let text = CStr::from_ptr(ffi::rts3_error_message(error));
    text.to_str().expect("messages are UTF-8")
}

unsafe fn take_text(text: *mut c_char) {
    assert!(!text.is_null());
    let line = CStr::from_ptr(text).to_str().expect("texts are UTF-8");
    check_line(line, &[]);
    ffi::rts3_free(text.cast());
}

unsafe extern "C" fn reserve(context: *mut c_void, size: usize) -> *mut u8 {
    let room = &mut *context.cast::<Vec<u8>>();
    if size > 4096 {
        return ptr::null_mut();
    }
    room.resize(size, 0);
    room.as_mut_ptr()
}

unsafe fn call(input: &mut Input<'_>, handles: &mut Vec<*mut rts3_handle>) {
    let function = input.byte() % 16;
    let mut trouble = Trouble::new(input);
    let error = trouble.target();
    if function < 3 {
        let (status, handle) = open(input, error);
        if trouble.check(status) {
            assert!(!handle.is_null());
            handles.push(handle);
        }
        return;
    }
    let handle = input.handle(handles);
    let wanted = input.byte();
    // Whether this output has room, or is NULL.
    let has = |bit: u8| wanted & (1 << bit) == 0;
    let deadline = u64::from(wanted >> 4);
    match function {
        3 => {
            let status = ffi::rts3_close(handle, error);
            trouble.check(status);
        }
        4 | 5 => {
            let (key, content, kind) = (input.optional(), input.bytes(), input.optional());
            let key = match function {
                4 => key,
                _ => Some(CString::new(rts3::key::Key::of(content).hex()).expect("no NUL")),
            };
            let (content, size) = match has(0) {
                true => (content.as_ptr(), content.len()),
                false => (ptr::null(), content.len()),
            };
            let status = ffi::rts3_store(
                handle,
                pointer(&key),
                content,
                size,
                pointer(&kind),
                deadline,
                error,
            );
            assert!(!trouble.check(status), "nobody was there to store it");
        }
        6 => {
            let key = input.optional();
            let mut room: Vec<u8> = Vec::new();
            let mut data: *mut u8 = ptr::dangling_mut();
            let mut size = usize::MAX;
            let status = ffi::rts3_get(
                handle,
                pointer(&key),
                deadline,
                if has(0) { Some(reserve) } else { None },
                ptr::from_mut(&mut room).cast(),
                if has(1) { &mut data } else { ptr::null_mut() },
                if has(2) { &mut size } else { ptr::null_mut() },
                error,
            );
            assert!(!trouble.check(status), "nobody was there to read from");
            assert_eq!((data, size), (ptr::dangling_mut(), usize::MAX));
        }
        7 => {
            let key = input.optional();
            let status = ffi::rts3_delete(handle, pointer(&key), deadline, error);
            assert!(!trouble.check(status));
        }
        8 => {
            let key = input.optional();
            let (mut size, mut sum) = (u64::MAX, ptr::dangling_mut::<c_char>());
            let status = ffi::rts3_head(
                handle,
                pointer(&key),
                deadline,
                if has(0) { &mut size } else { ptr::null_mut() },
                if has(1) { &mut sum } else { ptr::null_mut() },
                error,
            );
            assert!(!trouble.check(status));
            assert_eq!((size, sum), (u64::MAX, ptr::dangling_mut()));
        }
        9 => {
            let status = ffi::rts3_create_bucket(handle, deadline, error);
            assert!(!trouble.check(status));
        }
        10 => {
            let mut source = ptr::null_mut();
            let target = if has(0) { &mut source } else { ptr::null_mut() };
            let status = ffi::rts3_probe(handle, deadline, target, error);
            assert!(!trouble.check(status) && source.is_null());
        }
        11 => {
            let mut proven = 7;
            let target = if has(0) { &mut proven } else { ptr::null_mut() };
            let status = ffi::rts3_proven(handle, target, error);
            let done = trouble.check(status);
            assert_eq!(proven, if done { 0 } else { 7 });
        }
        12 => {
            let status = ffi::rts3_fail_fast(handle, i32::from(wanted) - 8, error);
            trouble.check(status);
        }
        13 => direct_url(input, handle, has(0), trouble),
        14 => {
            let content = input.bytes();
            let mut hex = [c_char::MAX; 65];
            let status = ffi::rts3_sha256(
                if has(0) { content.as_ptr() } else { ptr::null() },
                content.len(),
                if has(1) { hex.as_mut_ptr() } else { ptr::null_mut() },
                error,
            );
            if trouble.check(status) {
                let hex = CStr::from_ptr(hex.as_ptr()).to_str().expect("digits");
                assert_eq!(hex, rts3::key::Key::of(content).hex());
            }
        }
        _ => {
            let (mut level, mut text) = (9, ptr::null_mut());
            let status = ffi::rts3_next_message(
                handle,
                if has(0) { &mut level } else { ptr::null_mut() },
                if has(1) { &mut text } else { ptr::null_mut() },
                error,
            );
            if trouble.check(status) && !text.is_null() {
                assert!((1..=3).contains(&level));
                take_text(text);
            }
            let name = CStr::from_ptr(ffi::rts3_status_name(u32::from(wanted)));
            assert!(!name.is_empty() && !CStr::from_ptr(ffi::rts3_version()).is_empty());
            ffi::rts3_free(ptr::null_mut());
            ffi::rts3_error_free(ptr::null_mut());
            assert_eq!(message(ptr::null()), "");
        }
    }
}

unsafe fn direct_url(input: &mut Input<'_>, handle: *mut rts3_handle, wanted: bool, mut trouble: Trouble) {
    let texts = [
        input.optional(),
        input.optional(),
        input.optional(),
        input.optional(),
    ];
    let mut url = ptr::null_mut();
    let target = if wanted { &mut url } else { ptr::null_mut() };
    let status = ffi::rts3_direct_url(
        handle,
        pointer(&texts[0]),
        pointer(&texts[1]),
        pointer(&texts[2]),
        pointer(&texts[3]),
        target,
        trouble.target(),
    );
    if trouble.check(status) {
        take_text(url);
    }
}

unsafe fn open(input: &mut Input<'_>, error: *mut *mut rts3_error) -> (rts3_status, *mut rts3_handle) {
    let mut given: Vec<(Option<CString>, Option<CString>)> = FIXED
        .iter()
        .map(|(name, value)| (Some((*name).to_owned()), Some((*value).to_owned())))
        .collect();
    for _ in 0..input.byte() % 6 {
        let name = match input.byte() {
            255 => None,
            number => match NAMES.get(usize::from(number)) {
                Some(name) => Some((*name).to_owned()),
                None => Some(input.text()),
            },
        };
        let is_fixed = name.as_ref().is_some_and(|name| {
            FIXED.iter().any(|(fixed, _)| name.as_c_str() == *fixed) || name.as_c_str() == c"CAFile"
        });
        let value = input.optional();
        if !is_fixed {
            given.push((name, value));
        }
    }
    if input.byte() % 8 != 0 {
        given.push((Some(c"Bucket".to_owned()), Some(c"files".to_owned())));
    }
    let pointers: Vec<*const c_char> = given
        .iter()
        .flat_map(|(name, value)| [pointer(name), pointer(value)])
        .collect();
    let (options, target) = (input.byte(), input.byte());
    let mut handle = ptr::null_mut();
    let status = ffi::rts3_open(
        if options == 255 {
            ptr::null()
        } else {
            pointers.as_ptr()
        },
        given.len(),
        if target == 255 {
            ptr::null_mut()
        } else {
            &mut handle
        },
        error,
    );
    (status, handle)
}
