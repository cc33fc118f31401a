//! What is in the bucket, page by page.

use percent_encoding::percent_decode_str;
use rusoto_s3::{ListObjectsV2Request, S3};
use xml::reader::{EventReader, XmlEvent};

use super::client::Client;
use super::document::DEEPEST;
use super::outcome::Failure;
use super::retry::Budget;
use super::session::{Expected, Operation};
use crate::error::Result;

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name, without the prefix.
    pub name: String,
    /// In bytes.
    pub size: u64,
}

/// Some objects, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// At most 1,000.
    pub objects: Vec<Listed>,
    /// Whether there are more.
    pub is_truncated: bool,
}

impl Listing {
    /// None for anything that is no listing.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        let mut open: Vec<String> = Vec::new();
        let mut found = Listing::default();
        let mut is_encoded = false;
        let (mut name, mut size, mut truncated, mut encoding) =
            (String::new(), String::new(), String::new(), String::new());
        for event in EventReader::new(document) {
            match event.ok()? {
                XmlEvent::StartElement { name: element, .. } => {
                    let is_other = open.is_empty() && element.local_name != "ListBucketResult";
                    if is_other || open.len() == DEEPEST {
                        return None;
                    }
                    open.push(element.local_name);
                }
                XmlEvent::EndElement { .. } => {
                    let ended = open.pop()?;
                    match (ended.as_str(), open.len()) {
                        ("EncodingType", 1) => is_encoded = encoding.trim() == "url",
                        ("Contents", 1) => found.objects.push(Listed {
                            name: std::mem::take(&mut name),
                            size: std::mem::take(&mut size).trim().parse().ok()?,
                        }),
                        (_, 0) => break,
                        _ => {}
                    }
                }
                XmlEvent::Characters(text) | XmlEvent::CData(text) | XmlEvent::Whitespace(text) => {
                    match open.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                        [_, "Contents", "Key"] => name.push_str(&text),
                        [_, "Contents", "Size"] => size.push_str(&text),
                        [_, "IsTruncated"] => truncated.push_str(&text),
                        [_, "EncodingType"] => encoding.push_str(&text),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        found.is_truncated = match truncated.trim() {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        if is_encoded {
            for object in &mut found.objects {
                let encoded = object.name.replace('+', " ");
                object.name = percent_decode_str(&encoded).decode_utf8().ok()?.into_owned();
            }
        }
        Some(found)
    }

    /// Only what is below `prefix`, without it.
    fn below(self, prefix: &str) -> Option<Self> {
        let objects = self.objects.into_iter().map(|object| {
            let name = object.name.strip_prefix(prefix)?.to_owned();
            Some(Listed { name, ..object })
        });
        Some(Listing {
            objects: objects.collect::<Option<_>>()?,
            ..self
        })
    }
}

impl Client {
    /// The objects whose names, without the prefix, come after `after`.
    pub async fn list(&self, budget: &Budget, after: Option<&str>) -> Result<Listing> {
        let config = self.config();
        let operation = Operation {
            expected: Expected::Listing,
            ..Operation::new(budget, "ListObjectsV2", None)
        };
        let listed = self.session.run(&operation, async |s3, exchange| {
            let request = ListObjectsV2Request {
                bucket: config.bucket.clone(),
                prefix: Some(config.prefix.clone()).filter(|prefix| !prefix.is_empty()),
                start_after: after.map(|after| format!("{}{after}", config.prefix)),
                encoding_type: Some("url".to_owned()),
                expected_bucket_owner: config.written.bucket_owner.clone(),
                ..Default::default()
            };
            s3.list_objects_v2(request)
                .await
                .map_err(|error| exchange.failure(error))?;
            let listing = exchange.answered().listing.take().unwrap_or_default();
            let listing = listing
                .below(&config.prefix)
                .ok_or_else(|| Failure::not_s3s("a listing of what is not below the prefix"))?;
            let goes_on = |listing: &Listing| {
                let last = listing.objects.last().map(|object| object.name.as_str());
                last > after || (last.is_none() && !listing.is_truncated)
            };
            match goes_on(&listing) {
                true => Ok(listing),
                false => Err(Failure::not_s3s(
                    "a listing that does not go on after the last one",
                )),
            }
        });
        listed
            .await
            .map_err(|given_up| self.session.describe(&operation, given_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(document: &str) -> Option<Vec<(String, u64)>> {
        let listing = Listing::parse(document.as_bytes())?;
        Some(
            listing
                .objects
                .into_iter()
                .map(|object| (object.name, object.size))
                .collect(),
        )
    }

    #[test]
    fn listings() {
        let document =
            "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
            <Name>files</Name><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated>\n\
            <Contents><Key>a%20b+c%2B</Key><Owner><Key>no</Key></Owner><Size> 7 </Size></Contents>\
            <Contents><Size>0</Size><Key>x</Key></Contents></ListBucketResult>";
        assert_eq!(
            parse(document).unwrap(),
            [("a b c+".to_owned(), 7), ("x".to_owned(), 0)]
        );
        let plain = document.replace("<EncodingType>url</EncodingType>", "");
        assert_eq!(parse(&plain).unwrap()[0].0, "a%20b+c%2B");
        for (from, to) in [
            ("ListBucketResult", "List"),
            ("> 7 <", ">-7<"),
            ("> 7 <", "><"),
            (">false<", ">maybe<"),
            ("a%20b", "%ff"),
            ("</Name>", ""),
        ] {
            assert_eq!(parse(&document.replace(from, to)), None, "{from} {to}");
        }
    }
}
