//! Copies of contents on this machine, for reading without the network.
//!
//! One directory for each user, bounded in bytes over all processes of that user. A copy is named after
//! its content, so it can't be out of date; it is believed only when its digest is that name. Nothing in
//! here can fail a call: where there is trouble, there is no copy.

mod account;
mod directory;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use crate::config::CacheOptions;
use crate::error::quoted;
use crate::key::{Hasher, Key};
use crate::log::{Level, Log};
use crate::process::Page;
use crate::s3::Output;

use account::Account;
use directory::{Directory, Reading, Trouble};

/// A content that takes more than this part of the cache is not kept: it would drive out all others.
const LARGEST_PART: u64 = 4;
/// How much is read, hashed and handed over at once; it stays in the processor's cache meanwhile.
const CHUNK: usize = 128 * 1024;
/// The same trouble is told once in this time.
const TOLD_EVERY: Duration = Duration::from_secs(600);

pub(crate) struct Cache {
    options: CacheOptions,
    page: &'static Page,
    log: Arc<Log>,
}

impl Cache {
    pub fn new(options: CacheOptions, page: &'static Page, log: Arc<Log>) -> Self {
        Cache { options, page, log }
    }

    /// Reads the copy of a content, whose digest is that of the key. None: there is none. What `output` holds then means
    /// nothing.
    pub fn get(&self, key: &Key, output: &mut dyn Output) -> Option<u64> {
        let found = self.read(key, output);
        let counter = match found {
            Some(_) => &self.page.cache_hits,
            None => &self.page.cache_misses,
        };
        counter.fetch_add(1, Relaxed);
        found
    }

    fn read(&self, key: &Key, output: &mut dyn Output) -> Option<u64> {
        let directory = self.said(Directory::open(&self.options.directory))??;
        let mut copy = self.said(directory.read(key))??;
        match self.said(take(&mut copy, output))? {
            Taken::Whole(found) if found == *key => {
                copy.touch();
                Some(copy.size())
            }
            Taken::Whole(_) => {
                self.tell(&format!("the local copy of {key} is damaged: it is dropped"));
                self.drop_copy(&directory, key);
                None
            }
            Taken::NoRoom => None,
        }
    }

    /// Keeps a copy. `content` is that of the key.
    pub fn put(&self, key: &Key, content: &[u8]) {
        let size = content.len() as u64;
        if size > self.options.size / LARGEST_PART {
            return;
        }
        let _ = self.said(self.write(key, content));
    }

    fn write(&self, key: &Key, content: &[u8]) -> Result<(), Trouble> {
        let directory = Directory::make(&self.options.directory)?;
        let size = content.len() as u64;
        if directory.has(key, size) {
            return Ok(());
        }
        // Where others are at the account, or there is no room: without this copy.
        let admitted = Account::with(&directory, |account| account.admit(size, self.options.size))?;
        let Some(Some(copy)) = admitted else {
            return Ok(());
        };
        directory.name(copy.fill(content)?, key)
    }

    /// The content is not to be kept any more.
    pub fn remove(&self, key: &Key) {
        if let Some(Some(directory)) = self.said(Directory::open(&self.options.directory)) {
            self.drop_copy(&directory, key);
        }
    }

    fn drop_copy(&self, directory: &Directory, key: &Key) {
        let given_back = directory.remove(key).and_then(|size| match size {
            Some(size) => Account::with(directory, |account| account.give_back(size)).map(drop),
            None => Ok(()),
        });
        let _ = self.said(given_back);
    }

    /// Where it is, how large it may be and is, and how often it helped; in lines of `name: value`.
    pub fn describe(&self) -> String {
        let bytes = self
            .said(Directory::open(&self.options.directory))
            .flatten()
            .and_then(|directory| account::bytes(&directory));
        format!(
            "directory: {}\nlimit: {}\nbytes: {}\nhits: {}\nmisses: {}\n",
            directory::path_of_user(&self.options.directory).display(),
            self.options.size,
            bytes.map_or("0".to_owned(), |bytes| bytes.to_string()),
            self.page.cache_hits.load(Relaxed),
            self.page.cache_misses.load(Relaxed),
        )
    }

    /// Tells trouble, now and then.
    fn said<T>(&self, result: Result<T, Trouble>) -> Option<T> {
        result.map_err(|trouble| self.tell(&trouble.to_string())).ok()
    }

    fn tell(&self, text: &str) {
        let now = self.page.now();
        let told = self.page.cache_told.load(Relaxed);
        let is_due = told == 0 || now.saturating_sub(told) > TOLD_EVERY.as_millis() as u64;
        if is_due
            && self
                .page
                .cache_told
                .compare_exchange(told, now, Relaxed, Relaxed)
                .is_ok()
        {
            let dir = quoted(&self.options.directory.to_string_lossy());
            self.log
                .tell(Level::Warning, format!("option CacheDir, {dir}: {text}"));
        }
    }
}

enum Taken {
    /// All of it, with this digest.
    Whole(Key),
    NoRoom,
}

fn take(copy: &mut Reading, output: &mut dyn Output) -> Result<Taken, Trouble> {
    let mut hasher = Hasher::default();
    let Ok(size) = usize::try_from(copy.size()) else {
        return Ok(Taken::NoRoom);
    };
    if size > 0 && !output.reserve(size) {
        return Ok(Taken::NoRoom);
    }
    let mut buffer = vec![0; CHUNK.min(size.max(1))];
    let mut offset = 0;
    loop {
        let read = copy.read(&mut buffer)?;
        // One that grows is not what it was: its digest will tell.
        let read = read.min(size - offset);
        if read == 0 {
            return Ok(Taken::Whole(hasher.finish()));
        }
        hasher.update(&buffer[..read]);
        output.write(offset, &buffer[..read]);
        offset += read;
    }
}

#[cfg(test)]
mod tests;
