//! Local copies: what is read without asking the server, and what never is.

use super::*;

fn directory(name: &str) -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("rts3-copies-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    path
}

#[test]
fn what_was_read_or_stored_is_read_without_the_server() {
    let path = directory("read");
    let server = Server::with(|_: &Seen, _: &mut State| None);
    let store = open(&server, &[("CacheDir", path.to_str().unwrap())]);
    let (stored, read) = (content(1000), content(2000));
    put(&store, &stored).unwrap();
    put(&open(&server, &[]), &read).unwrap();
    assert!(get(&store, &read.0).unwrap() == read.1);
    let asked = server.methods().len();
    assert!(get(&store, &read.0).unwrap() == read.1);
    assert!(get(&store, &stored.0).unwrap() == stored.1);
    assert_eq!(server.methods().len(), asked, "the server was asked");

    // Neither what is stored nor what is looked for is believed to be there because of a copy.
    server.state().objects.clear();
    assert_eq!(store.head(&stored.0, None).unwrap_err().code(), Code::NotFound);
    put(&store, &stored).unwrap();
    assert_stored(&server, &stored);

    assert!(store
        .inspect("cache", None)
        .unwrap()
        .contains("hits: 2\nmisses: 1\n"));
    store.delete(&stored.0, None).unwrap();
    assert_eq!(get(&store, &stored.0).unwrap_err().code(), Code::NotFound);
    assert_eq!(store.inspect("failures", None).unwrap(), "not-found: 2\n");
    assert_eq!(open(&server, &[]).inspect("cache", None).unwrap(), "");
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_server_that_is_down_is_not_needed() {
    let path = directory("down");
    let server = Server::with(|_: &Seen, _: &mut State| None);
    let host = server.host.clone();
    let given = [("CacheDir", path.to_str().unwrap())];
    let object = content(50_000);
    put(&open(&server, &given), &object).unwrap();
    drop(server);
    let fixed = [
        ("Bucket", "files"),
        ("Host", host.as_str()),
        ("AccessKeyId", "ID"),
        ("SecretAccessKey", "TOPSECRET"),
        ("Retries", "0"),
        given[0],
    ];
    let (config, mistakes) = Config::parse(fixed).unwrap();
    let store = Store::new(config, mistakes);
    assert!(get(&store, &object.0).unwrap() == object.1);

    // Whose time is over is given copies, and asks nobody.
    let moment = Some(Duration::from_millis(1));
    assert!(store.get(&object.0, &mut Vec::new(), moment).is_ok());
    let error = store.get(&content(7).0, &mut Vec::new(), moment).unwrap_err();
    assert_eq!(error.code(), Code::Timeout, "{error}");
    assert!(error.message().contains("there is no time to ask"), "{error}");
    std::fs::remove_dir_all(path).unwrap();
}
