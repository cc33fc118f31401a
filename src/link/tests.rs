use super::*;
use crate::key::Key;
use crate::store::Store;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn store(given: &[(&str, &str)]) -> Store {
    let fixed = [
        ("Bucket", "files"),
        ("AccessKeyId", "AKID"),
        ("SecretAccessKey", "secret"),
    ];
    let fixed = fixed
        .iter()
        .filter(|(name, _)| given.iter().all(|(other, _)| other != name));
    let (config, mistakes) = Config::parse_in(fixed.chain(given).copied(), |_| None).unwrap();
    Store::new(config, mistakes)
}

fn url(given: &[(&str, &str)]) -> Result<String> {
    store(given).direct_url(&Key::of(b""), About::default())
}

#[test]
fn public_links() {
    for (given, expected) in [
        (&[][..], "https://files.s3.amazonaws.com"),
        (
            &[("Region", "eu-west-1")],
            "https://files.s3.eu-west-1.amazonaws.com",
        ),
        (
            &[("Host", "http://localhost:9000"), ("Prefix", "rt \"<ä>'/")],
            "http://localhost:9000/files/rt%20%22%3C%C3%A4%3E%27",
        ),
        (
            &[("Bucket", "my.files"), ("DirectLink", "public")],
            "https://s3.amazonaws.com/my.files",
        ),
        (
            &[("Host", "s3.example.com"), ("AddressingStyle", "virtual")],
            "https://files.s3.example.com",
        ),
    ] {
        assert_eq!(url(given).unwrap(), format!("{expected}/{EMPTY}"));
    }
}

#[test]
fn links_at_another_host_have_nothing_of_the_bucket() {
    assert_eq!(
        url(&[("DirectLinkHost", "cdn.example.org"), ("Prefix", "r t/")]).unwrap(),
        format!("https://cdn.example.org/r%20t/{EMPTY}")
    );
    assert_eq!(
        url(&[("DirectLinkHost", "http://cdn:8080/"), ("Host", "elsewhere")]).unwrap(),
        format!("http://cdn:8080/{EMPTY}")
    );
    assert!(url(&[("DirectLinkHost", "cdn/path")]).is_err());
}

#[test]
fn no_link_where_none_is_safe() {
    for given in [
        &[("DirectLink", "private")][..],
        &[("Host", "[::1]:9000")],
        &[("DirectLinkHost", "[::1]")],
        &[("DirectLink", "presigned"), ("DirectLinkHost", "cdn")],
        // Not known before the first answer.
        &[("DirectLink", "presigned")],
    ] {
        assert_eq!(url(given).unwrap_err().code(), Code::Config, "{given:?}");
    }
}

const PRESIGNED: [(&str, &str); 2] = [("DirectLink", "presigned"), ("Region", "eu-west-1")];

fn presigned(about: About<'_>) -> Result<String> {
    store(&PRESIGNED).direct_url(&Key::of(b""), about)
}

#[test]
fn presigned_links() {
    let about = About {
        file_name: Some("a b.png"),
        content_type: Some("image/png"),
        disposition: Some("inline"),
    };
    let url = presigned(about).unwrap();
    for part in [
        &*format!("https://files.s3.eu-west-1.amazonaws.com/{EMPTY}?X-Amz-Algorithm=AWS4-HMAC-SHA256"),
        "&X-Amz-Credential=AKID%2F",
        "%2Feu-west-1%2Fs3%2Faws4_request&",
        "&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&response-cache-control=private%2C%20max-age%3D3600&response-content-disposition=inline%3B%20filename%3D%22a%20b.png%22%3B%20filename%2A%3DUTF-8%27%27a%2520b.png&response-content-type=image%2Fpng&X-Amz-Signature=",
    ] {
        assert!(url.contains(part), "{part} {url}");
    }
}

#[test]
fn what_a_browser_runs_is_never_shown() {
    for (content_type, asked, got) in [
        (Some("image/png"), Some("inline"), "inline"),
        (Some("image/png"), Some("attachment"), "attachment"),
        (Some("image/png"), None, "attachment"),
        (Some("text/HTML; charset=x"), Some("inline"), "attachment"),
        (Some("image/svg+xml"), Some("inline"), "attachment"),
        (Some("text/javascript"), Some("inline"), "attachment"),
        (None, Some("inline"), "attachment"),
    ] {
        let about = About {
            file_name: None,
            content_type,
            disposition: asked,
        };
        let url = presigned(about).unwrap();
        assert!(
            url.contains(&format!("&response-content-disposition={got}&")),
            "{content_type:?} {url}"
        );
    }
    let about = About {
        disposition: Some("show\r\n"),
        ..About::default()
    };
    assert_eq!(presigned(about).unwrap_err().code(), Code::Argument);
}

#[test]
fn a_url_is_never_too_long() {
    let name = format!("{}.png", "ש".repeat(300));
    let about = About {
        file_name: Some(&name),
        ..About::default()
    };
    let url = presigned(about).unwrap();
    assert!(
        (LONGEST_URL - 20..=LONGEST_URL).contains(&url.len()),
        "{}",
        url.len()
    );
    let token = "/".repeat(300);
    let given = [&PRESIGNED[..], &[("SessionToken", &token)]].concat();
    let url = store(&given).direct_url(&Key::of(b""), about).unwrap();
    assert!(
        (LONGEST_URL - 20..=LONGEST_URL).contains(&url.len()),
        "{}",
        url.len()
    );
    let token = "t".repeat(2000);
    let given = [&PRESIGNED[..], &[("SessionToken", &token)]].concat();
    let error = store(&given).direct_url(&Key::of(b""), about).unwrap_err();
    assert!(error.message().contains("session token"), "{error}");
}

#[test]
fn windows() {
    let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let hour = Duration::from_secs(3600);
    assert_eq!(window(hour, at(1_000_000), None).unwrap(), (at(999_900), 3600));
    assert_eq!(window(hour, at(1_000_799), None).unwrap(), (at(999_900), 3600));
    assert_eq!(window(hour, at(1_000_800), None).unwrap(), (at(1_000_800), 3600));
    assert_eq!(window(Duration::from_secs(1), at(7), None).unwrap(), (at(7), 1));
    let until = |end| window(hour, at(1_000_000), Some(at(end)));
    assert_eq!(until(1_000_060).unwrap(), (at(999_900), 160));
    assert_eq!(until(1_003_600).unwrap(), (at(999_900), 3600));
    assert_eq!(until(1_000_059).unwrap_err().code(), Code::Credentials);
    assert!(until(5).is_err());
}
