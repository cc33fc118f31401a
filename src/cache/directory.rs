//! The directory of one user, and the files in it.

use std::fs::{DirBuilder, File, FileTimes, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use std::{fmt, fs};

use crate::key::{hex, Key};
use crate::process::user;

/// Copies on their way are in a directory of their own; the others are in one of 256.
const UNFINISHED: &str = "unfinished";
/// One that nobody can be at work on any more.
const ABANDONED: Duration = Duration::from_secs(3600);
/// A copy that is read often is marked as used only this often.
const TOUCHED_EVERY: Duration = Duration::from_secs(1);
/// Whoever may write into a directory may put another one in the place of ours, but for this bit.
const WRITABLE_BY_OTHERS: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// What is wrong, in words.
#[derive(Debug)]
pub(super) struct Trouble(String);

impl Trouble {
    pub fn new(what: &str, error: io::Error) -> Self {
        Trouble(format!("{what}: {error}"))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// It was seen to belong to this process's user, and to be closed to others.
pub(super) struct Directory(PathBuf);

/// Where the copies of this process's user are.
pub(super) fn path_of_user(parent: &Path) -> PathBuf {
    parent.join(user().to_string())
}

impl Directory {
    /// None: there is none yet.
    pub fn open(parent: &Path) -> Result<Option<Self>, Trouble> {
        let path = path_of_user(parent);
        let failed = |error| Trouble::new(&format!("{} can't be looked at", path.display()), error);
        let Some(about) = found(fs::symlink_metadata(&path)).map_err(failed)? else {
            return Ok(None);
        };
        let what = if !about.is_dir() {
            "is no directory".to_owned()
        } else if about.uid() != user() {
            format!("belongs to the user {}", about.uid())
        } else if about.mode() & 0o077 != 0 {
            format!("is open to others (mode {:o}, not 700)", about.mode() & 0o7777)
        } else {
            check_parent(parent)?;
            return Ok(Some(Directory(path)));
        };
        Err(Trouble(format!("{} {what}: it is not used", path.display())))
    }

    /// Makes it where there is none. The one above must be there.
    pub fn make(parent: &Path) -> Result<Self, Trouble> {
        if let Some(directory) = Directory::open(parent)? {
            return Ok(directory);
        }
        let path = path_of_user(parent);
        let failed = |error| Trouble::new(&format!("{} can't be made", path.display()), error);
        make(&path).map_err(failed)?;
        Directory::open(parent)?.ok_or_else(|| failed(ErrorKind::NotFound.into()))
    }

    /// A file beside the copies.
    pub fn file(&self, name: &str, make: bool) -> Result<Option<File>, Trouble> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(make).mode(0o600);
        options.custom_flags(libc::O_NOFOLLOW);
        found(options.open(self.0.join(name)))
            .map_err(|error| Trouble::new(&format!("{name} can't be opened"), error))
    }

    /// Whether there is a copy of this size.
    pub fn has(&self, key: &Key, size: u64) -> bool {
        fs::symlink_metadata(self.place(key)).is_ok_and(|about| about.len() == size)
    }

    /// None: there is no copy.
    pub fn read(&self, key: &Key) -> Result<Option<Reading>, Trouble> {
        let failed = |error| Trouble::new(&format!("the copy of {key} can't be read"), error);
        let mut options = OpenOptions::new();
        options
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Some(file) = found(options.open(self.place(key))).map_err(failed)? else {
            return Ok(None);
        };
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(failed(io::Error::other("it is no file")));
        }
        Ok(Some(Reading {
            file,
            size: about.len(),
            used: used(&about),
        }))
    }

    /// Removes the copy. Returns its size, where there was one.
    pub fn remove(&self, key: &Key) -> Result<Option<u64>, Trouble> {
        let place = self.place(key);
        let Ok(about) = fs::symlink_metadata(&place) else {
            return Ok(None);
        };
        Ok(unlink(&place)?.then_some(about.len()))
    }

    /// A copy of `size` bytes that has no name yet. It takes its place at once.
    pub fn create(&self, size: u64) -> Result<Writing, Trouble> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let failed = |error| Trouble::new("a copy can't be made", error);
        let directory = self.0.join(UNFINISHED);
        make(&directory).map_err(failed)?;
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let unique = format!(
            "{}-{}-{}",
            std::process::id(),
            moment.unwrap_or_default().as_nanos(),
            NUMBER.fetch_add(1, Relaxed)
        );
        let place = directory.join(unique);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let writing = Writing {
            file: options.open(&place).map_err(failed)?,
            place: Some(place),
        };
        writing.file.set_len(size).map_err(failed)?;
        Ok(writing)
    }

    /// All copies, and those on their way that are not abandoned.
    pub fn copies(&self) -> Result<Vec<Found>, Trouble> {
        let failed = |error| Trouble::new("the copies can't be counted", error);
        let mut copies = Vec::new();
        for below in fs::read_dir(&self.0).map_err(failed)? {
            let below = below.map_err(failed)?;
            if !below.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let is_unfinished = below.file_name() == UNFINISHED;
            for file in fs::read_dir(below.path()).map_err(failed)? {
                let file = file.map_err(failed)?;
                // Others may have removed it meanwhile.
                let Ok(about) = file.metadata() else {
                    continue;
                };
                let used = used(&about);
                if is_unfinished && used.elapsed().is_ok_and(|age| age > ABANDONED) {
                    unlink(&file.path())?;
                    continue;
                }
                copies.push(Found {
                    place: file.path(),
                    size: about.len(),
                    used,
                });
            }
        }
        Ok(copies)
    }

    fn place(&self, key: &Key) -> PathBuf {
        let (first, rest) = key.as_bytes().split_at(1);
        self.0.join(hex(first)).join(hex(rest))
    }

    /// From now on it is the copy of this content.
    pub fn name(&self, mut writing: Writing, key: &Key) -> Result<(), Trouble> {
        let failed = |error| Trouble::new("a copy can't be named", error);
        let place = self.place(key);
        if let Some(directory) = place.parent() {
            make(directory).map_err(failed)?;
        }
        if let Some(from) = &writing.place {
            fs::rename(from, place).map_err(failed)?;
        }
        writing.place = None;
        Ok(())
    }
}

