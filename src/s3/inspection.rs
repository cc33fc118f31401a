//! What the bucket says of itself, for whoever looks whether it is as it should be.

use rusoto_s3::{GetBucketLocationRequest, S3};

use super::client::Client;
use super::retry::Budget;
use super::session::{Expected, Operation};
use crate::error::{quoted, Code, Error, Result};

/// The names of its documents, the operations that read them, and their queries.
const DOCUMENTS: [(&str, &str, &str); 9] = [
    ("location", "GetBucketLocation", "location="),
    ("lifecycle", "GetBucketLifecycleConfiguration", "lifecycle="),
    ("versioning", "GetBucketVersioning", "versioning="),
    ("encryption", "GetBucketEncryption", "encryption="),
    ("object-lock", "GetObjectLockConfiguration", "object-lock="),
    ("policyStatus", "GetBucketPolicyStatus", "policyStatus="),
    ("publicAccessBlock", "GetPublicAccessBlock", "publicAccessBlock="),
    ("acl", "GetBucketAcl", "acl="),
    ("uploads", "ListMultipartUploads", "max-uploads=1000&uploads="),
];

impl Client {
    /// A document of the bucket, in XML, as the server gives it.
    ///
    /// # Errors
    /// [`Code::Argument`] for a document that does not exist.
    pub async fn document(&self, budget: &Budget, name: &str) -> Result<String> {
        let Some((_, operation, query)) = DOCUMENTS.into_iter().find(|(known, ..)| *known == name) else {
            let known: Vec<&str> = DOCUMENTS.iter().map(|(known, ..)| *known).collect();
            let text = format!(
                "there is no document {}; there are {}",
                quoted(name),
                known.join(", ")
            );
            return Err(Error::new(Code::Argument, text));
        };
        let operation = Operation {
            expected: Expected::Document,
            query: Some(query),
            ..Operation::new(budget, operation, None)
        };
        let read = self.session.run(&operation, async |s3, exchange| {
            // Any operation on the bucket that GET is; the query says which.
            let request = GetBucketLocationRequest {
                bucket: self.config().bucket.clone(),
                expected_bucket_owner: self.config().written.bucket_owner.clone(),
            };
            let answer = s3.get_bucket_location(request).await;
            // rusoto has seen nothing of it.
            let document = exchange.answered().document.take();
            match (document, answer) {
                (Some(document), _) => Ok(document),
                (None, Ok(_)) => Ok(String::new()),
                (None, Err(error)) => Err(exchange.failure(error)),
            }
        });
        read.await
            .map_err(|given_up| self.session.describe(&operation, given_up))
    }
}
