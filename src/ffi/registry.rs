//! What was handed out as an opaque pointer: recognised at every use.
//!
//! A list that only grows, and that no lock guards: a fork at any moment leaves it whole in the child.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// All that was handed out of one kind.
pub(super) struct Registry<T: 'static> {
    first: AtomicPtr<Entry<T>>,
}

struct Entry<T> {
    value: T,
    next: *const Entry<T>,
}

impl<T> Registry<T> {
    pub(super) const fn new() -> Self {
        Registry {
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// What `pointer` points to, if it is one of ours: it is compared, and never followed before.
    pub(super) fn find(&self, pointer: *const T) -> Option<&'static T> {
        entries(self.first.load(Ordering::Acquire)).find(|value| ptr::eq(*value, pointer))
    }

    /// Adds a value, if there is none of which `is_same` is true; that one is returned then.
    pub(super) fn add(&self, value: T, is_same: impl Fn(&T) -> bool) -> &'static T {
        let mut first = self.first.load(Ordering::Acquire);
        let mut new = Box::new(Entry {
            value,
            next: ptr::null(),
        });
        loop {
            if let Some(same) = entries(first).find(|value| is_same(value)) {
                return same;
            }
            new.next = first;
            let pointer = Box::into_raw(new);
            match self
                .first
                .compare_exchange(first, pointer, Ordering::AcqRel, Ordering::Acquire)
            {
                // SAFETY: from now on it is never freed, and never changed but by itself.
                Ok(_) => return unsafe { &(*pointer).value },
                Err(other) => {
                    first = other;
                    // SAFETY: it was not put into the list, so it is still ours alone.
                    new = unsafe { Box::from_raw(pointer) };
                }
            }
        }
    }

    /// The first value of which `is_it` is true.
    pub(super) fn search(&self, is_it: impl Fn(&T) -> bool) -> Option<&'static T> {
        entries(self.first.load(Ordering::Acquire)).find(|value| is_it(value))
    }
}

fn entries<T: 'static>(first: *const Entry<T>) -> impl Iterator<Item = &'static T> {
    let mut next = first;
    std::iter::from_fn(move || {
        // SAFETY: what is in the list came from Box::into_raw, and is never freed.
        let entry = unsafe { next.as_ref() }?;
        next = entry.next;
        Some(&entry.value)
    })
}
