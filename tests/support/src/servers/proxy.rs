//! A TCP proxy between a client and a server: a network that fails on command.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The bytes from the server that the system may hold for a stalled proxy. The default would hide several MiB from the
/// server's own limits.
const RECEIVE_BUFFER_BYTES: u32 = 64 * 1024;

const READ_BYTES: usize = 16 * 1024;

/// A TCP proxy on loopback, in the test's runtime. Its connections end when the proxy is dropped.
pub struct Proxy {
    pub addr: SocketAddr,
    network: watch::Sender<Network>,
    task: JoinHandle<()>,
}

/// The state of the network.
#[derive(Debug, Default)]
struct Network {
    is_stalled: bool,
    /// The number of times that all connections were cut.
    cuts: u64,
}

impl Proxy {
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let (network, receiver) = watch::channel(Network::default());
        Self { addr, network, task: tokio::spawn(accept(listener, target, receiver)) }
    }

    /// The URL of the Redis server behind the proxy.
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr)
    }

    /// Holds all bytes from now on, on existing and on new connections. The proxy loses no byte, so each stream stays
    /// complete.
    pub fn stall(&self) {
        self.network.send_modify(|network| network.is_stalled = true);
    }

    /// Ends [`stall`](Self::stall): the held bytes arrive, and then new bytes.
    pub fn resume(&self) {
        self.network.send_modify(|network| network.is_stalled = false);
    }

    /// Closes all connections. The proxy still accepts new connections.
    pub fn cut(&self) {
        self.network.send_modify(|network| network.cuts += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, network: watch::Receiver<Network>) {
    loop {
        let (client, _) = listener.accept().await.expect("there are descriptors left");
        let cuts = network.borrow().cuts;
        tokio::spawn(carry(client, target, network.clone(), cuts));
    }
}

/// Carries one connection to its end, or to the next cut.
async fn carry(
    client: TcpStream,
    target: SocketAddr,
    mut network: watch::Receiver<Network>,
    cuts: u64,
) {
    let exchange = exchange(client, target, network.clone());
    tokio::select! {
        // An error means that the proxy is gone.
        _ = network.wait_for(|network| network.cuts != cuts) => {}
        // An error means that one side is gone; the proxy then closes the other side.
        _ = exchange => {}
    }
}

async fn exchange(
    client: TcpStream,
    target: SocketAddr,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    flowing(&mut network).await?;
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    let server = socket.connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::try_join!(
        forward(from_client, to_server, network.clone()),
        forward(from_server, to_client, network),
    )?;
    Ok(())
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut network: watch::Receiver<Network>,
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        // Check after the read: bytes that arrive during a stall must wait, too.
        flowing(&mut network).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..bytes]).await?;
    }
}

/// Waits until bytes arrive; an error means that the proxy is gone.
async fn flowing(network: &mut watch::Receiver<Network>) -> io::Result<()> {
    network.wait_for(|network| !network.is_stalled).await.map_err(io::Error::other)?;
    Ok(())
}
