use super::*;

type Given<'a> = &'a [(&'a str, &'a str)];

fn parse(given: Given<'_>) -> (Config, Vec<Mistake>) {
    let minimal = [
        ("Bucket", "files"),
        ("AccessKeyId", "ID"),
        ("SecretAccessKey", "TOPSECRET"),
    ];
    let minimal = minimal
        .into_iter()
        .filter(|(name, _)| !given.iter().any(|(given, _)| given == name));
    Config::parse(minimal.chain(given.iter().copied())).unwrap()
}

fn refused(given: Given<'_>) -> String {
    let error = Config::parse(given.iter().copied()).unwrap_err();
    assert_eq!(error.code(), Code::Config);
    error.message().to_owned()
}

#[test]
fn defaults() {
    let (config, mistakes) = parse(&[("Type", "AmazonS3"), ("Prefix", "")]);
    assert_eq!(mistakes, []);
    assert_eq!(config.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.read_timeout, Duration::from_secs(15));
    assert_eq!(config.deadline, Duration::from_secs(120));
    assert_eq!(config.retries, 4);
    assert_eq!(config.direct_link, Some(DirectLink::Public));
    assert!(config.create_bucket);
    assert!(config.check_writable().is_ok());
    assert_eq!(config.object_key("abc"), "abc");
}

