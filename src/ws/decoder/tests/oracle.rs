//! Tests that the events do not depend on how the bytes are cut. The oracle is an assembler of
//! whole frames.

use fastrand::Rng;

use super::wire::*;
use crate::engine::{Close, CloseCode, FrameKind};

/// The limit of a message in these tests: small, so that messages often reach it.
const LIMIT: usize = 300;

/// Decodes whole frames by the rules of RFC 6455, without regard to speed or memory.
fn oracle(frames: &[Frame]) -> Vec<Seen> {
    let mut open = None;
    let mut seen = Vec::new();
    for frame in frames {
        match step(&mut open, frame) {
            Ok(None) => {}
            Ok(Some(event)) => seen.push(event),
            Err(code) => seen.push(Seen::Failed(code)),
        }
        if seen.last().is_some_and(Seen::is_last) {
            break;
        }
    }
    seen
}

type Open = Option<(FrameKind, Vec<u8>)>;

fn step(open: &mut Open, frame: &Frame) -> Result<Option<Seen>, CloseCode> {
    let opcode = frame.first;
    let is_known = matches!(opcode, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    let is_control = opcode >= CLOSE;
    let is_in_turn = is_control || (opcode == CONTINUATION) == open.is_some();
    let is_fit_for_control = frame.fin && frame.payload.len() <= 125;
    let is_framed = is_known && frame.is_masked && is_in_turn;
    if !is_framed || is_control && !is_fit_for_control {
        return Err(CloseCode::PROTOCOL);
    }
    match opcode {
        PING => Ok(Some(Seen::Ping(frame.payload.clone()))),
        PONG => Ok(Some(Seen::Pong(frame.payload.clone()))),
        CLOSE => step_close(&frame.payload).map(Some),
        _ => step_data(open, frame),
    }
}

fn step_data(open: &mut Open, frame: &Frame) -> Result<Option<Seen>, CloseCode> {
    let kind = if frame.first == TEXT { FrameKind::Text } else { FrameKind::Binary };
    let (kind, mut payload) = open.take().unwrap_or((kind, Vec::new()));
    payload.extend(&frame.payload);
    if payload.len() > LIMIT {
        return Err(CloseCode::TOO_BIG);
    }
    if kind == FrameKind::Text
        && let Err(error) = std::str::from_utf8(&payload)
        && (frame.fin || error.error_len().is_some())
    {
        return Err(CloseCode::INVALID_PAYLOAD);
    }
    if frame.fin {
        return Ok(Some(Seen::Message(kind, payload)));
    }
    *open = Some((kind, payload));
    Ok(None)
}

fn step_close(payload: &[u8]) -> Result<Seen, CloseCode> {
    match payload {
        [] => Ok(Seen::Close(Close::new(CloseCode::NO_STATUS, ""))),
        [_] => Err(CloseCode::PROTOCOL),
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
                return Err(CloseCode::PROTOCOL);
            }
            let reason =
                String::from_utf8(reason.to_vec()).map_err(|_| CloseCode::INVALID_PAYLOAD)?;
            Ok(Seen::Close(Close::new(code.into(), reason)))
        }
    }
}

/// Returns frames that are mostly valid. Each rule is sometimes broken.
fn random_frames(random: &mut Rng) -> Vec<Frame> {
    let mut frames = Vec::new();
    for _ in 0..random.usize(1..5) {
        random_message(random, &mut frames);
    }
    if random.u8(..) < 128 {
        frames.push(frame(CLOSE, random_close(random)));
    }
    if random.bool() {
        let index = random.usize(..frames.len());
        spoil(random, &mut frames[index]);
    }
    for frame in &mut frames {
        frame.mask = random.u32(..).to_ne_bytes();
    }
    frames
}

/// Adds one message in fragments that are cut anywhere, with pings and pongs between them.
fn random_message(random: &mut Rng, frames: &mut Vec<Frame>) {
    let opcode = if random.bool() { TEXT } else { BINARY };
    let mut rest = random_text(random).into_bytes();
    let mut opcode = opcode;
    for _ in 0..random.usize(..4) {
        let tail = rest.split_off(random.usize(..=rest.len()));
        frames.push(fragment(opcode, rest));
        (opcode, rest) = (CONTINUATION, tail);
        if random.u8(..) < 100 {
            let bytes = random.usize(..=125);
            let control = if random.bool() { PING } else { PONG };
            frames.push(frame(control, vec![b'p'; bytes]));
        }
    }
    frames.push(frame(opcode, rest));
}

