//! Server frames (RFC 6455, section 5.2): header and payload in one [`Bytes`], made once per
//! message.
//!
//! A server does not mask its frames, and this crate never fragments what it sends. So a frame is a
//! header of 2, 4 or 10 bytes with FIN set, followed by the payload. A codec writes the payload
//! behind [`HEADER_BYTES_MAX`] spare bytes, and [`seal`] puts the header right before the payload,
//! without moving the payload.

use std::iter;

use bytes::{BufMut, Bytes, BytesMut};

use super::close::{Close, REASON_BYTES_MAX};
use super::shared_bytes::copy_for_many;

/// The longest header of a server frame: 2 bytes and a 64-bit length.
pub const HEADER_BYTES_MAX: usize = 10;

/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;

/// The kind of a data message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// UTF-8 text (opcode 1).
    Text,
    /// Any bytes (opcode 2).
    Binary,
}

impl FrameKind {
    fn opcode(self) -> u8 {
        match self {
            Self::Text => 0x1,
            Self::Binary => 0x2,
        }
    }
}

/// Frames `payload`, in one allocation.
pub fn encode(kind: FrameKind, payload: &[u8]) -> Bytes {
    build(kind.opcode(), payload)
}

/// The bytes of a frame with a payload of `payload_bytes`.
pub fn bytes_for(payload_bytes: usize) -> usize {
    header(0, payload_bytes).1 + payload_bytes
}

/// Appends a frame with `payload` to a run of frames.
pub fn append(frames: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    put(frames, kind.opcode(), payload);
}

/// Turns a buffer of [`HEADER_BYTES_MAX`] spare bytes and a payload into a frame, in place.
///
/// # Panics
/// If `buffer` is shorter than the headroom.
pub fn seal(kind: FrameKind, buffer: &mut [u8]) -> &[u8] {
    let payload_bytes = buffer.len() - HEADER_BYTES_MAX;
    let (header, header_bytes) = header(kind.opcode(), payload_bytes);
    let start = HEADER_BYTES_MAX - header_bytes;
    buffer[start..HEADER_BYTES_MAX].copy_from_slice(&header[..header_bytes]);
    &buffer[start..]
}

/// A ping without a payload.
pub fn ping() -> Bytes {
    Bytes::from_static(&[FIN | 0x9, 0])
}

/// A pong: the payload of the ping, cut at [`CONTROL_BYTES_MAX`].
pub fn pong(payload: &[u8]) -> Bytes {
    let mut frames = Vec::with_capacity(bytes_for(payload.len()));
    append_pong(&mut frames, payload);
    frames.into()
}

/// Appends a pong to a run of frames.
pub fn append_pong(frames: &mut Vec<u8>, payload: &[u8]) {
    put(frames, 0xA, &payload[..payload.len().min(CONTROL_BYTES_MAX)]);
}

/// Appends the answer to a heartbeat to a run of frames: an empty text message, like the heartbeat
/// itself.
pub fn append_heartbeat(frames: &mut Vec<u8>) {
    put(frames, 0x1, &[]);
}

/// A close frame with the code and as much of the reason as fits. Empty if the code may not be
/// sent, as [`CloseCode::NO_STATUS`](super::CloseCode::NO_STATUS).
pub fn close(close: &Close) -> Bytes {
    if !close.code.is_sendable() {
        return build(0x8, &[]);
    }
    let code = u16::from(close.code).to_be_bytes();
    let reason_bytes = close.reason.floor_char_boundary(REASON_BYTES_MAX);
    let mut payload = Vec::with_capacity(code.len() + reason_bytes);
    payload.extend_from_slice(&code);
    payload.extend_from_slice(&close.reason.as_bytes()[..reason_bytes]);
    build(0x8, &payload)
}

/// The end of the frame that holds the byte before `offset` in `frames`, a run of whole server
/// frames; 0 for 0.
///
/// Data from there on may be dropped without tearing a frame.
pub fn frame_end(frames: &[u8], offset: usize) -> usize {
    let mut end = 0;
    while end < offset {
        end += frame_bytes(&frames[end..]);
    }
    end
}

/// The number of frames in `frames`, a run of whole server frames.
pub fn count(frames: &[u8]) -> usize {
    each(frames).count()
}

/// The frames of `run`, a run of whole server frames.
pub fn each(mut run: &[u8]) -> impl Iterator<Item = &[u8]> {
    iter::from_fn(move || {
        if run.is_empty() {
            return None;
        }
        let (frame, rest) = run.split_at(frame_bytes(run));
        run = rest;
        Some(frame)
    })
}

