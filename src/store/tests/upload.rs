//! Large contents: hashed while they are sent, and asked for first where that is worth it.

use super::*;

/// What Store believes of the way to the server: a round trip, and what sending 1 MB takes, in microseconds.
fn set_pace(store: &Store, round_trip: u64, per_megabyte: u64) {
    store.page.round_trip.store(round_trip, Relaxed);
    store.page.per_megabyte.store(per_megabyte, Relaxed);
}

#[test]
fn large_content_is_asked_for_first_where_sending_takes_long() {
    let (server, store) = scripted(vec![]);
    let object = content(ASK_ABOVE + 1);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    set_pace(&store, 1000, 100_000);
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), ["HEAD", IF_NEW, "HEAD", "GET"]);
    assert!(get(&store, &object.0).unwrap() == object.1);
}

#[test]
fn where_sending_is_quick_it_is_sent() {
    let (server, store) = scripted(vec![]);
    let object = content(ASK_ABOVE + 1);
    set_pace(&store, 30_000, 1);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    set_pace(&store, 30_000, 1);
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), [IF_NEW, IF_NEW, "GET"]);
}

#[test]
fn the_pace_is_learned() {
    let (_server, store) = scripted(vec![]);
    put(&store, &content(1000)).unwrap();
    assert!((1..1_000_000).contains(&store.page.round_trip.load(Relaxed)));
    assert_eq!(store.page.per_megabyte.load(Relaxed), 0);
    put(&store, &content(ASK_ABOVE + 1)).unwrap();
    assert!((1..10_000_000).contains(&store.page.per_megabyte.load(Relaxed)));
}

/// The server may have it already, and have refused what it was sent.
#[test]
fn before_it_is_sent_again_it_is_asked_for() {
    let object = content(ASK_ABOVE + 1);
    let broken = || Some(Vec::new());
    let (server, store) = scripted(vec![broken()]);
    set_pace(&store, 30_000, 1);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    // GET asks whether the server is down.
    assert_eq!(server.methods(), [IF_NEW, "GET", "HEAD", IF_NEW]);

    let (server, store) = scripted(vec![broken()]);
    server.state().objects.insert(path(&object.0), object.1.clone());
    set_pace(&store, 30_000, 1);
    put(&store, &object).unwrap();
    assert_eq!(server.methods(), [IF_NEW, "GET", "HEAD", "GET"]);

    let (server, store) = scripted(vec![broken(), None, None, broken()]);
    set_pace(&store, 30_000, 1);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
    assert_eq!(server.methods(), [IF_NEW, "GET", "HEAD", IF_NEW, IF_NEW], "once");
}

#[test]
fn content_that_is_not_its_key_is_not_stored() {
    for size in [1, 300_000, ASK_ABOVE + 1] {
        let (server, store) = scripted(vec![]);
        let (_, sent) = content(size);
        let failed = store.store(&Key::of(b"a"), &sent, None, None).unwrap_err();
        assert_eq!(failed.code(), Code::Mismatch, "{failed}");
        assert!(failed.message().contains("nothing was stored"), "{failed}");
        assert!(failed.message().contains(&Key::of(&sent).hex()), "{failed}");
        assert!(server.state().objects.is_empty(), "the last piece is kept back");
        let whole = server.methods();
        assert!(whole.iter().all(|method| method == "HEAD"), "{whole:?}");
        put(&store, &content(10)).unwrap();
        assert_eq!(warnings(&store), [""; 0], "the server is not down");
    }
}

/// What is there already must not make a wrong content pass for stored.
#[test]
fn content_that_is_not_its_key_is_no_duplicate() {
    let object = content(ASK_ABOVE + 1);
    let (server, store) = scripted(vec![]);
    server.state().objects.insert(path(&object.0), object.1.clone());
    let wrong = vec![7; ASK_ABOVE + 1];
    for per_megabyte in [1, 10_000_000] {
        set_pace(&store, 30_000, per_megabyte);
        let failed = store.store(&object.0, &wrong, None, None).unwrap_err();
        assert_eq!(failed.code(), Code::Mismatch, "{failed}");
        assert_stored(&server, &object);
    }
    assert_eq!(server.methods(), ["HEAD", "GET"]);
}

#[test]
fn no_right_to_ask_is_no_answer() {
    let object = content(ASK_ABOVE + 1);
    let (server, store) = scripted(vec![Some(
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n".to_vec(),
    )]);
    put(&store, &object).unwrap();
    assert_stored(&server, &object);
}
