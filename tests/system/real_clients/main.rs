//! Clients of other projects that compress: browsers, packages of Node.js and packages of Python.
//!
//! All clients are members of one room, whose messages share a window. The members join at different moments, and miss
//! messages. Each member reports every message that it got, over a connection that is not compressed. A relay in front
//! of the server counts the compressed messages.
//!
//! `bash tests/run.sh` installs the clients.

mod clients;
mod messages;
mod relay;
mod room;
mod server;

use std::process::Command;
use std::time::Instant;

use tokio::task::spawn_blocking;

use clients::{KINDS, clients_folder, script};
use relay::Counts;
use room::Room;
use server::Server;

/// The kinds of clients that send all messages plain, although they inflate.
const NEVER_COMPRESS: &[&str] = &["undici"];

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_all_kinds_read_a_room_that_shares_a_window() {
    let began = Instant::now();
    let mut room = Room::open(Server::start().await).await;
    println!("{:.1} s until all clients were connected", began.elapsed().as_secs_f64());
    room.run().await;
    room.close().await;
    for (kind, _) in KINDS {
        check(kind, &room.server);
    }
    let stats = room.server.hub.stats();
    println!(
        "{} bytes compressed to {}; {} key frames; {} bursts out of step; {:.1} s in all",
        stats.compressed_bytes_before,
        stats.compressed_bytes_after,
        stats.key_frames,
        stats.out_of_step,
        began.elapsed().as_secs_f64(),
    );
    assert!(stats.key_frames > 1 && stats.out_of_step > 0, "the room is in midstream: {stats:?}");
    assert_eq!(stats.evictions(), 0);
}

/// Checks what the relay has counted for a kind of client.
fn check(kind: &str, server: &Server) {
    let member = server.relay.counts(&format!("/member/{kind}"));
    let echo = server.relay.counts(&format!("/echo/{kind}"));
    let report = server.relay.counts(&format!("/report/{kind}"));
    println!(
        "{kind}: {} of {} messages of the room came compressed, and {} of {} echoes; \
         {} of {} messages left compressed",
        member.down.compressed,
        member.down.messages,
        echo.down.compressed,
        echo.down.messages,
        echo.up.compressed,
        echo.up.messages,
    );
    let are_many = |Counts { messages, compressed }| compressed > messages / 3;
    assert!(are_many(member.down) && are_many(echo.down), "{kind} inflates: {member:?}, {echo:?}");
    assert_eq!(are_many(echo.up), !NEVER_COMPRESS.contains(&kind), "{kind} compresses: {echo:?}");
    assert_eq!(report.up.compressed, 0, "reports are plain");
    assert_eq!(report.up.messages, member.down.messages + 2, "all messages are reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_echoes_with_all_parameters_of_the_extension() {
    let server = Server::start().await;
    let python = clients_folder().join("venv/bin/python");
    let mut command = Command::new(python);
    command.arg(script("settings.py")).arg(format!("ws://{}/echo/settings", server.relay.addr));
    let status = spawn_blocking(move || command.status()).await.expect("no panic");
    assert!(status.expect("Python can be started").success());
}
