//! A token that somebody else has signed, such as the one that EKS gives to a pod, for the keys of a
//! role.

use super::sts::{Role, Sts};
use super::{NoKeys, Search, Sourced};

const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";

pub(super) async fn look(search: &Search<'_>) -> Sourced {
    match (search.variable(TOKEN_FILE), search.variable(ROLE)) {
        (Some(file), Some(role)) => {
            let role = Role {
                arn: role,
                session_name: search.variable("AWS_ROLE_SESSION_NAME"),
                ..Role::default()
            };
            assume(search, &Sts::new(search, None)?, &role, &file).await
        }
        (Some(_), None) => Err(NoKeys::Failed(format!("{TOKEN_FILE} is set, and {ROLE} is not"))),
        (None, _) => Err(NoKeys::Absent(format!("{TOKEN_FILE} is not set"))),
    }
}

/// The keys of a role for the token in a file, which is read anew every time: it is replaced there.
pub(super) async fn assume(search: &Search<'_>, sts: &Sts, role: &Role, file: &str) -> Sourced {
    let token = std::fs::read_to_string(file)
        .map_err(|error| NoKeys::Failed(format!("can't read the token in {file}: {error}")))?;
    match token.trim() {
        "" => Err(NoKeys::Failed(format!("there is no token in {file}"))),
        token => sts.assume_role_with_web_identity(search, role, token).await,
    }
}