fn check_parent(parent: &Path) -> Result<(), Trouble> {
    let about = fs::metadata(parent)
        .map_err(|error| Trouble::new(&format!("{} can't be looked at", parent.display()), error))?;
    if about.mode() & WRITABLE_BY_OTHERS == 0 || about.mode() & STICKY != 0 {
        return Ok(());
    }
    Err(Trouble(format!(
        "others may write into it (mode {:o}): it is not used; make it 755, or 1777 for several users",
        about.mode() & 0o7777
    )))
}

/// A copy, or one on its way.
pub(super) struct Found {
    place: PathBuf,
    pub size: u64,
    /// When it was used last.
    pub used: SystemTime,
}

impl Found {
    pub fn remove(&self) -> Result<(), Trouble> {
        unlink(&self.place).map(drop)
    }
}

/// A copy that is read.
pub(super) struct Reading {
    file: File,
    size: u64,
    used: SystemTime,
}

impl Reading {
    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Trouble> {
        loop {
            match self.file.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(|error| Trouble::new("a copy can't be read", error)),
            }
        }
    }

    /// It was of use: it stays longer than others.
    pub fn touch(&self) {
        let now = SystemTime::now();
        if self.used + TOUCHED_EVERY <= now {
            // Where it fails, the copy goes sooner.
            let _ = self.file.set_times(FileTimes::new().set_modified(now));
        }
    }
}

/// A copy on its way; gone when it is dropped without a name.
#[derive(Debug)]
pub(super) struct Writing {
    file: File,
    place: Option<PathBuf>,
}

impl Writing {
    pub fn fill(mut self, content: &[u8]) -> Result<Self, Trouble> {
        self.file
            .write_all(content)
            .map_err(|error| Trouble::new("a copy can't be written", error))?;
        Ok(self)
    }
}

/// What it took stays counted until room is made next.
impl Drop for Writing {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _ = unlink(place);
        }
    }
}

fn used(about: &Metadata) -> SystemTime {
    about.modified().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// True: it is gone by this. False: it was gone.
fn unlink(place: &Path) -> Result<bool, Trouble> {
    match found(fs::remove_file(place)) {
        Ok(gone) => Ok(gone.is_some()),
        Err(error) => Err(Trouble::new("a copy can't be removed", error)),
    }
}

/// One that is there already is no error.
fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// What is not there is no error.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
