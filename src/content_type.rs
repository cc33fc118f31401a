//! Types of content: how they are sent, and which of them a browser runs.

use crate::error::quoted;

const DEFAULT: &str = "application/octet-stream";
const LONGEST: usize = 255;

/// The type as a header value, and a warning where the one given can't be sent. It comes from
/// e-mails of strangers, so a bad one must not keep their attachment from being stored.
pub(crate) fn header_value(given: Option<&str>) -> (String, Option<String>) {
    let given = given.unwrap_or_default();
    let trimmed = given.trim_matches([' ', '\t']);
    if trimmed.is_empty() {
        return (DEFAULT.to_owned(), None);
    }
    let sendable =
        trimmed.len() <= LONGEST && trimmed.bytes().all(|c| (b' '..=b'~').contains(&c)) && is_type(trimmed);
    if sendable && is_form(trimmed) {
        return (DEFAULT.to_owned(), None);
    }
    if sendable {
        // A signature covers single blanks only.
        return (
            trimmed
                .split(' ')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
                .join(" "),
            None,
        );
    }
    let warning = format!(
        "Content-Type {} ({} bytes) can't be sent: a type like text/plain is allowed, printable ASCII, at most {LONGEST} bytes; stored as {DEFAULT}",
        quoted(given),
        given.len(),
    );
    (DEFAULT.to_owned(), Some(warning))
}

/// `token/token` before any parameters, as RFC 9110 has it. A browser guesses the type of what has
/// none from its content, and may find HTML.
fn is_type(content_type: &str) -> bool {
    let is_token = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
    };
    let before_parameters = content_type.split(';').next().unwrap_or_default();
    before_parameters
        .trim_end_matches([' ', '\t'])
        .split_once('/')
        .is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype))
}

/// A server that parses forms takes the content for one, and stores nothing: seen with moto 5.2.5.
fn is_form(content_type: &str) -> bool {
    essence(content_type) == "application/x-www-form-urlencoded"
}

fn essence(content_type: &str) -> String {
    let essence = content_type.split([';', ',']).next().unwrap_or_default();
    essence.trim().to_ascii_lowercase()
}

/// `attachment` for a type that a browser would run, or that RT serves as a download only: whoever
/// follows a link to the object must not run a stranger's code.
pub(crate) fn disposition(content_type: &str) -> Option<&'static str> {
    let essence = essence(content_type);
    let active = essence.ends_with("xml")
        || essence.ends_with("html")
        || ["javascript", "ecmascript", "vbscript", "flash"]
            .iter()
            .any(|word| essence.contains(word))
        || ["application/pdf", "text/xsl", "multipart/x-mixed-replace"].contains(&essence.as_str());
    active.then_some("attachment")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_that_can_be_sent() {
        for (given, sent) in [
            (None, DEFAULT),
            (Some(""), DEFAULT),
            (Some("image/png"), "image/png"),
            (Some("Application/X-WWW-Form-Urlencoded; charset=x"), DEFAULT),
            (
                Some(" text/plain;  charset=\"utf-8\" "),
                "text/plain; charset=\"utf-8\"",
            ),
        ] {
            assert_eq!(header_value(given), (sent.to_owned(), None));
        }
    }

    #[test]
    fn types_that_can_not_be_sent_are_warned_about() {
        let long = format!("text/{}", "x".repeat(10_000));
        for given in [
            "text/plain\r\nx-amz-acl: public-read",
            "text/plän",
            "plain",
            "/",
            "text /plain",
            ":/text/html",
            "\"image/png",
            "text/html,text/plain",
            "<script>alert(1)</script>",
            &long,
        ] {
            let (sent, warning) = header_value(Some(given));
            assert_eq!(sent, DEFAULT);
            let warning = warning.unwrap();
            assert!(
                warning.contains("at most 255 bytes") && warning.len() < 400,
                "{warning}"
            );
            assert!(!warning.contains('\r'));
        }
    }

    #[test]
    fn what_a_browser_runs_is_a_download() {
        for active in [
            "text/html",
            "TEXT/HTML; charset=x",
            "application/xhtml+xml",
            "text/xml",
            "image/svg+xml",
            "text/javascript",
            "application/pdf",
        ] {
            assert_eq!(disposition(active), Some("attachment"), "{active}");
        }
        for passive in ["image/png", "text/plain", "application/octet-stream"] {
            assert_eq!(disposition(passive), None, "{passive}");
        }
    }
}
