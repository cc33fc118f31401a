//! The region of a bucket, and how a server refuses a request that is signed for another one.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;
use hyper::{Response, StatusCode, header};
use s3s::Body;

use crate::address::{Query, Target};
use crate::answer;
use crate::credential::Credential;

/// A region, and how its server speaks.
#[derive(Clone)]
pub struct Region {
    /// As in a credential scope.
    pub name: String,
    /// How requests for another one are refused.
    pub refusal: Refusal,
    /// `x-amz-bucket-region` is told.
    pub header: bool,
    /// The XML tells region and endpoint.
    pub xml: bool,
    /// Where a redirect leads, without the path.
    pub location: Option<String>,
}

/// How a request for another region is refused.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusal {
    /// 301 PermanentRedirect.
    Moved,
    /// 400 AuthorizationHeaderMalformed, as AWS says it.
    #[default]
    Malformed,
    /// The same, as Garage 2.5 says it.
    Garage,
    /// 307 TemporaryRedirect.
    Redirect,
}

impl Refusal {
    /// By its name in a rule.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "moved" => Self::Moved,
            "malformed" => Self::Malformed,
            "garage" => Self::Garage,
            "redirect" => Self::Redirect,
            _ => return None,
        })
    }
}

impl Region {
    /// A region of AWS.
    pub fn new(name: String) -> Self {
        Self {
            name,
            refusal: Refusal::default(),
            header: true,
            xml: true,
            location: None,
        }
    }

    /// The refusal of a request that is signed for another region.
    pub fn refuse(&self, head: &Parts, target: &Target) -> Option<Response<Body>> {
        let query = Query::parse(head.uri.query());
        let credential = Credential::of(head, &query)?;
        let asked = credential.region();
        if asked == self.name {
            return None;
        }
        let is_link = query.has("X-Amz-Credential");
        let mut response = match self.refusal {
            Refusal::Moved => self.moved(target),
            Refusal::Malformed => self.malformed(asked, is_link),
            Refusal::Garage => self.garage(&credential.scope, head.uri.path()),
            Refusal::Redirect => self.redirect(head),
        };
        if self.header
            && self.refusal != Refusal::Garage
            && let Ok(name) = HeaderValue::try_from(&self.name)
        {
            response.headers_mut().insert("x-amz-bucket-region", name);
        }
        Some(response)
    }

    /// The answer to GetBucketLocation.
    pub fn location_answer(&self) -> Response<Body> {
        let name = if self.name == "us-east-1" { "" } else { &self.name };
        answer::xml(
            StatusCode::OK,
            &format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<LocationConstraint \
                 xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{name}</LocationConstraint>"
            ),
        )
    }

    fn told<'a>(&self, elements: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        if self.xml { elements.to_vec() } else { Vec::new() }
    }

    fn moved(&self, target: &Target) -> Response<Body> {
        let bucket = target.bucket.as_deref().unwrap_or_default();
        let endpoint = format!("{bucket}.s3.{}.amazonaws.com", self.name);
        let mut elements = self.told(&[("Region", self.name.as_str()), ("Endpoint", &endpoint)]);
        elements.push(("Bucket", bucket));
        answer::error_with(
            StatusCode::MOVED_PERMANENTLY,
            "PermanentRedirect",
            "The bucket you are attempting to access must be addressed using the specified endpoint. Please send \
             all future requests to this endpoint.",
            &elements,
        )
    }

    fn malformed(&self, asked: &str, is_link: bool) -> Response<Body> {
        let (code, what) = if is_link {
            (
                "AuthorizationQueryParametersError",
                "Error parsing the X-Amz-Credential parameter",
            )
        } else {
            (
                "AuthorizationHeaderMalformed",
                "The authorization header is malformed",
            )
        };
        let message = if self.xml {
            format!("{what}; the region '{asked}' is wrong; expecting '{}'", self.name)
        } else {
            format!("{what}; the region '{asked}' is wrong")
        };
        answer::error_with(
            StatusCode::BAD_REQUEST,
            code,
            &message,
            &self.told(&[("Region", &self.name)]),
        )
    }

    /// The words of garage_api_s3 2.5.0, error.rs.
    fn garage(&self, scope: &str, path: &str) -> Response<Body> {
        let date = scope.split('/').next().unwrap_or_default();
        let expected = format!("{date}/{}/s3/aws4_request", self.name);
        answer::error_with(
            StatusCode::BAD_REQUEST,
            "AuthorizationHeaderMalformed",
            &format!("Authorization header malformed, unexpected scope: '{scope}', expected: '{expected}'"),
            &[("Resource", path), ("Region", &self.name)],
        )
    }

    fn redirect(&self, head: &Parts) -> Response<Body> {
        let base = self.location.as_deref().unwrap_or_default();
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let host = base.split_once("://").map_or(base, |(_, host)| host);
        let mut response = answer::error_with(
            StatusCode::TEMPORARY_REDIRECT,
            "TemporaryRedirect",
            "Please re-send this request to the specified temporary endpoint. Continue to use the original \
             request endpoint for future requests.",
            &self.told(&[("Endpoint", host)]),
        );
        if let Ok(location) = HeaderValue::try_from(format!("{base}{path}")) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}
