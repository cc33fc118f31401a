//! Keys in variables of the environment.

use super::{Held, NoKeys, Search, Sourced};
use crate::config::Keys;

const ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";

pub(super) fn look(search: &Search<'_>) -> Sourced {
    let half = |given: &str, missing: &str| NoKeys::Failed(format!("{given} is set, and {missing} is not"));
    match (search.variable(ID), search.variable(SECRET)) {
        (Some(id), Some(secret)) => {
            let token = search.variable("AWS_SESSION_TOKEN");
            let keys = Keys::checked(&id, &secret, token.as_deref())
                .map_err(|name| NoKeys::Failed(format!("the {name} has a character that no key has")))?;
            Ok(Held::for_good(keys))
        }
        (Some(_), None) => Err(half(ID, SECRET)),
        (None, Some(_)) => Err(half(SECRET, ID)),
        (None, None) => Err(NoKeys::Absent(format!("{ID} is not set"))),
    }
}