#[test]
fn no_request_can_be_formed() {
    let secret = ("SecretAccessKey", "TOPSECRET");
    let id = ("AccessKeyId", "ID");
    let bucket = ("Bucket", "files");
    let table: &[(Given<'_>, &str)] = &[
        (&[id, secret], "option Bucket is missing"),
        (&[id, secret, ("Bucket", "")], "option Bucket is missing"),
        (
            &[id, secret, ("Bukcet", "files")],
            "(unknown option 'Bukcet': did you mean Bucket?",
        ),
        (
            &[id, secret, ("Bucket", "a/b")],
            "option Bucket: 'a/b' is not a bucket name",
        ),
        (&[bucket, id], "option SecretAccessKey is missing"),
        (&[bucket, secret], "option AccessKeyId is missing"),
        (
            &[bucket, id, secret, ("Host", "host/path")],
            "option Host: 'host/path' has a path",
        ),
        (&[bucket, id, secret, ("Host", "my host")], "has a blank"),
        (
            &[bucket, id, secret, ("Host", "ftp://host")],
            "neither http nor https",
        ),
        (&[bucket, id, secret, ("Host", "host:99999")], "has a port"),
        (&[bucket, id, secret, ("Host", "ho_st..x")], "is not a host name"),
        (
            &[bucket, id, secret, ("Host", "https://me:hunter2@host")],
            "'***@host' has a user name or password",
        ),
        (
            &[bucket, ("AccessKeyId", "ID\r\nX: y"), secret],
            "option AccessKeyId has a blank",
        ),
    ];
    for (given, expected) in table {
        let message = refused(given);
        assert!(message.contains(expected), "{message}");
        assert!(
            !message.contains("TOPSECRET") && !message.contains("hunter2"),
            "{message}"
        );
    }
}

/// Options, what is logged, and whether writing is refused.
#[test]
fn every_other_mistake_leaves_reading_as_it_is() {
    let table: &[(Given<'_>, &str, bool)] = &[
        (
            &[("Regoin", "x")],
            "unknown option 'Regoin': did you mean Region?",
            false,
        ),
        (&[("bucket", "x")], "did you mean Bucket?", false),
        (&[("Prefx", "x")], "did you mean Prefix?", true),
        (
            &[("Colour", "x")],
            "unknown option 'Colour': it is not used; allowed are Type, Bucket",
            false,
        ),
        (
            &[("Host", "")],
            "option Host is empty: using the default, s3.amazonaws.com",
            false,
        ),
        (
            &[("Region", "EU West")],
            "option Region: 'EU West' is not allowed",
            false,
        ),
        (
            &[("AddressingStyle", "foo")],
            "'auto', 'path' or 'virtual'; using the default, auto",
            false,
        ),
        (
            &[("AddressingStyle", "virtual"), ("Bucket", "a_b")],
            "makes no sense",
            false,
        ),
        (&[("Prefix", "/x")], "no slash at the start", true),
        (&[("Prefix", "a/../b")], "'..'", true),
        (
            &[("CAFile", "/no/such/file")],
            "option CAFile: '/no/such/file' can't be used",
            false,
        ),
        (&[("CAFile", "/etc/hostname")], "it holds no certificate", false),
        (
            &[("CAFile", "/x"), ("Host", "http://h")],
            "makes no sense with an http:// Host",
            false,
        ),
        (
            &[("ServerSideEncryption", "yes")],
            "'AES256', 'aws:kms' or 'aws:kms:dsse'",
            true,
        ),
        (
            &[("ServerSideEncrytion", "AES256")],
            "did you mean ServerSideEncryption?",
            true,
        ),
        (
            &[("SSEKMSKeyId", "alias/rt")],
            "makes no sense without ServerSideEncryption",
            true,
        ),
        (&[("StorageClass", "GLACIER")], "can be read at once", true),
        (&[("StorageClass", "STANDART_IA")], "STANDARD, STANDARD_IA", true),
        (
            &[("StorageClass", "cold"), ("Host", "ceph")],
            "capital letters",
            true,
        ),
        (
            &[("ExpectedBucketOwner", "me")],
            "the 12 digits of an AWS account",
            true,
        ),
        (&[("Checksum", "sometimes")], "'auto', 'always' or 'never'", true),
        (&[("StorageClass", "")], "option StorageClass is empty", true),
        (
            &[("Proxy", "socks5://p")],
            "option Proxy: 'socks5://p' is not allowed",
            false,
        ),
        (
            &[("DirectLinkHost", "cdn/path")],
            "option DirectLinkHost: 'cdn/path' has a path",
            false,
        ),
        (&[("CreateBucket", "yes")], "0 or 1", true),
        (
            &[("DirectLink", "private")],
            "option DirectLink: 'private' is not allowed: 'public' or 'presigned'",
            false,
        ),
        (
            &[("DirectLink", "presigned"), ("DirectLinkHost", "cdn")],
            "option DirectLinkHost makes no sense with DirectLink 'presigned'",
            false,
        ),
        (
            &[("DirectLinkExpires", "604801")],
            "a whole number from 1 to 604800; using the default, 3600",
            false,
        ),
        (
            &[("ConnectTimeout", "0")],
            "seconds from 0.1 to 60; using the default, 3",
            false,
        ),
        (&[("ReadTimeout", "NaN")], "option ReadTimeout", false),
        (&[("Deadline", "-1")], "option Deadline", false),
        (
            &[("Retries", "1.5")],
            "a whole number from 0 to 20; using the default, 4",
            false,
        ),
        (&[("SessionToken", "")], "option SessionToken is empty", false),
    ];
    for (given, expected, refuses) in table {
        let (config, mistakes) = parse(given);
        assert_eq!(mistakes.len(), 1, "{given:?}: {mistakes:?}");
        let message = &mistakes[0].message;
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains('\n'));
        assert_eq!(config.check_writable().is_err(), *refuses, "{given:?}");
    }
}

#[test]
fn keys_are_given_or_sought() {
    let sought = |given: &[(&str, &str)]| {
        let given = [&[("Bucket", "files")], given].concat();
        let (config, mistakes) = Config::parse_in(given, |_| None).unwrap();
        let refused = config.check_writable().is_err();
        match config.credentials {
            Credentials::Given(keys) => (keys.access_key_id, None, mistakes.len(), refused),
            Credentials::Sought { source, profile } => {
                (profile.unwrap_or_default(), source, mistakes.len(), refused)
            }
        }
    };
    let none = String::new;
    assert_eq!(sought(&[]), (none(), None, 0, false));
    let instance = ("CredentialSource", "instance");
    assert_eq!(sought(&[instance]), (none(), Some(Source::Instance), 0, false));
    let profile = ("Profile", "rt");
    assert_eq!(
        sought(&[profile]),
        ("rt".to_owned(), Some(Source::Profile), 0, false)
    );
    assert_eq!(
        sought(&[instance, profile]),
        (none(), Some(Source::Instance), 1, true)
    );
    assert_eq!(sought(&[("CredentialSource", "ec2")]), (none(), None, 1, true));
    assert_eq!(sought(&[("SessionToken", "t")]), (none(), None, 1, true));
    let keys = [("AccessKeyId", "ID"), ("SecretAccessKey", "s")];
    for more in [instance, profile] {
        let given = [keys[0], keys[1], more];
        assert_eq!(sought(&given), ("ID".to_owned(), None, 1, true));
    }
}

#[test]
fn debug_output_has_no_secret() {
    let (config, _) = parse(&[("SessionToken", "TOPTOKEN")]);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("TOPSECRET") && !shown.contains("TOPTOKEN"),
        "{shown}"
    );
    assert_eq!(config.mask.apply("TOPTOKEN and TOPSECRET"), "*** and ***");
}
