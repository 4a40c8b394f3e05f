//! A flood of one room delays nobody in another by more than milliseconds.
//!
//! The figures are those of
//! `cargo bench -p benches --bench sockets -- --scene flood`.

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

/// How long each flood is measured.
const DURATION: Duration = Duration::from_millis(1_500);

/// Bytes of the flood that go before a message of the other room: 2 MiB may be on their way to the
/// flooded room in a shard, and a turn of 512 KiB is being written. A busy machine slows both rooms,
/// and leaves this as it is.
const AHEAD_BYTES_MAX: f64 = 2.5 * 1_048_576.0;

/// Far above what it takes on a busy machine, 0.35 s.
const WORST_MAX: Duration = Duration::from_secs(1);

/// Starts a server that floods, with two worker threads.
async fn start() -> Server {
    let mut command = Command::new(env::current_exe().expect("a test knows its path"));
    command.args(["flooded", "--exact", "--ignored", "--nocapture", "--test-threads", "2"]);
    Server::start(command.env(ROLE, "1")).await
}

/// The server's process, where it is one. It ends by being killed.
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
        let clients = Clients::enter(server.addr()).expect("all get in");
        for tasks in [0, 1, 4, 16] {
            let measured = clients.measure(tasks, DURATION, || Ok(server.cpu()));
            let measured = measured.expect("each echo comes, and nobody is lost");
            let ahead = bytes_ahead(&measured);
            println!("{tasks} tasks: {ahead:.0} bytes ahead, {measured:?}");
            assert!(ahead <= AHEAD_BYTES_MAX, "{tasks} tasks: {ahead:.0} bytes, {measured:?}");
            assert!(measured.echo_worst <= WORST_MAX, "{tasks} tasks: {measured:?}");
        }
    });
}

/// How much of the flood a member reads while an echo is under way, in the median.
fn bytes_ahead(measured: &Measured) -> f64 {
    let bytes = measured.deliveries as f64 / MEMBERS as f64 * MESSAGE_BYTES as f64;
    bytes / measured.elapsed.as_secs_f64() * measured.echo_median.as_secs_f64()
}
