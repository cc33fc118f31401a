//! Running a program, for no longer than it may take.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of output.
const LARGEST_OUTPUT: u64 = 64 * 1024;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What a command of the shell prints; it and all that it has started end within `limit`. To be called
/// from a thread without signals: this one waits.
///
/// # Errors
/// It can't be started, takes too long, prints too much, or ends with another status than 0.
pub fn run_command(command: &str, limit: Duration) -> io::Result<Vec<u8>> {
    let end = Instant::now() + limit;
    // A group of its own can be killed whole.
    let mut child = Command::new("/bin/sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let output = match child.stdout.take() {
        Some(pipe) => read(pipe, end),
        None => Err(io::Error::other("it has no output")),
    };
    let status = output.and_then(|output| Ok((output, wait(&mut child, end)?)));
    if status.is_err() {
        kill(&child);
    }
    match status? {
        (output, None) => Ok(output),
        (output, Some(status)) if status.success() => Ok(output),
        (_, Some(status)) => Err(io::Error::other(format!("it ended with {status}"))),
    }
}

fn read(pipe: impl Read + Send + 'static, end: Instant) -> io::Result<Vec<u8>> {
    let (send, receive) = mpsc::channel();
    // Born with the signals of the calling thread: none.
    thread::Builder::new()
        .name("rts3-output".to_owned())
        .spawn(move || {
            let mut output = Vec::new();
            let result = pipe.take(LARGEST_OUTPUT + 1).read_to_end(&mut output);
            let _ = send.send(result.map(|_| output));
        })?;
    match receive.recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(Ok(output)) if output.len() as u64 > LARGEST_OUTPUT => Err(io::Error::other("it prints too much")),
        Ok(result) => result,
        Err(_) => Err(too_long()),
    }
}

/// Its status; None: another part of this process, such as a handler of SIGCHLD, has taken it.
fn wait(child: &mut Child, end: Instant) -> io::Result<Option<std::process::ExitStatus>> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(Some(status)),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return Ok(None),
            Err(error) => return Err(error),
            Ok(None) if Instant::now() >= end => return Err(too_long()),
            Ok(None) => thread::sleep(LOOK_AGAIN),
        }
    }
}

fn kill(child: &Child) {
    if let Ok(group) = libc::pid_t::try_from(child.id()) {
        // SAFETY: sends a signal to the group of a child that was not waited for; its number is not
        // used again before that, unless another part of this process has waited for it.
        unsafe {
            libc::killpg(group, libc::SIGKILL);
            libc::waitpid(group, std::ptr::null_mut(), libc::WNOHANG);
        }
    }
}

fn too_long() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it takes too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, limit: u64) -> Result<String, String> {
        let output = run_command(command, Duration::from_millis(limit));
        output
            .map(|output| String::from_utf8(output).unwrap())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn what_a_command_prints() {
        let run = |command| run(command, 20_000);
        assert_eq!(run("printf 'a b'; printf x >&2").unwrap(), "a b");
        assert!(run("exit 3").unwrap_err().contains("exit status: 3"));
        assert!(run("no-such-program-here 2>/dev/null").is_err());
        assert_eq!(run("yes").unwrap_err(), "it prints too much");
    }

    #[test]
    fn it_ends_in_time_with_all_that_it_started() {
        let start = Instant::now();
        for command in ["sleep 20", "sleep 20 & echo $!", "exec >&-; sleep 20"] {
            assert_eq!(run(command, 500).unwrap_err(), "it takes too long", "{command}");
        }
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