fn random_text(random: &mut Rng) -> String {
    let characters = ['a', 'b', 'é', '語', '🦀'];
    let count = [0, 1, 10, 50, 100, 140][random.usize(..6)];
    (0..count).filter_map(|_| random.choice(characters)).collect()
}

fn random_close(random: &mut Rng) -> Vec<u8> {
    let code: u16 = random.choice([1000, 1001, 1005, 1014, 2000, 3000, 4999]).unwrap_or(1000);
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend("später".bytes());
    payload.truncate(random.usize(..=payload.len()));
    payload
}

fn spoil(random: &mut Rng, frame: &mut Frame) {
    match random.u8(..6) {
        0 => frame.is_masked = false,
        1 => frame.first |= 0x10 << random.u8(..3),
        2 => frame.first = random.u8(..16),
        3 => frame.fin = !frame.fin,
        4 => frame.payload.resize(LIMIT + 1, b'x'),
        _ => {
            if let Some(byte) = random.choice(&mut frame.payload) {
                *byte = random.u8(..);
            }
        }
    }
}

fn corpus(seed: u64, streams: usize) -> impl Iterator<Item = (Vec<u8>, Vec<Seen>)> {
    let mut random = Rng::with_seed(seed);
    (0..streams).map(move |_| {
        let frames = random_frames(&mut random);
        (stream(&frames), oracle(&frames))
    })
}

#[test]
fn the_corpus_breaks_every_rule_and_keeps_many() {
    let seen: Vec<Seen> = corpus(1, 3_000).flat_map(|(_, seen)| seen).collect();
    let failed = |code| seen.iter().filter(|seen| **seen == Seen::Failed(code)).count();
    assert!(failed(CloseCode::PROTOCOL) > 100);
    assert!(failed(CloseCode::INVALID_PAYLOAD) > 100);
    assert!(failed(CloseCode::TOO_BIG) > 100);
    assert!(seen.iter().filter(|seen| matches!(seen, Seen::Message(..))).count() > 1_000);
    assert!(seen.iter().filter(|seen| matches!(seen, Seen::Close(_))).count() > 100);
}

#[test]
fn whole_streams_decode_as_the_oracle_says() {
    for (bytes, expected) in corpus(1, 3_000) {
        assert_eq!(run(LIMIT, [&bytes[..]]), expected, "{bytes:02x?}");
    }
}

#[test]
fn a_cut_at_any_byte_changes_nothing() {
    for (bytes, expected) in corpus(2, 200) {
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(run(LIMIT, [head, tail]), expected, "cut at {cut}: {bytes:02x?}");
        }
    }
}

#[test]
fn one_byte_at_a_time_changes_nothing() {
    for (bytes, expected) in corpus(3, 1_000) {
        assert_eq!(run(LIMIT, bytes.chunks(1)), expected, "{bytes:02x?}");
    }
}

#[test]
fn random_cuts_change_nothing() {
    let mut random = Rng::with_seed(4);
    for (bytes, expected) in corpus(4, 1_000) {
        let mut reads = Vec::new();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let most = [3, 20, 400][random.usize(..3)];
            let (read, tail) = rest.split_at(random.usize(..=rest.len().min(most)));
            reads.push(read);
            rest = tail;
        }
        assert_eq!(run(LIMIT, reads), expected, "{bytes:02x?}");
    }
}

#[test]
fn noise_never_panics_even_after_a_refusal() {
    let mut random = Rng::with_seed(5);
    for _ in 0..3_000 {
        let mut decoder = with_limit(LIMIT);
        for _ in 0..40 {
            let bytes: Vec<u8> = (0..random.usize(..40))
                .filter_map(|_| random.choice([0x01, 0x81, 0x80, 0x00, 0xFE, 0xFF, 0x89]))
                .collect();
            // The test claims only that the call returns.
            let _ = feed(&mut decoder, &bytes);
        }
    }
}
