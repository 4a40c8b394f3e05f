//! The frame decoder, as a server, returns the same messages and the same verdict as tungstenite's decoder.
//!
//! ```text
//! input = limit (1) · the client's bytes
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomcast::internals::{Decoded, decode};
use roomcast::{Close, FrameKind};
use roomcast_fuzz::Wire;
use tungstenite::Message;
use tungstenite::error::Error;
use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

const MESSAGE_BYTES_MAX: [usize; 4] = [300, 10, 125, 70_000];

const PROTOCOL: u16 = 1002;
const INVALID_PAYLOAD: u16 = 1007;
const TOO_BIG: u16 = 1009;

fuzz_target!(|input: &[u8]| {
    let Some((&limit, bytes)) = input.split_first() else { return };
    let message_bytes_max = MESSAGE_BYTES_MAX[usize::from(limit) % 4];
    let ours = ours(bytes, message_bytes_max);
    // Our decoder refuses a frame at the first wrong byte, tungstenite only at its end: padding completes the frame.
    let padding = matches!(ours.end, End::Refused(_)).then(|| vec![0; message_bytes_max + 200]);
    let theirs = theirs(&[bytes, &padding.unwrap_or_default()].concat(), message_bytes_max);
    if ours != theirs && !is_allowed(&ours, &theirs) {
        panic!("ours: {ours:?}\ntheirs: {theirs:?}");
    }
});

/// The intended differences between the decoders. Each is a fault of the client that ends the connection in our
/// decoder.
fn is_allowed(ours: &Run, theirs: &Run) -> bool {
    let is_same_front = ours.seen == theirs.seen;
    match (&ours.end, &theirs.end) {
        // 5.2: "the minimal number of bytes MUST be used to encode the length". Tungstenite reads
        // on, so only the events before the frame can be compared. A control frame with a long form of
        // the length is refused as a frame of more than 125 bytes.
        (End::Refused(close), _)
            if close.reason == "length not in its shortest form"
                || close.reason == "control frame of more than 125 bytes" =>
        {
            theirs.seen.starts_with(&ours.seen)
                || theirs.end == End::Closed(PROTOCOL, VIOLATION.into())
        }
        // Both refuse, for different faults of one frame. Tungstenite checks the length first, then the
        // rest of the header, and reads a close frame before it checks the code.
        (End::Refused(ours), End::Refused(theirs)) if is_same_front => {
            match (u16::from(ours.code), u16::from(theirs.code)) {
                (PROTOCOL, TOO_BIG) => true,
                (PROTOCOL, INVALID_PAYLOAD) => ours.reason.starts_with("close code"),
                (ours, theirs) => ours == theirs,
            }
        }
        // Tungstenite replaces a close frame with a forbidden code by its own close frame.
        (End::Refused(ours), End::Closed(PROTOCOL, reason)) if is_same_front => {
            ours.reason.starts_with("close code") && reason == VIOLATION
        }
        // 1014 ("bad gateway") is in IANA's registry; tungstenite does not know it.
        (End::Closed(1014, _), End::Closed(PROTOCOL, reason)) => {
            is_same_front && reason == VIOLATION
        }
        _ => false,
    }
}

/// The reason in tungstenite's replacement of a forbidden close frame.
const VIOLATION: &str = "Protocol violation";

/// The messages of a decoder, and how its run ended.
#[derive(Debug, PartialEq)]
struct Run {
    seen: Vec<Seen>,
    end: End,
}

#[derive(Debug, PartialEq)]
enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

#[derive(Debug, PartialEq)]
enum End {
    /// All bytes were read, and the decoder waits for more.
    WantsMore,
    /// The client sent a close frame.
    Closed(u16, String),
    Refused(Close),
}

fn ours(bytes: &[u8], message_bytes_max: usize) -> Run {
    let mut seen = Vec::new();
    for event in decode([bytes], message_bytes_max, u32::MAX).into_iter().flatten() {
        seen.push(match event {
            Decoded::Message(FrameKind::Text, payload) => Seen::Text(payload),
            Decoded::Message(FrameKind::Binary, payload) => Seen::Binary(payload),
            Decoded::Ping(payload) => Seen::Ping(payload),
            Decoded::Pong(payload) => Seen::Pong(payload),
            Decoded::Close(close) => {
                let end = End::Closed(close.code.into(), close.reason.into_owned());
                return Run { seen, end };
            }
            Decoded::Refused(close) => return Run { seen, end: End::Refused(close) },
        });
    }
    Run { seen, end: End::WantsMore }
}

fn theirs(bytes: &[u8], message_bytes_max: usize) -> Run {
    let config = WebSocketConfig::default()
        .read_buffer_size(1 << 10)
        .max_message_size(Some(message_bytes_max))
        // This limit applies to control frames, too.
        .max_frame_size(Some(message_bytes_max.max(125)));
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Server, Some(config));
    let mut seen = Vec::new();
    loop {
        seen.push(match socket.read() {
            Ok(Message::Text(text)) => Seen::Text(text.as_bytes().to_vec()),
            Ok(Message::Binary(payload)) => Seen::Binary(payload.to_vec()),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Seen::Pong(payload.to_vec()),
            Ok(Message::Close(close)) => {
                let end = close.map_or(End::Closed(1005, String::new()), |close| {
                    End::Closed(close.code.into(), close.reason.to_string())
                });
                return Run { seen, end };
            }
            Ok(Message::Frame(_)) => unreachable!("a read returns no raw frame"),
            Err(error) => return Run { seen, end: verdict(error) },
        });
    }
}

fn verdict(error: Error) -> End {
    let refused = |code: u16| End::Refused(Close::new(code.into(), ""));
    match error {
        Error::Protocol(ResetWithoutClosingHandshake) => End::WantsMore,
        Error::Protocol(_) => refused(PROTOCOL),
        Error::Utf8(_) => refused(INVALID_PAYLOAD),
        Error::Capacity(_) => refused(TOO_BIG),
        other => panic!("tungstenite failed: {other}"),
    }
}
