//! A server that is down, or seems to be: paid for once.

use std::net::TcpListener;
use std::time::Instant;

use super::*;

/// A store in front of a port where nothing listens, until [`revive`] makes something.
fn dead(given: &[(&str, &str)]) -> (String, Store) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = format!("http://{address}");
    let store = open(
        &Server::start(),
        &[&[("Host", host.as_str())][..], given].concat(),
    );
    (address.to_string(), store)
}

/// Answers every request that there is no such object, from now on.
fn revive(address: &str) {
    let listener = TcpListener::bind(address).unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(&error(404, "NoSuchKey"));
        }
    });
}

#[test]
fn a_page_with_fifty_attachments_pays_for_an_outage_once() {
    let (_, store) = dead(&[]);
    store.set_fails_fast(true);
    let start = Instant::now();
    for number in 0..50u8 {
        let failed = get(&store, &Key::of(&[number])).unwrap_err();
        let code = if number == 0 {
            Code::Network
        } else {
            Code::Unavailable
        };
        assert_eq!(failed.code(), code, "{failed}");
        assert!(
            number == 0
                || failed
                    .message()
                    .contains("not asked, because the server was down (can't connect"),
            "{failed}"
        );
    }
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let warnings = warnings(&store);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_trial_that_fails_says_when_the_next_one_is() {
    let (_, store) = dead(&[("Retries", "0")]);
    store.set_fails_fast(true);
    for (code, says) in [
        (Code::Network, "can't connect"),
        (Code::Unavailable, "asked again in 10 s"),
    ] {
        let failed = get(&store, &Key::of(b"x")).unwrap_err();
        assert_eq!(failed.code(), code, "{failed}");
        assert!(failed.message().contains(says), "{failed}");
        store.page.open_until.store(1, Relaxed); // its time is over
    }
}

/// The first object gets no answer: a neutral one tells that it is the server.
#[test]
fn silence_costs_one_deadline() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", silent.local_addr().unwrap());
    let store = open(&Server::start(), &[("Host", &host), ("Deadline", "1.5")]);
    store.set_fails_fast(true);
    let start = Instant::now();
    assert_eq!(get(&store, &Key::of(b"0")).unwrap_err().code(), Code::Timeout);
    let first = start.elapsed();
    assert!(first < Duration::from_millis(1900), "{first:?}");
    for number in 1..50u8 {
        let failed = get(&store, &Key::of(&[number])).unwrap_err();
        assert_eq!(failed.code(), Code::Unavailable, "{failed}");
    }
    assert!(start.elapsed() - first < Duration::from_millis(100));
}

/// One object never gets an answer, the others do.
#[test]
fn one_sick_object_does_not_make_the_others_unreachable() {
    let (sick, healthy) = (Key::of(b"sick"), content(10));
    let server = Server::with(move |seen, _| {
        let is_sick = seen.target.contains(&sick.hex());
        is_sick.then(|| b"".to_vec())
    });
    server.state().objects.insert(path(&healthy.0), healthy.1.clone());
    let store = open(&server, &[("Retries", "1")]);
    store.set_fails_fast(true);
    for _ in 0..5 {
        assert_eq!(get(&store, &sick).unwrap_err().code(), Code::Network);
        assert!(get(&store, &healthy.0).unwrap() == healthy.1);
    }
    assert_eq!(warnings(&store), [""; 0]);
}

#[test]
fn three_failing_objects_in_a_row_are_an_outage() {
    let server = Server::with(|_, _| Some(error(500, "InternalError")));
    let store = open(&server, &[("Retries", "0")]);
    store.set_fails_fast(true);
    for (name, code) in [
        ("a", Code::Server),
        ("a", Code::Server),
        ("b", Code::Server),
        ("c", Code::Server),
        ("d", Code::Unavailable),
    ] {
        let failed = get(&store, &Key::of(name.as_bytes())).unwrap_err();
        assert_eq!(failed.code(), code, "{name} {failed}");
    }
    assert_eq!(server.methods().len(), 4);
}

/// With next to no time left, no server can answer: that says nothing about it.
#[test]
fn a_call_in_haste_does_not_call_the_server_down() {
    let server = Server::with(|_, _| {
        std::thread::sleep(Duration::from_millis(100));
        None
    });
    let store = open(&server, &[]);
    for number in 0..4u8 {
        let in_haste = Some(Duration::from_millis(20));
        let failed = store
            .get(&Key::of(&[number]), &mut Vec::new(), in_haste)
            .unwrap_err();
        assert_eq!(failed.code(), Code::Timeout, "{failed}");
    }
    assert_eq!(get(&store, &Key::of(b"x")).unwrap_err().code(), Code::NotFound);
    assert_eq!(warnings(&store), [""; 0]);
}

/// A cluster that has lost too many nodes to write, and still reads.
#[test]
fn a_server_that_only_reads_is_asked_to_write_no_more_often_than_allowed() {
    let server = Server::with(|seen, _| (seen.method == "PUT").then(|| error(503, "ServiceUnavailable")));
    let store = open(
        &server,
        &[("Retries", "0"), ("ConnectTimeout", "1"), ("Deadline", "2.5")],
    );
    for size in 1..=3 {
        assert_eq!(put(&store, &content(size)).unwrap_err().code(), Code::Server);
    }
    assert_eq!(warnings(&store).len(), 1, "down");
    server.state().requests.clear();
    let failed = put(&store, &content(4)).unwrap_err();
    assert_eq!(failed.code(), Code::Server, "{failed}");
    assert_eq!(server.methods(), ["GET", IF_NEW], "it is tried, then asked");
    assert_eq!(warnings(&store).len(), 1, "it answers again");
    assert_eq!(get(&store, &content(4).0).unwrap_err().code(), Code::NotFound);
}