/// Splits `frames`, a run of whole server frames. Each frame gets memory of its own, so that a kept
/// frame does not keep the whole run; a run of one frame is shared.
pub fn split(frames: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    each(frames).map(|frame| {
        let is_alone = frame.len() == frames.len();
        if is_alone { frames.clone() } else { copy_for_many(frame) }
    })
}

/// The number of frames of `frames` that end within its first `bytes` bytes.
pub fn count_within(frames: &[u8], bytes: usize) -> usize {
    let mut end = 0;
    let ends = each(frames).map(|frame| {
        end += frame.len();
        end
    });
    ends.take_while(|end| *end <= bytes).count()
}

/// The payload of one server frame.
pub fn payload(frame: &[u8]) -> &[u8] {
    &frame[header_bytes(frame[1])..]
}

/// The kind of one server data frame.
pub fn kind(frame: &[u8]) -> FrameKind {
    if frame[0] & 0x0F == FrameKind::Text.opcode() { FrameKind::Text } else { FrameKind::Binary }
}

fn frame_bytes(frame: &[u8]) -> usize {
    let header = header_bytes(frame[1]);
    let length = match header {
        2 => u64::from(frame[1]),
        4 => u64::from(u16::from_be_bytes([frame[2], frame[3]])),
        _ => u64::from_be_bytes(frame[2..10].try_into().expect("eight bytes")),
    };
    header + length as usize
}

fn header_bytes(length_byte: u8) -> usize {
    match length_byte {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

fn build(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(bytes_for(payload.len()));
    put(&mut frame, opcode, payload);
    frame.freeze()
}

fn put(frames: &mut impl BufMut, opcode: u8, payload: &[u8]) {
    let (header, header_bytes) = header(opcode, payload.len());
    frames.put_slice(&header[..header_bytes]);
    frames.put_slice(payload);
}

fn header(opcode: u8, payload_bytes: usize) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut header = [0; HEADER_BYTES_MAX];
    header[0] = FIN | opcode;
    if payload_bytes < 126 {
        header[1] = payload_bytes as u8;
        (header, 2)
    } else if let Ok(length) = u16::try_from(payload_bytes) {
        header[1] = 126;
        header[2..4].copy_from_slice(&length.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(payload_bytes as u64).to_be_bytes());
        (header, 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::close::CloseCode;

    #[test]
    fn lengths_take_the_shortest_header() {
        for (payload, header) in
            [(0, 2), (1, 2), (125, 2), (126, 4), (127, 4), (65_535, 4), (65_536, 10)]
        {
            let frame = encode(FrameKind::Binary, &vec![7; payload]);
            assert_eq!(frame.len(), header + payload, "payload of {payload}");
            assert_eq!(frame_end(&frame, 1), frame.len());
            assert_eq!(self::payload(&frame).len(), payload);
        }
    }

    #[test]
    fn sealing_in_place_gives_the_same_frame() {
        for payload in [0, 125, 126, 65_535, 65_536] {
            let mut buffer = vec![b'x'; HEADER_BYTES_MAX + payload];
            let expected = encode(FrameKind::Text, &vec![b'x'; payload]);
            assert_eq!(seal(FrameKind::Text, &mut buffer), &expected[..]);
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = close(&Close::new(CloseCode::NORMAL, "é".repeat(100)));
        assert_eq!(frame.len(), 2 + 2 + 122);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    #[test]
    fn a_close_without_a_status_has_no_payload() {
        assert_eq!(&close(&Close::new(CloseCode::NO_STATUS, ""))[..], [0x88, 0]);
    }

    #[test]
    fn a_cut_inside_a_run_of_frames_lands_on_a_frame_boundary() {
        let first = encode(FrameKind::Text, b"hello");
        let second = encode(FrameKind::Text, &[b'y'; 300]);
        let run = [&first[..], &second[..]].concat();
        assert_eq!(frame_end(&run, 0), 0);
        assert_eq!(frame_end(&run, 1), first.len());
        assert_eq!(frame_end(&run, first.len()), first.len());
        assert_eq!(frame_end(&run, first.len() + 1), run.len());
        let run = Bytes::from(run);
        assert_eq!(split(&run).collect::<Vec<_>>(), [first.clone(), second]);
        let alone = split(&first).next().expect("there is one");
        assert_eq!((alone.as_ptr(), split(&Bytes::new()).count()), (first.as_ptr(), 0));
        let within = |bytes| count_within(&run, bytes);
        assert_eq!(
            [0, first.len() - 1, first.len(), run.len() - 1, run.len()].map(within),
            [0, 0, 1, 1, 2]
        );
    }
}
