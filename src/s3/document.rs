//! S3's error document.

use xml::reader::{EventReader, XmlEvent};

use crate::config::Mask;
use crate::error::one_line;

/// Elements within each other: S3's have six at most, and each costs the reader more than the last.
pub(super) const DEEPEST: usize = 16;

/// Elements of a document: a listing has 1,000 objects, with some 15 each.
const MOST_ELEMENTS: u32 = 50_000;

/// Whether it can be read as XML, to its end, in a time that is no attack.
pub(super) fn is_well_formed(document: &[u8]) -> bool {
    let (mut depth, mut count) = (0, 0);
    EventReader::new(document).into_iter().all(|event| {
        match event {
            Ok(XmlEvent::StartElement { .. }) => {
                depth += 1;
                count += 1;
            }
            Ok(XmlEvent::EndElement { .. }) => depth -= 1,
            Ok(_) => {}
            Err(_) => return false,
        }
        depth <= DEEPEST && count <= MOST_ELEMENTS
    })
}

/// Names and texts of the elements directly within the one at `path`, which begins with the root. None
/// where it can't be read as XML, or nests deeper than S3's do.
pub(super) fn children(document: &[u8], path: &[&str]) -> Option<Vec<(String, String)>> {
    let mut open: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for event in EventReader::new(document) {
        match event.ok()? {
            XmlEvent::StartElement { .. } if open.len() == DEEPEST => return None,
            XmlEvent::StartElement { name, .. } => open.push(name.local_name),
            XmlEvent::EndElement { .. } => {
                open.pop();
                if open.is_empty() {
                    break;
                }
            }
            XmlEvent::Characters(text) | XmlEvent::CData(text) => match open.split_last() {
                Some((name, parents)) if parents == path => found.push((name.clone(), text)),
                _ => {}
            },
            _ => {}
        }
    }
    Some(found)
}

/// S3's error document, its texts cut to what a message may hold.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
#[derive(Debug, Default)]
pub(super) struct ErrorDocument {
    pub(super) code: String,
    pub(super) message: String,
    /// Host that the request should have gone to.
    pub(super) endpoint: Option<String>,
    region: Option<String>,
}

impl ErrorDocument {
    /// None for anything that is not `<Error>` with a `<Code>`.
    pub(super) fn parse(body: &[u8], mask: &Mask) -> Option<Self> {
        let mut found = Self::default();
        for (name, text) in children(body, &["Error"])? {
            match name.as_str() {
                "Code" => found.code.push_str(&text),
                "Message" => found.message.push_str(&text),
                "Region" => found.region.get_or_insert_default().push_str(&text),
                "Endpoint" => found.endpoint.get_or_insert_default().push_str(&text),
                _ => {}
            }
        }
        let short =
            |text: &str, most: usize| one_line(&mask.apply(text)).chars().take(most).collect::<String>();
        (!found.code.trim().is_empty()).then(|| ErrorDocument {
            code: short(&found.code, 64),
            message: short(&found.message, 200),
            endpoint: found.endpoint.map(|endpoint| short(&endpoint, 253)),
            region: found.region.map(|region| short(&region, 63)),
        })
    }

    /// The region that it names, in an element or, as AWS and Garage do, in the message:
    /// `expecting 'REGION'`, `expected: 'DATE/REGION/s3/aws4_request'`.
    pub(super) fn region(&self) -> Option<String> {
        let quoted_after = |mark: &str| self.message.split_once(mark)?.1.split('\'').nth(1);
        let in_message =
            || quoted_after("expecting").or_else(|| quoted_after("expected:")?.split('/').nth(1));
        self.region.as_deref().or_else(in_message).map(str::to_owned)
    }
}
