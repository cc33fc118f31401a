//! Keys that a profile in AWS's files names.

mod files;

use super::sts::{Role, Sts};
use super::{container, environment, instance, program, web_identity, Held, NoKeys, Search, Sourced};
use crate::config::{Credentials, Keys};
use crate::error::quoted;
use files::{Profile, Profiles};

/// Settings of profiles that need a person, or a program of AWS's.
const UNSUPPORTED: [&str; 5] = [
    "sso_session",
    "sso_start_url",
    "sso_account_id",
    "login_session",
    "mfa_serial",
];

pub(super) async fn look(search: &Search<'_>) -> Sourced {
    let named = match &search.config.credentials {
        Credentials::Sought {
            profile: Some(profile),
            ..
        } => Some(profile.clone()),
        _ => search.variable("AWS_PROFILE"),
    };
    let profiles = Profiles::read(search)?;
    let name = named.clone().unwrap_or_else(|| "default".to_owned());
    match profiles.get(&name) {
        None if named.is_some() => return Err(missing(&profiles, &name)),
        None => {
            let text = match profiles.problems.as_slice() {
                [] => "there is no profile 'default'".to_owned(),
                problems => problems.join(", "),
            };
            return Err(NoKeys::Absent(text));
        }
        Some(profile) if named.is_none() && !says_something(profile) => {
            return Err(NoKeys::Absent("the profile 'default' has no keys".to_owned()));
        }
        Some(_) => {}
    }
    let plan = Plan::of(&profiles, name)?;
    let mut held = plan.base.look(search).await?;
    for (role, region) in plan.roles.iter().rev() {
        let sts = Sts::new(search, region.as_deref())?;
        held = sts.assume_role(search, role, &held.keys).await?;
    }
    Ok(held)
}

fn missing(profiles: &Profiles, name: &str) -> NoKeys {
    let mut places = profiles.read.join(" and ");
    if places.is_empty() {
        "any file".clone_into(&mut places);
    }
    let problems = profiles
        .problems
        .iter()
        .map(|problem| format!("; {problem}"))
        .collect::<String>();
    NoKeys::Failed(format!(
        "there is no profile {} in {places}{problems}",
        quoted(name)
    ))
}

fn says_something(profile: &Profile) -> bool {
    let settings = [
        "aws_access_key_id",
        "aws_secret_access_key",
        "role_arn",
        "credential_process",
        "web_identity_token_file",
    ];
    settings
        .iter()
        .chain(&UNSUPPORTED)
        .any(|setting| profile.contains_key(*setting))
}

/// The roles to assume, the last one first, and the keys to begin with.
#[derive(Debug)]
struct Plan {
    /// Each with the region of its profile.
    roles: Vec<(Role, Option<String>)>,
    base: Base,
}

/// Where the first keys come from.
#[derive(Debug)]
enum Base {
    Keys(Keys),
    Environment,
    Container,
    Instance,
    Program(String),
    WebIdentity {
        role: Role,
        file: String,
        region: Option<String>,
    },
}

impl Base {
    async fn look(self: &Base, search: &Search<'_>) -> Sourced {
        let sourced = match self {
            Base::Keys(keys) => return Ok(Held::for_good(keys.clone())),
            Base::Environment => environment::look(search),
            Base::Container => container::look(search).await,
            Base::Instance => instance::look(search).await,
            Base::Program(command) => program::run(command).await,
            Base::WebIdentity { role, file, region } => {
                web_identity::assume(search, &Sts::new(search, region.as_deref())?, role, file).await
            }
        };
        // The profile names it, so it should be there.
        sourced.map_err(|no_keys| match no_keys {
            NoKeys::Absent(text) => NoKeys::Failed(text),
            other => other,
        })
    }
}

impl Plan {
    fn of(profiles: &Profiles, name: String) -> Result<Self, NoKeys> {
        let mut roles = Vec::new();
        let mut seen = Vec::new();
        let mut name = name;
        let base = loop {
            let profile = profiles.get(&name).ok_or_else(|| missing(profiles, &name))?;
            let refused = |text: &str| Err(NoKeys::Failed(format!("the profile {} {text}", quoted(&name))));
            let setting = |name: &str| profile.get(name).filter(|value| !value.is_empty()).cloned();
            if let Some(unsupported) = UNSUPPORTED.iter().find(|name| profile.contains_key(**name)) {
                return refused(&format!(
                    "has {unsupported}, which is not supported: it needs a person to sign in; use keys, a role, or credential_process"
                ));
            }
            let region = setting("region");
            // A profile may be its own source, with its own keys.
            let is_own_source = seen.last() == Some(&name) && profile.contains_key("aws_access_key_id");
            let arn = setting("role_arn").filter(|_| !is_own_source);
            if let Some(arn) = arn {
                let role = Role {
                    arn,
                    session_name: setting("role_session_name"),
                    external_id: setting("external_id"),
                    duration_seconds: setting("duration_seconds"),
                };
                if let Some(file) = setting("web_identity_token_file") {
                    break Base::WebIdentity { role, file, region };
                }
                if seen.contains(&name) {
                    return refused("is its own source_profile in the end");
                }
                roles.push((role, region));
                match (setting("source_profile"), setting("credential_source").as_deref()) {
                    (Some(_), Some(_)) => return refused("has both source_profile and credential_source"),
                    (Some(source), None) => {
                        seen.push(std::mem::replace(&mut name, source));
                        continue;
                    }
                    (None, Some("Environment")) => break Base::Environment,
                    (None, Some("EcsContainer")) => break Base::Container,
                    (None, Some("Ec2InstanceMetadata")) => break Base::Instance,
                    (None, Some(other)) => {
                        return refused(&format!(
                            "has credential_source {}: allowed are Environment, EcsContainer and Ec2InstanceMetadata",
                            quoted(other)
                        ))
                    }
                    (None, None) => return refused("has role_arn without source_profile or credential_source"),
                }
            }
            match (setting("aws_access_key_id"), setting("aws_secret_access_key")) {
                (Some(id), Some(secret)) => {
                    match Keys::checked(&id, &secret, setting("aws_session_token").as_deref()) {
                        Ok(keys) => break Base::Keys(keys),
                        Err(part) => {
                            return refused(&format!("has a {part} with a character that no key has"))
                        }
                    }
                }
                (None, None) => match setting("credential_process") {
                    Some(command) => break Base::Program(command),
                    None => return refused("has no keys"),
                },
                (Some(_), None) => return refused("has aws_access_key_id without aws_secret_access_key"),
                (None, Some(_)) => return refused("has aws_secret_access_key without aws_access_key_id"),
            }
        };
        Ok(Plan { roles, base })
    }
}
