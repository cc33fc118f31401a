//! Addresses and regions of every kind of Host.

use crate::config::Config;

/// URL and region for Host, Region, AddressingStyle and Bucket; `-`: not given.
fn address(host: &str, region: &str, style: &str, bucket: &str) -> (String, String) {
    let given = [
        ("Host", host),
        ("Region", region),
        ("AddressingStyle", style),
        ("Bucket", bucket),
    ];
    let (config, _) = Config::parse(given.into_iter().filter(|(_, value)| *value != "-")).unwrap();
    let endpoint = &config.endpoint;
    (
        endpoint.address(bucket, "a b/ä+k").url(),
        endpoint.region().to_owned(),
    )
}

#[test]
fn another_region_is_another_host_only_within_aws() {
    let table = [
        ("-", "https://files.s3.eu-west-1.amazonaws.com/"),
        (
            "s3.us-west-2.amazonaws.com",
            "https://files.s3.eu-west-1.amazonaws.com/",
        ),
        (
            "s3-us-west-2.amazonaws.com",
            "https://files.s3.eu-west-1.amazonaws.com/",
        ),
        (
            "s3.dualstack.us-west-2.amazonaws.com",
            "https://files.s3.dualstack.eu-west-1.amazonaws.com/",
        ),
        (
            "s3-accelerate.amazonaws.com",
            "https://files.s3-accelerate.amazonaws.com/",
        ),
        (
            "s3.cn-north-1.amazonaws.com.cn",
            "https://files.s3.cn-north-1.amazonaws.com.cn/",
        ),
        ("https://s3.wasabisys.com", "https://s3.wasabisys.com/files"),
        ("http://localhost:9000", "http://localhost:9000/files"),
    ];
    for (host, url) in table {
        let given = [("Host", host), ("Bucket", "files")];
        let (config, _) = Config::parse(given.into_iter().filter(|(_, value)| *value != "-")).unwrap();
        let moved = config.endpoint.in_region("eu-west-1");
        assert_eq!(moved.address("files", "").url(), url, "{host}");
        assert_eq!(moved.region(), "eu-west-1");
    }
}

#[test]
fn addresses() {
    let table = [
        ("-", "-", "-", "rt", "https://rt.s3.amazonaws.com", "us-east-1"),
        (
            "-",
            "eu-west-1",
            "-",
            "files",
            "https://files.s3.eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        (
            "-",
            "us-east-1",
            "-",
            "files",
            "https://files.s3.amazonaws.com",
            "us-east-1",
        ),
        (
            "-",
            "cn-north-1",
            "-",
            "files",
            "https://files.s3.cn-north-1.amazonaws.com.cn",
            "cn-north-1",
        ),
        (
            "-",
            "-",
            "-",
            "my.files",
            "https://s3.amazonaws.com/my.files",
            "us-east-1",
        ),
        (
            "-",
            "-",
            "-",
            "My_Files",
            "https://s3.amazonaws.com/My_Files",
            "us-east-1",
        ),
        (
            "-",
            "-",
            "path",
            "files",
            "https://s3.amazonaws.com/files",
            "us-east-1",
        ),
        (
            "s3.eu-west-1.amazonaws.com",
            "-",
            "-",
            "files",
            "https://files.s3.eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        (
            "s3-eu-west-1.amazonaws.com",
            "-",
            "-",
            "files",
            "https://files.s3-eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        (
            "s3.dualstack.eu-west-1.amazonaws.com",
            "-",
            "-",
            "files",
            "https://files.s3.dualstack.eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        (
            "localhost:9000",
            "-",
            "-",
            "files",
            "https://localhost:9000/files",
            "us-east-1",
        ),
        (
            "http://127.0.0.1:9000/",
            "garage",
            "-",
            "files",
            "http://127.0.0.1:9000/files",
            "garage",
        ),
        (
            "http://[::1]:9000",
            "-",
            "-",
            "files",
            "http://[::1]:9000/files",
            "us-east-1",
        ),
        (
            "HTTPS://S3.Example.org:443",
            "-",
            "virtual",
            "files",
            "https://files.s3.example.org",
            "us-east-1",
        ),
        (
            "s3.us-west-004.backblazeb2.com",
            "-",
            "-",
            "files",
            "https://s3.us-west-004.backblazeb2.com/files",
            "us-west-004",
        ),
        (
            "s3.eu-central-1.wasabisys.com",
            "-",
            "-",
            "files",
            "https://s3.eu-central-1.wasabisys.com/files",
            "eu-central-1",
        ),
        (
            "abc.r2.cloudflarestorage.com",
            "-",
            "-",
            "files",
            "https://abc.r2.cloudflarestorage.com/files",
            "auto",
        ),
    ];
    for (host, region, style, bucket, url, signed) in table {
        // A name of two letters is no bucket name on AWS.
        let url = if bucket == "rt" {
            "https://s3.amazonaws.com/rt"
        } else {
            url
        };
        let (got, got_region) = address(host, region, style, bucket);
        assert_eq!(
            got,
            format!("{url}/a%20b/%C3%A4%2Bk"),
            "Host {host}, Region {region}"
        );
        assert_eq!(got_region, signed, "Host {host}, Region {region}");
    }
}

#[test]
fn the_bucket_itself_has_an_address() {
    let (config, _) = Config::parse([("Bucket", "files"), ("Host", "http://localhost:9")]).unwrap();
    assert_eq!(
        config.endpoint.address("files", "").url(),
        "http://localhost:9/files"
    );
    let (config, _) = Config::parse([("Bucket", "files")]).unwrap();
    assert_eq!(
        config.endpoint.address("files", "").url(),
        "https://files.s3.amazonaws.com/"
    );
}
