//! A flood of one room delays the members of other rooms by milliseconds only.
//!
//! `cargo bench -p benches --bench sockets -- --scene flood` measures the same.

use std::env;
use std::process::Command;
use std::time::Duration;

use roomcast::Server as RoomcastServer;
use tokio::task::block_in_place;

use crate::raise_descriptor_limit;
use support::flood::clients::{Clients, MEMBERS, Measured};
use support::flood::{MESSAGE_BYTES, server};
use support::scene::server::Server;

/// Set in the environment of the server's process.
const ROLE: &str = "ROOMCAST_FAULTS_FLOODED";

/// The time for which each flood is measured.
const DURATION: Duration = Duration::from_millis(1_500);

/// The most bytes of the flood that may precede a message of the other room: in a shard, 2 MiB may be
/// queued for the flooded room, and a turn of 512 KiB is being written. A busy machine slows both rooms,
/// and does not change this figure.
const AHEAD_BYTES_MAX: f64 = 2.5 * 1_048_576.0;

/// The bound of the slowest echo: far above the 0.35 s of a busy machine.
const WORST_MAX: Duration = Duration::from_secs(1);

/// Starts a server that floods, with two worker threads.
async fn start() -> Server {
    let mut command = Command::new(env::current_exe().expect("a test knows its path"));
    command.args(["flooded", "--exact", "--ignored", "--nocapture", "--test-threads", "2"]);
    Server::start(command.env(ROLE, "1")).await
}

/// Serves, if this process is the server. The test kills the process.
pub(crate) async fn serve() {
    if env::var(ROLE).is_err() {
        return;
    }
    raise_descriptor_limit();
    let server = RoomcastServer::bind("127.0.0.1:0").await.expect("a free port");
    println!("\nlistening on http://{}", server.local_addr().expect("an address"));
    server::serve(server, 2).await.expect("the settings are in range");
}

#[tokio::test(flavor = "multi_thread")]
async fn flood_of_a_room_does_not_delay_another_room() {
    raise_descriptor_limit();
    let server = start().await;
    block_in_place(|| {
        let clients = Clients::enter(server.addr()).expect("all clients connect");
        for tasks in [0, 1, 4, 16] {
            let measured = clients.measure(tasks, DURATION, || Ok(server.cpu()));
            let measured = measured.expect("each echo arrives, and no client is lost");
            let ahead = bytes_ahead(&measured);
            println!("{tasks} tasks: {ahead:.0} bytes ahead, {measured:?}");
            assert!(ahead <= AHEAD_BYTES_MAX, "{tasks} tasks: {ahead:.0} bytes, {measured:?}");
            assert!(measured.echo_worst <= WORST_MAX, "{tasks} tasks: {measured:?}");
        }
    });
}

/// The bytes of the flood that a member reads during an echo, in the median.
fn bytes_ahead(measured: &Measured) -> f64 {
    let bytes = measured.deliveries as f64 / MEMBERS as f64 * MESSAGE_BYTES as f64;
    bytes / measured.elapsed.as_secs_f64() * measured.echo_median.as_secs_f64()
}
