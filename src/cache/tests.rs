//! Each test has a directory of its own, and looks at the files in it.

use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::*;
use crate::config::Mask;

const MIB: u64 = 1 << 20;

struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let moment = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let unique = format!("rts3-{name}-{}-{}", std::process::id(), moment.as_nanos());
        let path = std::env::temp_dir().join(unique);
        fs::create_dir(&path).unwrap();
        Place(path)
    }

    fn cache(&self) -> Cache {
        let options = CacheOptions {
            directory: self.0.clone(),
            size: MIB,
        };
        Cache::new(options, Page::map(), Arc::new(Log::new(Mask::default())))
    }

    fn users(&self) -> PathBuf {
        directory::path_of_user(&self.0)
    }

    /// All copies, with their sizes.
    fn copies(&self) -> Vec<(PathBuf, u64)> {
        let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        below(&self.users())
            .filter(|entry| entry.path().is_dir())
            .flat_map(|entry| below(&entry.path()).collect::<Vec<_>>())
            .map(|entry| (entry.path(), entry.metadata().unwrap().len()))
            .collect()
    }

    fn bytes(&self) -> u64 {
        self.copies().iter().map(|(_, size)| size).sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn content(number: u32, size: usize) -> (Key, Vec<u8>) {
    let content: Vec<u8> = number.to_le_bytes().into_iter().cycle().take(size).collect();
    (Key::of(&content), content)
}

fn read(cache: &Cache, key: &Key) -> Option<Vec<u8>> {
    let mut output = Vec::new();
    let size = cache.get(key, &mut output)?;
    output.truncate(size as usize);
    Some(output)
}

fn told(cache: &Cache) -> Vec<String> {
    std::iter::from_fn(|| cache.log.next())
        .map(|message| message.text)
        .collect()
}

/// As if it had been used so long ago.
fn age(cache: &Cache, key: &Key, seconds: u64) {
    let path = path_of(&cache.options.directory, key);
    let file = fs::File::options().write(true).open(path).unwrap();
    let then = SystemTime::now() - Duration::from_secs(seconds);
    file.set_modified(then).unwrap();
}

fn path_of(parent: &Path, key: &Key) -> PathBuf {
    let hex = key.hex();
    directory::path_of_user(parent).join(&hex[..2]).join(&hex[2..])
}

#[test]
fn what_was_put_is_read() {
    let place = Place::new("read");
    let cache = place.cache();
    for size in [0, 1, 10_000, CHUNK, CHUNK + 1, 250_000] {
        let (key, content) = content(7, size);
        assert_eq!(read(&cache, &key), None);
        cache.put(&key, &content);
        assert!(read(&cache, &key) == Some(content), "{size}");
    }
    assert_eq!(told(&cache), [""; 0]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.users()), 0o700);
    assert!(place.copies().iter().all(|(path, _)| mode(path) == 0o600));
    let description = cache.describe();
    assert!(description.contains("hits: 6\nmisses: 6\n"), "{description}");
    assert!(description.contains(&format!("bytes: {}\n", place.bytes())));
}

#[test]
fn a_damaged_copy_is_dropped() {
    let place = Place::new("damaged");
    let cache = place.cache();
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes[5000] ^= 1,
        |bytes| bytes.truncate(5000),
        |bytes| bytes.push(0),
        |bytes| bytes.clear(),
    ];
    for damage in damages {
        let (key, content) = content(7, 10_000);
        cache.put(&key, &content);
        let path = path_of(&place.0, &key);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::write(&path, bytes).unwrap();
        assert_eq!(read(&cache, &key), None);
        assert!(!path.exists());
    }
    let told = told(&cache);
    assert_eq!(told.len(), 1, "once, not for each: {told:?}");
    assert!(told[0].contains("is damaged: it is dropped"), "{told:?}");
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let place = Place::new("oldest");
    let cache = place.cache();
    let objects: Vec<_> = (0..20).map(|number| content(number, 100_000)).collect();
    for (index, (key, content)) in objects.iter().enumerate().take(10) {
        cache.put(key, content);
        age(&cache, key, 1000 - index as u64);
    }
    assert_eq!(place.copies().len(), 10);
    // The oldest one is read: the second one is the oldest now.
    assert!(read(&cache, &objects[0].0).is_some());
    cache.put(&objects[10].0, &objects[10].1);
    let is_there = |index: usize| path_of(&place.0, &objects[index].0).exists();
    assert!(is_there(0) && !is_there(1) && !is_there(2) && is_there(3) && is_there(10));
    for (key, content) in &objects {
        cache.put(key, content);
        assert!(place.bytes() <= MIB);
    }
    assert!(place.copies().len() >= 8);
    assert_eq!(told(&cache), [""; 0]);
}

#[test]
fn one_content_does_not_drive_out_all_others() {
    let place = Place::new("large");
    let cache = place.cache();
    let (key, content) = content(1, MIB as usize / 4 + 1);
    cache.put(&key, &content);
    assert_eq!(place.copies(), []);
}

