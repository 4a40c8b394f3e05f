//! The memory of idle connections, by the bytes that the process asks its allocator for.
#![cfg(target_pointer_width = "64")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use roomcast::{Close, Conn, Handler, Hub, Server};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::upgrade_request;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// So many clients connect before the measurement, and as many during it. Lists double their space when it is full. With
/// 1,024 and with 2,048 connections they are just full, so no space that nobody uses counts.
const CONNECTIONS: usize = 1_024;

/// The sum in the table of an idle connection, on the page `tuning`.
const BYTES: f64 = 800.0;

const DEADLINE: Duration = Duration::from_secs(60);

struct Room;

impl Handler<String> for Room {
    async fn on_connect(&self, conn: &Conn<String>) -> Result<(), Close> {
        Ok(conn.join(conn.param("room")).await?)
    }
}

/// Connects without a task or a buffer, so that only the server's memory counts.
fn connect(addr: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(addr).expect("the server listens");
    client.write_all(upgrade_request("/ws/room").as_bytes()).expect("sent");
    let mut response = [0; 1_024];
    let length = client.read(&mut response).expect("answered");
    assert!(response[..length].starts_with(b"HTTP/1.1 101"), "{response:?}");
    client
}

fn serve(runtime: &Runtime, hub: &Hub<String>) -> SocketAddr {
    let (addr, bound) = oneshot::channel();
    let endpoint = hub.handle(Room);
    runtime.spawn(async move {
        let server = Server::bind("127.0.0.1:0").await.expect("a free port");
        addr.send(server.local_addr().expect("it is bound")).expect("the test waits");
        server.route("/ws/{room}", endpoint).expect("a free path").run().await;
    });
    bound.blocking_recv().expect("it serves")
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "in time");
        thread::yield_now();
    }
}

#[test]
fn idle_connection_takes_the_bytes_of_the_account() {
    rlimit::increase_nofile_limit(8_192).expect("a limit may be raised up to its maximum");
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let hub = runtime.block_on(async { Hub::builder().shards(1).build().expect("in range") });
    let addr = serve(&runtime, &hub);
    let mut clients = Vec::with_capacity(2 * CONNECTIONS);
    let mut add_clients = || {
        clients.extend((0..CONNECTIONS).map(|_| connect(addr)));
        wait_until(|| hub.member_count("room") == clients.len());
        // Each handshake is a task, and so is a session that does not rest yet. The hub and its server have fewer
        // than 16 tasks.
        wait_until(|| runtime.metrics().num_alive_tasks() < 16);
    };
    add_clients();
    let region = Region::new(ALLOCATOR);
    add_clients();
    let change = region.change();
    let held = change.bytes_allocated as f64 - change.bytes_deallocated as f64;
    let each = held / CONNECTIONS as f64;
    println!("an idle connection: {each:.1} bytes");
    assert!((each - BYTES).abs() < 20.0, "{each:.1}: the table is out of date");
}
