//! No Debug output and no panic's message shows a secret.

use std::fmt::Debug;
use std::panic::{catch_unwind, AssertUnwindSafe};

use rts3::config::{Config, Credentials, Keys, Mistake, Proxy, Secret};
use rts3::error::Code;
use rts3::store::Store;

const ID: &str = "AKIDSEARCHEDFOR";
const SECRET: &str = "wJalrXUtn/FEMI+K7MDENGbPxRfiCYzExaMpLe12";
const TOKEN: &str = "FwoGZXIvYXdzEJr//wEaDTokenOfASession==";
const PASSWORD: &str = "pr0xyPa55w0rd";

/// Where a secret, or ten characters of one, stands in `text`.
fn leak(text: &str) -> Option<String> {
    let basic = base64::encode(format!("user:{PASSWORD}"));
    [SECRET, TOKEN, PASSWORD, &basic]
        .iter()
        .flat_map(|secret| secret.as_bytes().windows(10))
        .map(|piece| String::from_utf8_lossy(piece).into_owned())
        .find(|piece| text.contains(piece))
}

/// All that can be printed of a value.
fn printed(value: &impl Debug) -> String {
    format!("{value:?}\n{value:#?}\n{:?}", Some([value]))
}

fn options() -> Vec<(&'static str, &'static str)> {
    vec![
        ("Bucket", "files"),
        ("AccessKeyId", ID),
        ("SecretAccessKey", SECRET),
        ("SessionToken", TOKEN),
        ("Proxy", "http://user:pr0xyPa55w0rd@proxy"),
    ]
}

fn parsed(more: &[(&'static str, &'static str)]) -> (Config, Vec<Mistake>) {
    let given = options()
        .into_iter()
        .filter(|(name, _)| more.iter().all(|(other, _)| other != name));
    Config::parse_in(given.chain(more.iter().copied()), |_| None).unwrap()
}

fn keys_of(config: &Config) -> &Keys {
    match &config.credentials {
        Credentials::Given(keys) => keys,
        Credentials::Sought { .. } => panic!("no keys"),
    }
}

#[test]
fn the_search_finds_what_is_there() {
    let (config, _) = parsed(&[]);
    assert!(printed(&config).contains(ID), "an id is no secret, and shown");
    for secret in [SECRET, TOKEN, PASSWORD] {
        assert!(leak(&printed(&secret)).is_some());
        assert!(leak(&secret[1..12]).is_some());
    }
    assert_eq!(leak(ID), None);
}

#[test]
fn debug_output_is_masked() {
    let (config, mistakes) = parsed(&[]);
    assert!(mistakes.is_empty(), "{mistakes:?}");
    let keys = keys_of(&config);
    let proxy: &Proxy = config.proxy.as_ref().unwrap();
    let secret: &Secret = &keys.secret_access_key;
    assert_eq!(secret.reveal(), SECRET);
    for text in [
        printed(&config),
        printed(keys),
        printed(&keys.clone()),
        printed(proxy),
        printed(&proxy.authorization),
        printed(secret),
        printed(&config.endpoint),
        printed(&config.written),
    ] {
        assert_eq!(leak(&text), None, "{text}");
    }
    assert!(printed(keys).contains("***"));
}

#[test]
fn mistakes_and_errors_are_masked() {
    for name in rts3::config::names().filter(|name| !["Type", "AccessKeyId", "Prefix"].contains(name)) {
        for value in [SECRET, TOKEN] {
            let given = options()
                .into_iter()
                .filter(|(other, _)| *other != name || name.starts_with("Se"));
            match Config::parse_in(given.chain([(name, value)]), |_| None) {
                Ok((config, mistakes)) => {
                    assert_eq!(leak(&printed(&mistakes)), None, "{name}: {mistakes:?}");
                    let refused = config.check_writable().map_err(|error| printed(&error));
                    assert_eq!(leak(&printed(&refused)), None, "{name}: {refused:?}");
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::Config);
                    assert_eq!(leak(&printed(&error)), None, "{name}: {error:?}");
                    assert_eq!(leak(&error.to_string()), None, "{name}: {error}");
                }
            }
        }
    }
}

#[test]
fn messages_of_a_store_are_masked() {
    let (config, mistakes) = parsed(&[("Region", SECRET), ("CAFile", TOKEN), ("Checksum", SECRET)]);
    let store = Store::new(config, mistakes);
    let mut count = 0;
    while let Some(message) = store.next_message() {
        assert_eq!(leak(&printed(&message)), None, "{message:?}");
        count += 1;
    }
    assert_eq!(count, 3, "a message for each mistake");
}

/// A failure with keys in it.
fn refused(keys: &Keys) -> Result<(), Keys> {
    Err(keys.clone())
}

#[test]
fn panics_are_masked() {
    let (config, _) = parsed(&[]);
    let keys = keys_of(&config);
    let panics: [&dyn Fn(); 4] = [
        &|| refused(keys).unwrap(),
        &|| assert_eq!(keys.secret_access_key, Secret::new("another")),
        &|| assert_eq!(config.proxy, None),
        &|| panic!("{config:?}"),
    ];
    for panics in panics {
        let panic = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        let text = panic.downcast_ref::<String>().expect("a text");
        assert_eq!(leak(text), None, "{text}");
        assert!(text.contains("***"), "{text}");
    }
}
