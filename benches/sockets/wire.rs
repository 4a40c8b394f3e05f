//! The frames and texts of the load generator's clients: the smallest part of WebSocket that the benchmark needs.

use serde::{Deserialize, Serialize};

use crate::feed::{self, Feed};

/// The mask of all frames. Unmasking costs a server the same for each key.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The `Authorization` header of every client; most servers ignore it.
pub(crate) const AUTHORIZATION: &str = "Bearer secret";

/// The bit of a frame's first byte that says that the message is compressed.
pub(crate) const RSV1: u8 = 0x40;

/// What the clients offer that can inflate, as a browser does.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

/// The protocol of a contestant on top of WebSocket.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `GET /ws/{room}`; the other members get the text of a message unchanged.
    Plain,
    /// Socket.IO, version 5 over Engine.IO 4; a message is an event with one argument.
    SocketIo,
}

impl Dialect {
    /// The target of the request that enters a room.
    pub(crate) fn target(self, room: usize) -> String {
        match self {
            Self::Plain => format!("/ws/room{room}"),
            Self::SocketIo => format!("/socket.io/?EIO=4&transport=websocket&room=room{room}"),
        }
    }

    /// The first message of a client, if the protocol has one.
    pub(crate) fn greeting(self) -> Option<&'static str> {
        (self == Self::SocketIo).then_some("40")
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::SocketIo => "42[\"m\",",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::SocketIo => "]",
        }
    }

    /// Returns a text of `bytes` bytes that has this stamp.
    pub(crate) fn message(self, feed: &mut Feed, stamp: u64, bytes: usize) -> String {
        let (prefix, suffix) = (self.prefix(), self.suffix());
        let json = feed.message(stamp, bytes.saturating_sub(prefix.len() + suffix.len()));
        format!("{prefix}{json}{suffix}")
    }

    /// Returns the stamp of a message; `None` if the text is not a message but, for example, a greeting.
    pub(crate) fn stamp(self, text: &[u8]) -> Option<u64> {
        feed::stamp(text.strip_prefix(self.prefix().as_bytes())?)
    }
}

/// Returns an upgrade request. `offers_deflate`: whether the client says that it can inflate.
pub(crate) fn request(target: &str, offers_deflate: bool) -> String {
    let offer = if offers_deflate { OFFER } else { "" };
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: {AUTHORIZATION}\r\n{offer}\r\n"
    )
}

/// The bytes of a server's frame with this payload, uncompressed.
pub(crate) fn server_frame_bytes(payload: usize) -> usize {
    payload + if payload < 126 { 2 } else { 4 }
}

/// Returns a masked text frame, as clients send.
pub(crate) fn client_frame(text: &str) -> Vec<u8> {
    masked(0x81, text.as_bytes())
}

/// Returns a masked pong, the answer to a ping with this payload.
pub(crate) fn client_pong(payload: &[u8]) -> Vec<u8> {
    masked(0x8a, payload)
}

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()) {
        Ok(bytes) if bytes < 126 => frame.push(0x80 | bytes as u8),
        Ok(bytes) => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&bytes.to_be_bytes());
        }
        Err(_) => unreachable!("messages of this benchmark are shorter than 64 KiB"),
    }
    frame.extend_from_slice(&MASK);
    frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Returns the first byte of the frame at the front of `input`, its unmasked payload, and the length of the
/// whole frame; `None` while the frame is incomplete.
pub(crate) fn take_frame(input: &mut [u8]) -> Option<(u8, &mut [u8], usize)> {
    let (first, second) = (*input.first()?, *input.get(1)?);
    let (bytes, mut start) = match second & 0x7f {
        126 => (u16::from_be_bytes(*input.get(2..)?.first_chunk()?).into(), 4),
        127 => unreachable!("messages of this benchmark are shorter than 64 KiB"),
        short => (usize::from(short), 2),
    };
    let mask: Option<[u8; 4]> = match second & 0x80 {
        0 => None,
        _ => Some(*input.get(start..)?.first_chunk()?),
    };
    start += mask.map_or(0, |mask| mask.len());
    let end = start + bytes;
    let payload = input.get_mut(start..end)?;
    if let Some(mask) = mask {
        fastwebsockets::unmask(payload, mask);
    }
    Some((first, payload, end))
}
