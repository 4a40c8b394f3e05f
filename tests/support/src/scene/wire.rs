//! Raw bytes of clients that violate the protocol.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub use crate::frames::{RSV1, deflated, frame, header};

/// Opcodes with FIN set.
pub const TEXT: u8 = 0x81;
pub const CLOSE: u8 = 0x88;
pub const PING: u8 = 0x89;
/// The FIN bit, which a fragment does not have.
pub const FIN: u8 = 0x80;
/// The last fragment of a message.
pub const CONTINUATION: u8 = 0x80;

/// A valid request for an upgrade in a room.
pub fn upgrade_request(room: &str) -> String {
    format!(
        "GET /ws/{room} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// The same, with a value of the header `Sec-WebSocket-Extensions`.
pub fn upgrade_request_with(room: &str, offers: &str) -> String {
    let request = upgrade_request(room);
    let (head, end) = request.split_at(request.len() - 2);
    format!("{head}Sec-WebSocket-Extensions: {offers}\r\n{end}")
}

/// A TCP connection that ends with a reset when it is dropped, so that many connections leave no ports in use.
pub async fn dial(addr: SocketAddr, receive_buffer: Option<u32>) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.set_zero_linger()?;
    socket.set_nodelay(true)?;
    socket.connect(addr).await
}

/// A connection after its handshake.
pub async fn enter(addr: SocketAddr, room: &str, receive_buffer: Option<u32>) -> TcpStream {
    let mut stream = dial(addr, receive_buffer).await.expect("the server listens");
    stream.write_all(upgrade_request(room).as_bytes()).await.expect("sent");
    let status = read_head(&mut stream).await;
    assert_eq!(status.as_deref(), Some("101"));
    stream
}

/// Reads exactly the head of a response, and returns its status.
pub async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    head.split(' ').nth(1).map(str::to_owned)
}

/// Reads and discards frames up to the close frame. Returns the code of the close frame, or `None` if the stream ends
/// without a close frame.
pub async fn read_to_close(stream: &mut (impl AsyncReadExt + Unpin)) -> Option<u16> {
    loop {
        let first = stream.read_u8().await.ok()?;
        let length = match stream.read_u8().await.ok()? {
            126 => stream.read_u16().await.ok()?.into(),
            127 => stream.read_u64().await.ok()?,
            length => length.into(),
        };
        if first == CLOSE {
            return stream.read_u16().await.ok();
        }
        tokio::io::copy(&mut stream.take(length), &mut tokio::io::sink()).await.ok()?;
    }
}
