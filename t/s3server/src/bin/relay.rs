//! A server as if it were far away: passes connections on to a port of this machine, each byte half a round trip
//! later in either direction, and the first one after another whole one: that of the handshake.
//!
//! `relay PORT ROUND_TRIP_MS` writes its own port on its standard output, and ends when its standard input does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// What is read at once.
const PIECE: usize = 256 * 1024;
/// Pieces on their way in one direction: no sender is held up by that.
const ON_THEIR_WAY: usize = 10_000;

fn main() -> std::io::Result<()> {
    let numbers: Vec<u16> = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse().ok())
        .collect();
    let [port, round_trip] = numbers[..] else {
        eprintln!("relay PORT ROUND_TRIP_MS");
        std::process::exit(64);
    };
    let round_trip = Duration::from_millis(round_trip.into());
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    println!("{}", listener.local_addr()?.port());
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    for client in listener.incoming() {
        let client = client?;
        thread::spawn(move || relay(client, port, round_trip));
    }
    Ok(())
}

fn relay(client: TcpStream, port: u16, round_trip: Duration) {
    thread::sleep(round_trip);
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
        return;
    };
    for (from, to) in [(&client, &server), (&server, &client)] {
        let _ = from.set_nodelay(true);
        if let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) {
            thread::spawn(move || carry(from, to, round_trip / 2));
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, time: Duration) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(ON_THEIR_WAY);
    thread::spawn(move || {
        for (due, piece) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut piece = vec![0; PIECE];
    while let Ok(size @ 1..) = from.read(&mut piece) {
        if sender
            .send((Instant::now() + time, piece[..size].to_vec()))
            .is_err()
        {
            return;
        }
    }
}
