//! AWS's files of profiles.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::super::{NoKeys, Search};

/// One file, and the variable that names another.
struct Place {
    variable: &'static str,
    /// Below the home directory.
    usual: &'static str,
    is_config: bool,
}

/// What both say of one profile; what stands in the file of credentials goes before.
const PLACES: [Place; 2] = [
    Place {
        variable: "AWS_SHARED_CREDENTIALS_FILE",
        usual: ".aws/credentials",
        is_config: false,
    },
    Place {
        variable: "AWS_CONFIG_FILE",
        usual: ".aws/config",
        is_config: true,
    },
];

/// A profile's settings, by name.
pub(super) type Profile = HashMap<String, String>;

/// All profiles, by name.
#[derive(Debug, Default)]
pub(super) struct Profiles {
    profiles: HashMap<String, Profile>,
    /// Where they were read, for messages.
    pub(super) read: Vec<String>,
    /// Why a file could not be.
    pub(super) problems: Vec<String>,
}

impl Profiles {
    /// Reads the files that are there.
    pub(super) fn read(search: &Search<'_>) -> Result<Self, NoKeys> {
        let mut found = Profiles::default();
        for place in &PLACES {
            let named = search.variable(place.variable);
            let home = || Some(PathBuf::from(search.variable("HOME")?).join(place.usual));
            let Some(path) = named.clone().map(PathBuf::from).or_else(home) else {
                continue;
            };
            let shown = path.display().to_string();
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    found.add(&text, place.is_config);
                    found.read.push(shown);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if named.is_some() => {
                    let text = format!("can't read {shown}, which {} names: {error}", place.variable);
                    return Err(NoKeys::Failed(text));
                }
                // Another user's home directory, most likely.
                Err(error) => found.problems.push(format!("can't read {shown}: {error}")),
            }
        }
        Ok(found)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    fn add(&mut self, text: &str, is_config: bool) {
        let mut current = None;
        for line in text.trim_start_matches('\u{feff}').lines() {
            // What is indented belongs to a setting of other services.
            if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
                continue;
            }
            if let Some(section) = line.strip_prefix('[') {
                let section = section.split(']').next().unwrap_or_default();
                current = profile_name(section, is_config);
            } else if let (Some(name), Some((setting, value))) = (&current, line.split_once('=')) {
                let profile = self.profiles.entry(name.clone()).or_default();
                profile
                    .entry(setting.trim().to_ascii_lowercase())
                    .or_insert_with(|| value.trim().to_owned());
            }
            if let Some(name) = &current {
                self.profiles.entry(name.clone()).or_default();
            }
        }
    }
}

/// Which profile a section is; None: something else, such as `[sso-session x]`.
fn profile_name(section: &str, is_config: bool) -> Option<String> {
    let section = section.trim();
    if !is_config || section == "default" {
        return Some(section.to_owned());
    }
    let name = section.strip_prefix("profile")?;
    name.starts_with([' ', '\t']).then(|| name.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_understood() {
        let mut profiles = Profiles::default();
        profiles.add(
            "# mine\n[default]\naws_access_key_id = A\n\n[rt]\r\nAWS_Access_Key_Id=B\r\n",
            false,
        );
        profiles.add(
            "\u{feff}[default]\naws_access_key_id = X\nregion=eu-west-1\ns3 =\n  max_bandwidth = 1\n\
             [profile  rt ]\nrole_arn = r=1\n[rt2]\nregion = x\n[sso-session rt3]\nregion = x\n[profile empty]",
            true,
        );
        let get = |profile: &str, setting: &str| profiles.get(profile)?.get(setting).cloned();
        assert_eq!(get("default", "aws_access_key_id").as_deref(), Some("A"));
        assert_eq!(get("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(get("default", "max_bandwidth"), None);
        assert_eq!(get("rt", "aws_access_key_id").as_deref(), Some("B"));
        assert_eq!(get("rt", "role_arn").as_deref(), Some("r=1"));
        assert!(profiles.get("rt2").is_none() && profiles.get("rt3").is_none());
        assert!(profiles.get("empty").is_some());
    }
}