/// As long as something answers, whatever it says, the server is up.
#[test]
fn refusals_are_no_outage() {
    for refusal in [
        error(403, "AccessDenied"),
        error(404, "NoSuchKey"),
        error(404, "NoSuchBucket"),
        error(501, "NotImplemented"),
        error(400, "InvalidArgument"),
    ] {
        let server = Server::with(move |_, _| Some(refusal.clone()));
        let store = open(&server, &[]);
        for number in 0..6u8 {
            assert_ne!(
                get(&store, &Key::of(&[number])).unwrap_err().code(),
                Code::Unavailable
            );
        }
        assert_eq!(server.methods().len(), 6);
    }
}

#[test]
fn tools_wait_for_recovery_within_their_deadline() {
    let (address, store) = dead(&[("Retries", "0")]);
    assert_eq!(get(&store, &Key::of(b"x")).unwrap_err().code(), Code::Network);
    let start = Instant::now();
    let failed = store.get(&Key::of(b"x"), &mut Vec::new(), Some(Duration::from_secs(1)));
    assert_eq!(failed.unwrap_err().code(), Code::Unavailable);
    assert!(
        start.elapsed() < Duration::from_millis(1500),
        "{:?}",
        start.elapsed()
    );

    revive(&address);
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::NotFound, "{failed}");
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(8), "{waited:?}");
    let warnings = warnings(&store);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("answers again, after"), "{warnings:?}");
}

/// What answered before is waited for by the very call that finds it down.
#[test]
fn the_call_that_finds_an_outage_waits_too() {
    let (address, store) = dead(&[("Retries", "0"), ("ConnectTimeout", "1")]);
    store.page.answered.store(1, Relaxed);
    let revived = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        revive(&address);
    });
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::NotFound, "{failed}");
    revived.join().unwrap();
}

/// A cluster's node that is back, but has not found the others yet.
#[test]
fn who_waited_waits_on_while_the_server_fails() {
    let (address, store) = dead(&[("Retries", "0"), ("ConnectTimeout", "1")]);
    store.page.answered.store(1, Relaxed);
    let start = Instant::now();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        // The first attempt is refused.
        std::thread::sleep(Duration::from_secs(1));
        let listener = TcpListener::bind(address).unwrap();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let answer = match start.elapsed().as_secs() {
                ..7 => error(503, "ServiceUnavailable"),
                _ => error(404, "NoSuchKey"),
            };
            let _ = stream.write_all(&answer);
        }
    });
    let failed = get(&store, &Key::of(b"x")).unwrap_err();
    assert_eq!(failed.code(), Code::NotFound, "{failed}");
    assert!(start.elapsed() >= Duration::from_secs(7));
}

/// A name with two addresses, of which the first takes connections and says nothing.
#[test]
fn the_next_attempt_goes_to_another_address() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    if TcpListener::bind(("::1", 0)).is_err() {
        return; // no IPv6 here
    }
    revive(&format!("[::1]:{}", address.port()));
    let host = format!("http://s3.localhost:{}", address.port());
    let given = [("Host", host.as_str()), ("Retries", "1"), ("ReadTimeout", "0.5")];
    let store = open(&Server::start(), &given);
    for name in [b"a", b"b"] {
        assert_eq!(get(&store, &Key::of(name)).unwrap_err().code(), Code::NotFound);
    }
    assert_eq!(warnings(&store), [""; 0]);
}

/// What a router does that has forgotten a connection: nothing comes through any more, and nobody says so.
#[cfg(target_os = "linux")]
#[test]
fn a_kept_connection_that_nobody_hears_costs_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(&error(404, "NoSuchKey"));
            let drop_all = socket2::SockFilter::new(0x06, 0, 0, 0);
            socket2::SockRef::from(&stream)
                .attach_filter(&[drop_all])
                .unwrap();
            kept.push(stream);
        }
    });
    let (server, _) = scripted(vec![]);
    let store = open(&server, &[("Host", &host), ("Retries", "0")]);
    assert_eq!(get(&store, &Key::of(b"a")).unwrap_err().code(), Code::NotFound);
    let start = Instant::now();
    assert_eq!(get(&store, &Key::of(b"b")).unwrap_err().code(), Code::NotFound);
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    assert_eq!(warnings(&store), [""; 0]);
}

#[test]
fn an_http_host_is_warned_about_once_where_there_are_keys() {
    let lines = |given: &[(&str, &str)]| {
        let (config, mistakes) = Config::parse(given.iter().copied()).unwrap();
        let store = Store::new(config, mistakes);
        std::iter::from_fn(|| store.next_message())
            .filter(|message| message.text.contains("http://"))
            .count()
    };
    let keys = [
        ("Bucket", "files"),
        ("AccessKeyId", "a"),
        ("SecretAccessKey", "b"),
    ];
    assert_eq!(
        lines(&[&keys[..], &[("Host", "http://s3.example.com")]].concat()),
        1
    );
    assert_eq!(
        lines(&[&keys[..], &[("Host", "https://s3.example.com")]].concat()),
        0
    );
}
