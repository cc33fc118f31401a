//! include/rts3.h is what cbindgen makes of src/ffi, and names every option.

use std::path::Path;
use std::{env, fs};

fn generated() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("include/cbindgen.toml")).unwrap();
    let mut text = Vec::new();
    cbindgen::generate_with_config(root, config)
        .unwrap()
        .write(&mut text);
    // A C programmer reads the safety rules as text.
    String::from_utf8(text)
        .unwrap()
        .replace(" * # Safety\n", " * Safety:\n")
}

#[test]
fn the_header_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/rts3.h");
    let generated = generated();
    if env::var_os("RTS3_WRITE_HEADER").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap();
    assert!(found == generated, "include/rts3.h is stale: run script/header");
}

#[test]
fn the_header_names_every_option_and_its_default() {
    let header = generated();
    let (_, list) = header.split_once(" * Options. ").unwrap();
    for option in rts3::config::OPTIONS {
        let after = list.lines().find_map(|line| line.split_once(option.name));
        let (_, after) = after.unwrap_or_else(|| panic!("{}", option.name));
        let expected = format!("[{}", option.default);
        assert!(
            option.default.is_empty() || after.contains(&expected),
            "{}: {expected}",
            option.name
        );
    }
}