#[test]
fn a_lost_or_damaged_account_is_made_anew() {
    let place = Place::new("account");
    let cache = place.cache();
    for (index, account) in [
        None,
        Some(&b""[..]),
        Some(b"rts3-1\n\0\0"),
        Some(b"something else!!"),
    ]
    .into_iter()
    .enumerate()
    {
        let first = index as u32 * 100;
        for number in first..first + 8 {
            let (key, content) = content(number, 120_000);
            cache.put(&key, &content);
        }
        let path = place.users().join("account");
        match account {
            None => fs::remove_file(&path).unwrap(),
            Some(bytes) => fs::write(&path, bytes).unwrap(),
        }
        for number in first + 8..first + 20 {
            let (key, content) = content(number, 120_000);
            cache.put(&key, &content);
            assert!(place.bytes() <= MIB, "{account:?}");
        }
    }
}

#[test]
fn what_a_killed_process_left_is_counted_and_goes() {
    let place = Place::new("killed");
    let cache = place.cache();
    let (key, first) = content(1, 10);
    cache.put(&key, &first);
    let directory = Directory::make(&place.0).unwrap();
    for _ in 0..2 {
        let admitted = Account::with(&directory, |account| account.admit(200_000, MIB)).unwrap();
        std::mem::forget(admitted);
    }
    let unfinished: Vec<_> = place
        .copies()
        .into_iter()
        .filter(|(_, size)| *size == 200_000)
        .collect();
    let old = &unfinished[0].0;
    let file = fs::File::options().write(true).open(old).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(4000))
        .unwrap();
    for number in 2..12 {
        let (key, content) = content(number, 100_000);
        cache.put(&key, &content);
    }
    assert!(place.bytes() <= MIB, "{}", place.bytes());
    assert!(!old.exists());
}

#[test]
fn no_place_of_another_is_used() {
    type Case = (&'static str, fn(&Place), &'static str);
    let cases: [Case; 7] = [
        (
            "missing",
            |place| fs::remove_dir_all(&place.0).unwrap(),
            "can't be made",
        ),
        (
            "no directory",
            |place| fs::write(place.users(), "").unwrap(),
            "is no directory",
        ),
        (
            "a link",
            |place| {
                fs::create_dir(place.0.join("other")).unwrap();
                symlink("other", place.users()).unwrap();
            },
            "is no directory",
        ),
        (
            "open to others",
            |place| {
                fs::create_dir(place.users()).unwrap();
                fs::set_permissions(place.users(), fs::Permissions::from_mode(0o750)).unwrap();
            },
            "is open to others (mode 750, not 700)",
        ),
        (
            "another user's",
            |place| {
                fs::create_dir(place.users()).unwrap();
                fs::set_permissions(place.users(), fs::Permissions::from_mode(0o700)).unwrap();
                let _ = std::os::unix::fs::chown(place.users(), Some(user_of_others()), None);
            },
            "belongs to the user",
        ),
        (
            "anybody may write above",
            |place| fs::set_permissions(&place.0, fs::Permissions::from_mode(0o777)).unwrap(),
            "others may write into it (mode 777)",
        ),
        (
            "a file above",
            |place| {
                fs::remove_dir(&place.0).unwrap();
                fs::write(&place.0, "").unwrap();
            },
            "can't be looked at",
        ),
    ];
    for (name, prepare, expected) in cases {
        if name == "another user's" && crate::process::user() != 0 {
            continue;
        }
        let place = Place::new("place");
        prepare(&place);
        let cache = place.cache();
        let (key, content) = content(1, 1000);
        cache.put(&key, &content);
        cache.put(&key, &content);
        assert_eq!(read(&cache, &key), None, "{name}");
        let told = told(&cache);
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        assert!(
            expected.split('|').any(|text| told[0].contains(text)),
            "{name}: {told:?}"
        );
        assert_eq!(place.copies(), [], "{name}");
        let _ = fs::remove_file(&place.0);
    }
}

fn user_of_others() -> u32 {
    crate::process::user() + 1
}

#[test]
fn it_may_vanish_at_any_moment() {
    let place = Place::new("vanish");
    let cache = place.cache();
    let (key, content) = content(1, 1000);
    cache.put(&key, &content);
    fs::remove_dir_all(place.users()).unwrap();
    assert_eq!(read(&cache, &key), None);
    cache.remove(&key);
    cache.put(&key, &content);
    assert!(read(&cache, &key).is_some());
    assert_eq!(told(&cache), [""; 0]);
}

#[test]
fn what_is_removed_makes_room() {
    let place = Place::new("removed");
    let cache = place.cache();
    for number in 0..50 {
        let (key, content) = content(number, 200_000);
        cache.put(&key, &content);
        assert_eq!(place.copies().len(), 1, "{number}: nothing was driven out");
        cache.remove(&key);
        assert_eq!(place.copies(), []);
    }
    assert!(cache.describe().contains("bytes: 0\n"), "{}", cache.describe());
}

#[test]
fn whoever_holds_the_account_delays_nobody() {
    let place = Place::new("held");
    let cache = place.cache();
    let (key, content) = content(1, 1000);
    cache.put(&key, &content);
    let account = fs::File::open(place.users().join("account")).unwrap();
    assert!(crate::process::try_lock(&account));
    let (other, more) = super::tests::content(2, 1000);
    let start = std::time::Instant::now();
    cache.put(&other, &more);
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(read(&cache, &other), None);
    assert!(read(&cache, &key).is_some(), "reading needs no account");
    drop(account);
    cache.put(&other, &more);
    assert!(read(&cache, &other).is_some());
}
