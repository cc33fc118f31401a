//! A Get that breaks goes on from there.

use super::*;

/// Answers GET with what is asked for, but breaks off after `most` bytes of body; `e_tag` may change.
fn breaking(seen: &Seen, object: &[u8], most: usize, e_tag: &str) -> Vec<u8> {
    let range = seen.header("range").to_owned();
    let from: usize = range
        .trim_start_matches("bytes=")
        .trim_end_matches('-')
        .parse()
        .unwrap_or(0);
    if from > 0 && seen.header("if-match") != e_tag {
        return error(412, "PreconditionFailed");
    }
    let rest = &object[from..];
    let head = match from {
        0 => "HTTP/1.1 200 OK\r\n".to_owned(),
        _ => format!(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {from}-{}/{}\r\n",
            object.len() - 1,
            object.len()
        ),
    };
    let head = format!("{head}ETag: {e_tag}\r\nContent-Length: {}\r\n\r\n", rest.len());
    [head.as_bytes(), &rest[..rest.len().min(most)]].concat()
}

#[test]
fn a_broken_get_goes_on_where_it_broke() {
    let object = content(1_000_000);
    let bytes = object.1.clone();
    let server = Server::with(move |seen, _| Some(breaking(seen, &bytes, 300_000, "\"1\"")));
    let store = open(&server, &[]);
    assert!(get(&store, &object.0).unwrap() == object.1);
    let asked: Vec<String> = server
        .state()
        .requests
        .iter()
        .map(|seen| seen.header("range").to_owned())
        .collect();
    assert_eq!(asked, ["", "bytes=300000-", "bytes=600000-", "bytes=900000-"]);
}

#[test]
fn an_object_that_changed_meanwhile_is_read_anew() {
    let object = content(100_000);
    let bytes = object.1.clone();
    let mut answers = 0;
    let server = Server::with(move |seen, _| {
        answers += 1;
        // What breaks off is not the object that is there afterwards.
        Some(match answers {
            1 => breaking(seen, &[9; 100_000], 50_000, "\"old\""),
            _ => breaking(seen, &bytes, 100_000, "\"new\""),
        })
    });
    let store = open(&server, &[]);
    assert!(get(&store, &object.0).unwrap() == object.1);
    assert_eq!(server.methods(), ["GET", "GET", "GET"]);
}

#[test]
fn servers_that_do_not_understand_a_range_give_the_whole() {
    let object = content(100_000);
    for refusal in [
        None,
        Some(error(416, "InvalidRange")),
        Some(error(501, "NotImplemented")),
    ] {
        let bytes = object.1.clone();
        let whole = answer(200, "ETag: \"1\"\r\n", &object.1);
        let mut answers = 0;
        let server = Server::with(move |seen, _| {
            answers += 1;
            Some(match (answers, &refusal) {
                (1, _) => breaking(seen, &bytes, 60_000, "\"1\""),
                (2, Some(refusal)) => refusal.clone(),
                _ => whole.clone(),
            })
        });
        let store = open(&server, &[]);
        assert!(get(&store, &object.0).unwrap() == object.1);
    }
}

/// Pieces that do not fit, or bytes of something else: never put together to something wrong.
#[test]
fn a_part_that_was_not_asked_for_is_not_used() {
    let object = content(100_000);
    for (range, e_tag) in [
        ("bytes 50000-99999/100000", "\"1\""),
        ("bytes 60000-99999/100001", "\"1\""),
        ("bytes 60000-99999/*", "\"1\""),
        ("bytes 60000-99999/100000", "\"2\""),
        ("pages 1-2", "\"1\""),
    ] {
        let bytes = object.1.clone();
        let mut answers = 0;
        let server = Server::with(move |seen, _| {
            answers += 1;
            Some(match answers {
                1 => breaking(seen, &bytes, 60_000, "\"1\""),
                2 => {
                    let head = format!("HTTP/1.1 206 Partial\r\nETag: {e_tag}\r\nContent-Range: {range}\r\nContent-Length: 40000\r\n\r\n");
                    [head.as_bytes(), &bytes[60_000..]].concat()
                }
                _ => breaking(seen, &bytes, 100_000, "\"1\""),
            })
        });
        let store = open(&server, &[]);
        assert!(get(&store, &object.0).unwrap() == object.1, "{range} {e_tag}");
        assert_eq!(server.methods().len(), 3, "{range} {e_tag}");
    }
}

/// The rest is damaged: the whole is read once more.
#[test]
fn damage_in_the_rest_is_noticed() {
    let object = content(100_000);
    let bytes = object.1.clone();
    let mut wrong = object.1.clone();
    wrong[80_000] ^= 1;
    let mut answers = 0;
    let server = Server::with(move |seen, _| {
        answers += 1;
        Some(match answers {
            1 => breaking(seen, &bytes, 60_000, "\"1\""),
            2 => breaking(seen, &wrong, 100_000, "\"1\""),
            _ => breaking(seen, &bytes, 100_000, "\"1\""),
        })
    });
    let store = open(&server, &[]);
    assert!(get(&store, &object.0).unwrap() == object.1);
    assert_eq!(server.state().requests[2].header("range"), "");
}
