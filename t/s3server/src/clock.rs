//! The server's clock, which a rule can put wrong, and the dates of requests.

use std::time::{Duration, SystemTime};

use hyper::http::request::Parts;
use hyper::{Response, StatusCode};
use s3s::Body;
use s3s::dto::{Timestamp, TimestampFormat};

use crate::address::Query;
use crate::answer;

/// A request's date may be so many seconds off.
const SKEW: i64 = 900;

/// A clock so many seconds ahead of the real one.
#[derive(Clone, Copy)]
pub struct Clock(pub i64);

impl Clock {
    fn now(self) -> SystemTime {
        let offset = Duration::from_secs(self.0.unsigned_abs());
        let now = SystemTime::now();
        if self.0 < 0 { now - offset } else { now + offset }
    }

    /// The time for a Date header.
    pub fn date(self) -> String {
        format(self.now(), TimestampFormat::HttpDate)
    }

    /// The refusal of a request whose date is too far off, or of a link whose time is over. s3s has the real
    /// clock only.
    pub fn refuse(self, head: &Parts) -> Option<Response<Body>> {
        let query = Query::parse(head.uri.query());
        let header = || head.headers.get("x-amz-date")?.to_str().ok();
        let link = query.get("X-Amz-Date").filter(|_| query.has("X-Amz-Signature"));
        let text = link.or_else(header)?;
        let signed = seconds(text)?;
        let now = self.now();
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        let age = i64::try_from(since_1970.as_secs()).ok()? - signed;
        let server_time = format(now, TimestampFormat::DateTime);
        let expires: Option<i64> = query.get("X-Amz-Expires").and_then(|text| text.parse().ok());
        match (link, expires) {
            (Some(_), Some(expires)) if age > expires => Some(answer::error_with(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "Request has expired",
                &[
                    ("X-Amz-Expires", &expires.to_string()),
                    ("ServerTime", &server_time),
                ],
            )),
            (Some(_), _) if age >= -SKEW => None,
            (Some(_), _) => Some(answer::error_with(
                StatusCode::FORBIDDEN,
                "AccessDenied",
                "Request is not valid yet",
                &[("ServerTime", &server_time)],
            )),
            (None, _) if age.abs() <= SKEW => None,
            _ => Some(answer::error_with(
                StatusCode::FORBIDDEN,
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                &[
                    ("RequestTime", text),
                    ("ServerTime", &server_time),
                    ("MaxAllowedSkewMilliseconds", "900000"),
                ],
            )),
        }
    }
}

fn format(time: SystemTime, format: TimestampFormat) -> String {
    let mut text = Vec::new();
    let _ = Timestamp::from(time).format(format, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// Seconds since 1970 of a date like `20260102T030405Z`.
fn seconds(text: &str) -> Option<i64> {
    let part = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    if text.len() != 16 || text.get(8..9) != Some("T") {
        return None;
    }
    let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
    let time = part(9..11)? * 3600 + part(11..13)? * 60 + part(13..15)?;
    // Days of the proleptic Gregorian calendar, the year beginning in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    Some(days * 86_400 + time)
}
