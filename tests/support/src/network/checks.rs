//! Checks of the test network against its profiles, with plain TCP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::namespaces::SERVER;
use super::relay::client_addr;
use super::{Network, Profile};

/// The extra time that a busy machine may add.
const SLACK: Duration = Duration::from_millis(200);

/// The time without bytes after which the test considers a link dead.
const SILENCE: Duration = Duration::from_millis(300);

/// The result of an operation of the client, and its duration.
struct Taken {
    to_connect: Duration,
    to_receive: Duration,
}

/// Serves one client: sends this many bytes for each byte from the client.
async fn serve(address: oneshot::Sender<SocketAddr>, bytes: usize) {
    let listener = TcpListener::bind((SERVER, 0)).await.expect("the address is there");
    let addr = listener.local_addr().expect("it is bound");
    address.send(addr).expect("the client waits");
    let (mut stream, peer) = listener.accept().await.expect("a client comes");
    assert_eq!(peer.ip(), client_addr(0));
    while stream.read_u8().await.is_ok() {
        stream.write_all(&vec![0; bytes]).await.expect("the client reads");
    }
}

async fn connect(server: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a descriptor is left");
    socket.bind((client_addr(0), 0).into()).expect("the address is there");
    socket.connect(server).await.expect("the server listens")
}

/// Requests bytes; `None` if the bytes do not arrive in time.
async fn receive(stream: &mut TcpStream, bytes: usize, patience: Duration) -> Option<Duration> {
    let began = Instant::now();
    stream.write_u8(0).await.expect("the connection is open");
    let mut received = vec![0; bytes];
    timeout(patience, stream.read_exact(&mut received)).await.ok()?.expect("the server writes");
    Some(began.elapsed())
}

fn time(profile: Profile, bytes: usize) -> Option<Taken> {
    let network = Network::lay_or_skip(&[profile])?;
    let (address, told) = oneshot::channel();
    network.server.spawn(serve(address, bytes));
    let client = network.clients.spawn(async move {
        let server = told.await.expect("the server reports its address");
        let began = Instant::now();
        let mut stream = connect(server).await;
        let to_connect = began.elapsed();
        let to_receive = receive(&mut stream, bytes, Duration::from_secs(30)).await;
        Taken { to_connect, to_receive: to_receive.expect("in time") }
    });
    Some(wait(client))
}

fn wait<T>(task: tokio::task::JoinHandle<T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(task).expect("the task does not panic")
}

#[test]
fn connecting_takes_a_round_trip() {
    let round_trip = Duration::from_millis(100);
    let Some(taken) = time(Profile::new(round_trip, 100_000_000), 1) else { return };
    for took in [taken.to_connect, taken.to_receive] {
        assert!(took >= round_trip && took < round_trip + SLACK, "{took:?}");
    }
}

#[test]
fn a_mebibyte_takes_the_time_of_the_bandwidth() {
    let bytes = 1024 * 1024;
    let profile = Profile::new(Duration::from_millis(10), 8_000_000);
    let Some(taken) = time(profile, bytes) else { return };
    let least = Duration::from_secs_f64(bytes as f64 / 1e6);
    let most = least + least / 4 + SLACK;
    let took = taken.to_receive;
    assert!(took >= least && took < most, "{took:?}, not {least:?} to {most:?}");
}

#[test]
fn dead_link_drops_all_packets_and_tcp_continues_when_it_recovers() {
    let profile = Profile::new(Duration::from_millis(10), 100_000_000);
    let Some(network) = Network::lay_or_skip(&[profile]) else { return };
    let (address, told) = oneshot::channel();
    network.server.spawn(serve(address, 1));
    let mut stream =
        wait(network.clients.spawn(async move {
            connect(told.await.expect("the server reports its address")).await
        }));
    network.link(0).set_dead(true);
    let (mut stream, got) = wait(network.clients.spawn(async move {
        let got = receive(&mut stream, 1, SILENCE).await;
        (stream, got)
    }));
    assert_eq!(got, None);
    assert!(network.link(0).lost() > 0);
    network.link(0).set_dead(false);
    let got = wait(network.clients.spawn(async move { stream.read_u8().await }));
    assert_eq!(got.expect("what was sent comes after all"), 0);
}
