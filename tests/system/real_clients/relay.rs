//! A relay in front of the server that counts the compressed messages of each path.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const READ_BYTES: usize = 16 * 1024;

/// Data messages of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) messages: u64,
    pub(crate) compressed: u64,
}

/// The messages of all connections with one path: from the clients, and to them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Traffic {
    pub(crate) up: Counts,
    pub(crate) down: Counts,
}

type Ledger = Arc<Mutex<HashMap<String, Traffic>>>;

/// A TCP relay on loopback, in the test's runtime. It accepts no more connections when it is dropped.
pub(crate) struct Relay {
    pub(crate) addr: SocketAddr,
    ledger: Ledger,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let addr = listener.local_addr().expect("a listener has an address");
        let ledger = Ledger::default();
        let task = tokio::spawn(accept(listener, target, ledger.clone()));
        Self { addr, ledger, task }
    }

    pub(crate) fn counts(&self, path: &str) -> Traffic {
        self.ledger.lock().expect("no thread panics").get(path).copied().unwrap_or_default()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, ledger: Ledger) {
    loop {
        let (client, _) = listener.accept().await.expect("there are descriptors left");
        let ledger = ledger.clone();
        // An error means that one side is gone; the relay then closes the other side.
        tokio::spawn(async move { carry(client, target, ledger).await.ok() });
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, ledger: Ledger) -> io::Result<()> {
    let mut server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let request = pass_head(&mut client, &mut server).await?;
    let response = pass_head(&mut server, &mut client).await?;
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let is_upgraded = response.starts_with("HTTP/1.1 101 ");
    let count = |is_up: bool| {
        let (ledger, path) = (ledger.clone(), path.clone());
        move |first: u8| {
            let mut ledger = ledger.lock().expect("no thread panics");
            let traffic = ledger.entry(path.clone()).or_default();
            let counts = if is_up { &mut traffic.up } else { &mut traffic.down };
            counts.note(first);
        }
    };
    let (mut up, mut down) = (Frames::new(is_upgraded), Frames::new(is_upgraded));
    tokio::try_join!(
        forward(&mut from_client, &mut to_server, |bytes| up.read(bytes, count(true))),
        forward(&mut from_server, &mut to_client, |bytes| down.read(bytes, count(false))),
    )?;
    Ok(())
}

/// Passes on exactly one head, and returns it.
async fn pass_head(from: &mut TcpStream, to: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    to.write_all(&head).await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn forward(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut look: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let bytes = from.read(&mut buffer).await?;
        if bytes == 0 {
            return to.shutdown().await;
        }
        look(&buffer[..bytes]);
        to.write_all(&buffer[..bytes]).await?;
    }
}

impl Counts {
    /// Counts a frame with this first byte, unless it is a control frame or a later fragment.
    fn note(&mut self, first: u8) {
        if matches!(first & 0x0F, 1 | 2) {
            self.messages += 1;
            self.compressed += u64::from(first & 0x40 != 0);
        }
    }
}

/// Finds the frames in a stream of bytes.
struct Frames {
    is_upgraded: bool,
    /// The bytes so far of a header that is not complete.
    header: Vec<u8>,
    /// The bytes that are left of the payload.
    payload_bytes: u64,
}

impl Frames {
    fn new(is_upgraded: bool) -> Self {
        Self { is_upgraded, header: Vec::new(), payload_bytes: 0 }
    }

    /// Calls `on_frame` with the first byte of each frame whose header ends in `bytes`.
    fn read(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(u8)) {
        while self.is_upgraded && !bytes.is_empty() {
            if self.payload_bytes > 0 {
                let skipped = self.payload_bytes.min(bytes.len() as u64);
                self.payload_bytes -= skipped;
                bytes = &bytes[skipped as usize..];
                continue;
            }
            self.header.push(bytes[0]);
            bytes = &bytes[1..];
            if let Some(payload_bytes) = payload_bytes(&self.header) {
                self.payload_bytes = payload_bytes;
                on_frame(self.header[0]);
                self.header.clear();
            }
        }
    }
}

/// The length of the payload, if the header is complete.
fn payload_bytes(header: &[u8]) -> Option<u64> {
    let second = *header.get(1)?;
    let length = second & 0x7F;
    let size_bytes = [0, 2, 8][usize::from(length.saturating_sub(125))];
    let mask_bytes = if second & 0x80 != 0 { 4 } else { 0 };
    let size = header.get(2..2 + size_bytes)?;
    let is_complete = header.len() == 2 + size_bytes + mask_bytes;
    let extended = size.iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
    is_complete.then_some(if size_bytes == 0 { length.into() } else { extended })
}
