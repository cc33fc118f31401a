//! A program that prints keys: `credential_process` of a profile.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>

use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;

use super::{answer, NoKeys, Sourced};
use crate::process::{run_command, spawn_without_signals};

const LIMIT: Duration = Duration::from_secs(10);

/// It is waited for in a thread of its own; what it writes to standard error goes where this process's
/// goes.
pub(super) async fn run(command: &str) -> Sourced {
    let (send, receive) = oneshot::channel();
    let command = command.to_owned();
    let spawned = spawn_without_signals("rts3-program", move || {
        // Nobody may be waiting any more.
        let _ = send.send(run_command(&command, LIMIT));
    });
    let failed = |error: &std::io::Error| NoKeys::Passing(format!("credential_process failed: {error}"));
    spawned.map_err(|error| failed(&error))?;
    let output = match receive.await {
        Ok(output) => output.map_err(|error| failed(&error))?,
        Err(_) => return Err(NoKeys::Passing("credential_process was not run".to_owned())),
    };
    let version = serde_json::from_slice::<Value>(&output)
        .ok()
        .and_then(|document| document.get("Version")?.as_u64());
    if version.is_some_and(|version| version != 1) {
        return Err(NoKeys::Failed(
            "credential_process prints a Version other than 1".to_owned(),
        ));
    }
    let held = answer::of_json(&output, "SessionToken", None);
    held.and_then(|held| match version {
        Some(_) => Ok(held),
        None => Err("it gives no Version".to_owned()),
    })
    .map_err(|problem| NoKeys::Failed(format!("credential_process: {problem}")))
}
