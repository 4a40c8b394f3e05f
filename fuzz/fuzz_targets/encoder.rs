//! The frame encoder writes frames of all kinds and sizes, in bursts. Tungstenite, as a client, reads the messages that
//! were meant; the engine's own functions for frames agree.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomcast::engine::frame::{self, HEADER_BYTES_MAX};
use roomcast::{Close, FrameKind};
use roomcast_fuzz::Wire;
use tungstenite::Message;
use tungstenite::error::Error;
use tungstenite::error::ProtocolError::ResetWithoutClosingHandshake;
use tungstenite::protocol::{CloseFrame, Role, WebSocket};

/// Some frames, and perhaps a close frame.
#[derive(Debug, Arbitrary)]
struct Burst {
    #[arbitrary(with = frames)]
    frames: Vec<Frame>,
    close: Option<Farewell>,
}

#[derive(Debug)]
enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Ping,
    Pong(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Farewell {
    code: Code,
    reason: String,
    repeats: u8,
}

#[derive(Debug, Arbitrary)]
enum Code {
    Registered(u8),
    Any(u16),
}

/// Sizes around the bounds between the forms of a length.
const SIZES: [usize; 12] = [0, 1, 2, 124, 125, 126, 127, 65_534, 65_535, 65_536, 65_537, 70_000];

fn frames(input: &mut Unstructured<'_>) -> Result<Vec<Frame>> {
    let count = input.int_in_range(0..=6)?;
    (0..count).map(|_| frame(input)).collect()
}

fn frame(input: &mut Unstructured<'_>) -> Result<Frame> {
    let kind = input.int_in_range(0..=7)?;
    let size = match input.int_in_range(0..=3)? {
        0 => *input.choose(&SIZES)?,
        1 => input.int_in_range(0..=70_000)?,
        _ => input.int_in_range(0..=300)?,
    };
    Ok(match kind {
        0..3 => Frame::Text(text(input.arbitrary()?, size)),
        3..6 => Frame::Binary(u8::arbitrary(input)?.to_ne_bytes().repeat(size)),
        6 => Frame::Ping,
        _ => Frame::Pong(u8::arbitrary(input)?.to_ne_bytes().repeat(size % 300)),
    })
}

/// Text of this size, or slightly shorter so that it ends with a whole character.
fn text(pattern: &str, size: usize) -> String {
    let pattern = if pattern.is_empty() { "é" } else { pattern };
    prefix(&pattern.repeat(size / pattern.len() + 1), size).to_owned()
}

/// As many characters as fit into this many bytes.
fn prefix(text: &str, bytes_max: usize) -> &str {
    let ends = text.char_indices().map(|(at, character)| at + character.len_utf8());
    &text[..ends.take_while(|end| *end <= bytes_max).last().unwrap_or(0)]
}

fuzz_target!(|burst: Burst| {
    let mut frames: Vec<Bytes> = burst.frames.iter().map(encode).collect();
    let mut expected: Vec<Message> = burst.frames.iter().map(meant).collect();
    if let Some(farewell) = burst.close {
        let close = close(farewell);
        frames.push(frame::close(&close));
        expected.push(Message::Close(close_meant(&close)));
    }
    check_cuts(&frames);
    assert_eq!(read_by_a_client(&frames.concat()), expected);
});

fn encode(frame: &Frame) -> Bytes {
    match frame {
        Frame::Text(text) => encode_data(FrameKind::Text, text.as_bytes()),
        Frame::Binary(payload) => encode_data(FrameKind::Binary, payload),
        Frame::Ping => frame::ping(),
        Frame::Pong(payload) => frame::pong(payload),
    }
}

/// Encodes a data frame in three ways. Checks that the frames are equal and that their parts are found again.
fn encode_data(kind: FrameKind, payload: &[u8]) -> Bytes {
    let frame = frame::encode(kind, payload);
    let mut sealed = [&[0xEE; HEADER_BYTES_MAX], payload].concat();
    assert_eq!(frame::seal(kind, &mut sealed), &frame[..]);
    let mut run = b"before".to_vec();
    frame::append(&mut run, kind, payload);
    assert_eq!(&run[6..], &frame[..]);
    assert_eq!(frame.len(), frame::bytes_for(payload.len()));
    assert_eq!((frame::kind(&frame), frame::payload(&frame)), (kind, payload));
    frame
}

fn meant(frame: &Frame) -> Message {
    match frame {
        Frame::Text(text) => Message::text(text),
        Frame::Binary(payload) => Message::binary(payload.clone()),
        Frame::Ping => Message::Ping(Bytes::new()),
        Frame::Pong(payload) => {
            Message::Pong(payload.iter().copied().take(125).collect::<Vec<_>>().into())
        }
    }
}

fn close(Farewell { code, reason, repeats }: Farewell) -> Close {
    let code = match code {
        Code::Registered(code) => 999 + u16::from(code % 20),
        Code::Any(code) => code,
    };
    Close::new(code.into(), reason.repeat(repeats.into()))
}

/// The close frame that a client reads; `None` for a code that must not be sent.
fn close_meant(close: &Close) -> Option<CloseFrame> {
    let code = u16::from(close.code);
    let (code, reason) = match code {
        // Registered with IANA, but unknown to tungstenite, which replaces the frame by its own.
        1014 => (1002, "Protocol violation"),
        1000..=1003 | 1007..=1013 | 3000..=4999 => (code, prefix(&close.reason, 123)),
        _ => return None,
    };
    Some(CloseFrame { code: code.into(), reason: reason.into() })
}

/// Checks that the engine finds the end of each frame in a run of frames, and counts the frames.
fn check_cuts(frames: &[Bytes]) {
    let run = frames.concat();
    assert_eq!(frame::count(&run), frames.len());
    let mut start = 0;
    for (at, frame) in frames.iter().enumerate() {
        let end = start + frame.len();
        for inside in [start + 1, start + frame.len() / 2 + 1, end] {
            assert_eq!(frame::frame_end(&run, inside.min(end)), end);
        }
        assert_eq!(frame::frame_end(&run, start), start);
        assert_eq!(frame::count_within(&run, start), at);
        assert_eq!(frame::count_within(&run, end - 1), at);
        assert_eq!(frame::count_within(&run, end), at + 1);
        start = end;
    }
}

fn read_by_a_client(bytes: &[u8]) -> Vec<Message> {
    let mut socket = WebSocket::from_raw_socket(Wire(bytes), Role::Client, None);
    let mut read = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => read.push(message),
            // All bytes are read, without or with a close frame.
            Err(Error::Protocol(ResetWithoutClosingHandshake) | Error::ConnectionClosed) => break,
            Err(error) => panic!("the client refuses a frame: {error}"),
        }
    }
    read
}
