//! Incoming frames: they become events for the session, and pings and heartbeats are answered at
//! once.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::codec::DecodeError;
use crate::engine::{Close, CloseCode, DisconnectReason, FrameKind, Stage, frame};
use crate::hub::undecodable::{PayloadStart, Undecodable};
use crate::hub::{Conn, events};
use crate::net::{FrameReader, Liveness, ReadError};
use crate::ws::Event;

/// Reads the next event. When an event is ready, the idle check of the client is paused until the
/// next read.
pub(super) fn poll_event<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    reader: &mut FrameReader,
    cx: &mut Context<'_>,
) -> Poll<SessionEvent<In>> {
    let link = conn.link();
    // At most one pong waits for the shard: a flood of pings would delay everything behind it.
    if link.awaits_pong(cx.waker()) && link.stage() == Stage::Open {
        return Poll::Pending;
    }
    let limits = &conn.hub().inner.read_limits;
    let mut answers = Answers::default();
    let read = loop {
        let interpret = |event: Event<'_>| interpret(conn, event, &mut answers);
        let read = reader.poll_next(cx, link, limits, conn, interpret);
        let is_answered = matches!(read, Poll::Ready(Ok(SessionEvent::Answered)));
        if !is_answered || !reader.has_more() || answers.is_full() {
            break read;
        }
    };
    answers.send(conn);
    read.map(|event| {
        link.pause_listening();
        event.unwrap_or_else(SessionEvent::from_error)
    })
}

/// An event that the session handles.
pub(super) enum SessionEvent<In> {
    Message(In),
    Undecodable(DecodeError),
    /// A ping or a heartbeat. The answer is on its way.
    Answered,
    /// A pong, which needs no action.
    Handled,
    /// The end of the connection, with the reason; `None` if the shard has ended it.
    End(Option<DisconnectReason>),
}

impl<In> SessionEvent<In> {
    pub(super) fn from_error(error: ReadError) -> Self {
        Self::End(match error {
            ReadError::Ended => None,
            ReadError::Protocol(error) => Some(error.into()),
            ReadError::Io(kind) => Some(DisconnectReason::Io(kind)),
        })
    }
}

/// Decodes a message, or adds the answer of a ping or heartbeat to `answers`.
fn interpret<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    event: Event<'_>,
    answers: &mut Answers,
) -> SessionEvent<In> {
    let codec = &conn.hub().inner.codec;
    let counters = conn.port().counters();
    match event {
        Event::Message { kind: FrameKind::Text, payload, .. }
            if payload.is_empty() && conn.hub().inner.has_heartbeats =>
        {
            counters.heartbeats.add(1);
            answers.heartbeat();
            SessionEvent::Answered
        }
        Event::Message { kind, .. } if !codec.accepts(kind) => {
            let close = Close::new(CloseCode::UNSUPPORTED, "kind of message not accepted here");
            SessionEvent::End(Some(DisconnectReason::Protocol(close)))
        }
        Event::Message { kind, payload, compressed_bytes } => {
            counters.messages_in.add(1);
            counters.bytes_in.add(payload.len() as u64);
            if let Some(compressed_bytes) = compressed_bytes {
                counters.compressed_in.add(1);
                counters.compressed_bytes_in.add(compressed_bytes.get() as u64);
            }
            let start = PayloadStart::copy(kind, payload);
            match codec.decode(kind, payload) {
                Ok(message) => SessionEvent::Message(message),
                Err(error) => {
                    report_undecodable(conn, &error, &start);
                    SessionEvent::Undecodable(error)
                }
            }
        }
        Event::Ping(payload) => {
            answers.pong(payload);
            SessionEvent::Answered
        }
        Event::Pong(_) => SessionEvent::Handled,
        Event::Close(close) => SessionEvent::End(Some(DisconnectReason::ClosedByClient(close))),
    }
}

/// Counts and logs a message that could not be decoded. The level is `warn` at most once a second
/// for the whole hub, because a client can send such messages at will.
#[cold]
fn report_undecodable<Out: 'static, In: Send + 'static>(
    conn: &Conn<Out, In>,
    error: &DecodeError,
    start: &PayloadStart,
) {
    conn.hub().counters().decode_errors.add(1);
    let message = Undecodable { error, start };
    let hub = conn.hub();
    let times = hub.inner.warnings.undecodable.add();
    conn.span().enter(|| match times {
        Some(times) => events::undecodable(hub.name(), &message, times),
        None => events::undecodable_throttled(&message),
    });
}

/// How many pings and heartbeats that arrive together are answered by one command and one write. A
/// write for each would cost much for the few bytes that the client sends.
const ANSWERS_MAX: usize = 16;

/// The answers to pings and heartbeats that were read together.
#[derive(Default)]
struct Answers {
    frames: Vec<u8>,
    count: usize,
}

impl Answers {
    fn pong(&mut self, payload: &[u8]) {
        frame::append_pong(&mut self.frames, payload);
        self.count += 1;
    }

    fn heartbeat(&mut self) {
        frame::append_heartbeat(&mut self.frames);
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        self.count >= ANSWERS_MAX
    }

    fn send<Out: 'static, In: Send + 'static>(self, conn: &Conn<Out, In>) {
        if self.count > 0 {
            conn.link().start_pong();
            conn.port().pongs(conn.key(), self.frames.into());
        }
    }
}

impl<Out: 'static, In: Send + 'static> Liveness for Conn<Out, In> {
    fn heard(&self) {
        self.port().hear(self.link());
    }

    fn lateness(&self) -> Duration {
        self.hub().inner.shards.lateness(self.key())
    }
}
