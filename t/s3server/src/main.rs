//! The S3 server that the tests and the demo of rts3 run: s3s and s3s-fs, with the manners of the real
//! thing put in where they lack them, a log that tests read, and faults on request.

mod address;
mod answer;
mod args;
mod auth;
mod body;
mod clock;
mod connection;
mod credential;
mod faults;
mod link;
mod log;
mod region;
mod rights;
mod service;
mod store;
mod tls;
mod wire;

use std::io::{Read, Write};
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use crate::args::Args;
use crate::service::Server;
use crate::tls::Tls;

type Error = Box<dyn std::error::Error + Send + Sync>;

fn main() {
    let args = Args::parse(std::env::args().skip(1)).unwrap_or_else(|message| {
        eprintln!("s3server: {message}\n{}", args::USAGE);
        std::process::exit(2);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("start the runtime");
    if let Err(error) = runtime.block_on(run(&args)) {
        eprintln!("s3server: {error}");
        std::process::exit(1);
    }
    // Transfers under way end with the server, as they would with any that is stopped.
    runtime.shutdown_background();
}

async fn run(args: &Args) -> Result<(), Error> {
    let server = Arc::new(Server::new(args)?);
    let http = connection::listen(args.http_port)?;
    let https = connection::listen(args.https_port)?;
    let mut terminate = signal(SignalKind::terminate())?;

    let mut ready = serde_json::json!({
        "http": format!("http://127.0.0.1:{}", http.local_addr()?.port()),
        "https": format!("https://localhost:{}", https.local_addr()?.port()),
    });
    end_with_stdin();
    let tls = Tls::of(&args.tls)?;
    for (name, odd) in tls.odd_ones()? {
        let listener = connection::listen(0)?;
        let port = listener.local_addr()?.port();
        ready[format!("https_{name}")] = format!("https://localhost:{port}").into();
        tokio::spawn(connection::accept(listener, Some(odd), Arc::clone(&server)));
    }
    ready["ca"] = serde_json::to_value(tls::ca_path(&args.tls).canonicalize()?)?;
    tokio::spawn(connection::accept(http, None, Arc::clone(&server)));
    tokio::spawn(connection::accept(https, Some(tls), server));
    writeln!(std::io::stdout(), "{ready}")?;

    terminate.recv().await;
    Ok(())
}

/// Ends the process when standard input does: however the test that started us died, its pipe closes.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let mut buffer = [0; 512];
        while matches!(std::io::stdin().read(&mut buffer), Ok(n) if n > 0) {}
        std::process::exit(0);
    });
}
