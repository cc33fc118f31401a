//! What a rule does, read from its JSON.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::Value;

use super::fields::Fields;
use super::{Answer, Break, Fault, How, Keep, Length, Point};
use crate::region::{Refusal, Region};

type Headers = Vec<(HeaderName, HeaderValue)>;

impl Fault {
    /// Reads `do`.
    pub fn parse(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let mut breaks = Vec::new();
        for how in [How::Stall, How::Reset, How::Close] {
            breaks.extend(fields.with(how.name(), |value| Break::parse(how, value))?);
        }
        let after = |how, ms: Option<u64>| ms.map(|ms| (how, Duration::from_millis(ms)));
        let fault = Self {
            answer: fields.with("answer", Answer::parse)?,
            raw: fields.string("raw")?.map(String::into_bytes),
            ignore_condition: fields.flag("ignore_condition", false)?,
            refuse_condition: fields.flag("refuse_condition", false)?,
            drop_etag: fields.flag("drop_etag", false)?,
            delay: Duration::from_millis(fields.number("delay_ms")?.unwrap_or(0)),
            breaks,
            rate: fields.take("rate", rate)?,
            upload_rate: fields.take("upload_rate", rate)?,
            flip: fields.with("flip", flip)?,
            keep: fields.with("keep", Keep::parse)?,
            length: fields.with("length", Length::parse)?,
            headers: all_headers(&mut fields)?,
            after: after(How::Close, fields.number("close_ms")?)
                .or(after(How::Reset, fields.number("reset_ms")?)),
            region: fields.with("region", Region::parse)?,
            clock: fields.take("clock_s", Value::as_i64)?,
        };
        fields.end().map(|()| fault)
    }
}

/// Bytes per second.
fn rate(value: &Value) -> Option<u64> {
    value.as_u64().filter(|rate| *rate > 0)
}

fn point(fields: &mut Fields) -> Result<Point, String> {
    let found = fields.take("at", |value| {
        let name = value.as_str()?;
        Point::ALL.into_iter().find(|point| point.name() == name)
    })?;
    found.ok_or_else(|| "at is missing".into())
}

fn flip(value: Value) -> Result<(Point, u64), String> {
    let mut fields = Fields::of(value)?;
    let at = point(&mut fields)?;
    if !matches!(at, Point::Body | Point::Upload) {
        return Err("at is body or upload".into());
    }
    let offset = fields.number("offset")?.unwrap_or(0);
    fields.end().map(|()| (at, offset))
}

fn all_headers(fields: &mut Fields) -> Result<Headers, String> {
    let utf8 = |text: &str| Some(text.as_bytes().to_vec());
    let latin1 = |text: &str| text.chars().map(|c| u8::try_from(c).ok()).collect();
    let mut all = headers(fields, "headers", utf8)?;
    all.extend(headers(fields, "latin1_headers", latin1)?);
    if let Some(bytes) = fields.number("header_bytes")? {
        let value = vec![b'x'; usize::try_from(bytes).map_err(|error| error.to_string())?];
        let value = HeaderValue::from_bytes(&value).map_err(|error| error.to_string())?;
        all.push((HeaderName::from_static("x-amz-meta-long"), value));
    }
    Ok(all)
}

fn headers(
    fields: &mut Fields,
    field: &str,
    bytes: impl Fn(&str) -> Option<Vec<u8>>,
) -> Result<Headers, String> {
    let header = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some((name.parse().ok()?, HeaderValue::from_bytes(&bytes(&text)?).ok()?))
    };
    let found = fields.take(field, |value| value.as_object()?.iter().map(header).collect())?;
    Ok(found.unwrap_or_default())
}

impl Break {
    fn parse(how: How, value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let found = Self {
            how,
            at: point(&mut fields)?,
            after: fields.number("after")?.unwrap_or(0),
        };
        if matches!(found.at, Point::Received | Point::Answered) && found.after > 0 {
            return Err(format!("after has no meaning at {}", found.at.name()));
        }
        fields.end().map(|()| found)
    }
}

impl Keep {
    fn parse(value: Value) -> Result<Self, String> {
        if value == "nothing" {
            return Ok(Self::Nothing);
        }
        let mut fields = Fields::of(value)?;
        let (bytes, flip) = (fields.number("bytes")?, fields.number("flip")?);
        fields.end()?;
        match (bytes, flip) {
            (Some(bytes), None) => Ok(Self::Bytes(bytes)),
            (None, Some(offset)) => Ok(Self::Flip(offset)),
            _ => Err("either bytes or flip".into()),
        }
    }
}

impl Length {
    fn parse(value: Value) -> Result<Self, String> {
        match value.as_str() {
            Some("missing") => return Ok(Self::Missing),
            Some("chunked") => return Ok(Self::Chunked),
            _ => {}
        }
        let mut fields = Fields::of(value)?;
        let (add, say) = (fields.take("add", Value::as_i64)?, fields.string("say")?);
        fields.end()?;
        match (add, say) {
            (Some(add), None) => Ok(Self::Add(add)),
            (None, Some(text)) => Ok(Self::Say(text)),
            _ => Err("either add or say".into()),
        }
    }
}

impl Region {
    fn parse(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let refusal = fields.take("refuse", |value| Refusal::named(value.as_str()?))?;
        let region = Self {
            refusal: refusal.unwrap_or_default(),
            header: fields.flag("header", true)?,
            xml: fields.flag("xml", true)?,
            location: fields.string("location")?,
            ..Self::new(fields.string("name")?.ok_or("name is missing")?)
        };
        if region.refusal == Refusal::Redirect && region.location.is_none() {
            return Err("redirect needs a location".into());
        }
        fields.end().map(|()| region)
    }
}

impl Answer {
    fn parse(value: Value) -> Result<Self, String> {
        let mut fields = Fields::of(value)?;
        let status = fields.take("status", |value| {
            StatusCode::from_u16(value.as_u64()?.try_into().ok()?).ok()
        })?;
        let answer = Self {
            status: status.ok_or("status is missing")?,
            code: fields.string("code")?,
            message: fields
                .string("message")?
                .unwrap_or_else(|| "made up by a rule".into()),
            headers: headers(&mut fields, "headers", |text| Some(text.as_bytes().to_vec()))?,
            body: fields.string("body")?,
            pad: fields.number("pad")?.unwrap_or(0) as usize,
        };
        fields.end().map(|()| answer)
    }
}
