//! The log of a story: the calls with their times, and the messages that each connection may get and must get.
//!
//! All events have a place in one order, the order in which they happened: shuttle runs one thread at a time.
//! A call begins at one place and ends at a later place. The call took effect somewhere between the two.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use roomcast::engine::ConnKey;

/// A place in the order of events.
pub(crate) type Moment = u64;

const NEVER: Moment = Moment::MAX;

/// The time from the begin of a call to its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) begin: Moment,
    pub(crate) end: Moment,
}

/// The target of a published message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum To {
    Everyone,
    Room(&'static str),
    Conn(ConnKey),
}

#[derive(Debug)]
struct Message {
    publisher: usize,
    to: To,
    except: Option<ConnKey>,
    span: Span,
    was_taken: bool,
}

/// The stay of a connection in a room or in the hub. During `enter` and during `leave` the connection may have been
/// a member; between `enter` and `leave` the connection was a member.
#[derive(Debug, Clone, Copy)]
struct Stay {
    enter: Span,
    leave: Span,
}

impl Stay {
    fn since(enter: Span) -> Self {
        Self { enter, leave: Span { begin: NEVER, end: NEVER } }
    }

    fn may_meet(&self, span: Span) -> bool {
        self.enter.begin < span.end && span.begin < self.leave.end
    }

    fn must_meet(&self, span: Span) -> bool {
        self.enter.end < span.begin && span.end < self.leave.begin
    }
}

#[derive(Debug)]
struct Known {
    open: Stay,
    rooms: BTreeMap<&'static str, Vec<Stay>>,
    /// Whether the connection ends in a way that loses its queued messages.
    is_lossy: bool,
}

#[derive(Debug, Default)]
struct Events {
    now: Moment,
    messages: Vec<Message>,
    conns: BTreeMap<ConnKey, Known>,
    /// The moment from which all connections may end, also connections that attach later.
    may_end_since: Option<Moment>,
}

impl Events {
    fn tick(&mut self) -> Moment {
        self.now += 1;
        self.now
    }
}

/// The events of a story. No thread holds the lock of the log at a point where shuttle may switch threads.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Events>);

impl Log {
    fn events(&self) -> MutexGuard<'_, Events> {
        self.0.lock().unwrap()
    }

    fn time<V>(&self, call: impl FnOnce() -> V) -> (V, Span) {
        let begin = self.events().tick();
        let value = call();
        let end = self.events().tick();
        (value, Span { begin, end })
    }

    pub(crate) fn attach<V>(&self, id: ConnKey, call: impl FnOnce() -> V) -> V {
        let (value, span) = self.time(call);
        let mut events = self.events();
        let mut open = Stay::since(span);
        open.leave.begin = events.may_end_since.unwrap_or(NEVER);
        events.conns.insert(id, Known { open, rooms: BTreeMap::new(), is_lossy: false });
        value
    }

    /// Records a join, if the join succeeds.
    pub(crate) fn join<E>(
        &self,
        id: ConnKey,
        room: &'static str,
        call: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let (joined, span) = self.time(call);
        if joined.is_ok() {
            let mut events = self.events();
            let stays = events.conns.get_mut(&id).unwrap().rooms.entry(room).or_default();
            stays.push(Stay::since(span));
        }
        joined
    }

    /// Records a leave of a joined room.
    pub(crate) fn leave<V>(&self, id: ConnKey, room: &'static str, call: impl FnOnce() -> V) -> V {
        let (value, span) = self.time(call);
        let mut events = self.events();
        let stays = events.conns.get_mut(&id).unwrap().rooms.get_mut(room).unwrap();
        stays.last_mut().unwrap().leave = span;
        value
    }

    /// Records that a connection ends or may end from now on.
    pub(crate) fn may_end(&self, id: ConnKey, is_lossy: bool) {
        let mut events = self.events();
        let begin = events.tick();
        let known = events.conns.get_mut(&id).unwrap();
        known.open.leave.begin = known.open.leave.begin.min(begin);
        known.is_lossy |= is_lossy;
    }

    /// As [`may_end`](Self::may_end), for all present and all later connections.
    pub(crate) fn may_end_all(&self) {
        let mut events = self.events();
        let now = events.tick();
        events.may_end_since.get_or_insert(now);
        for known in events.conns.values_mut() {
            known.open.leave.begin = known.open.leave.begin.min(now);
        }
    }

    /// Records that a connection has ended.
    pub(crate) fn has_ended(&self, id: ConnKey) {
        let mut events = self.events();
        let end = events.tick();
        let known = events.conns.get_mut(&id).unwrap();
        known.open.leave.end = known.open.leave.end.min(end);
    }

    /// Publishes a message by its number.
    pub(crate) fn publish<E>(
        &self,
        publisher: usize,
        to: To,
        except: Option<ConnKey>,
        call: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = {
            let mut events = self.events();
            let begin = events.tick();
            let span = Span { begin, end: NEVER };
            events.messages.push(Message { publisher, to, except, span, was_taken: false });
            events.messages.len() - 1
        };
        let published = call(number);
        let mut events = self.events();
        let end = events.tick();
        let message = &mut events.messages[number];
        message.span.end = end;
        message.was_taken = published.is_ok();
        published
    }

    /// Compares the numbers of the messages that a connection got with the messages that it may get and must get.
    pub(crate) fn check(&self, id: ConnKey, got: &[usize]) {
        let events = self.events();
        let known = &events.conns[&id];
        let mut last = BTreeMap::new();
        for &number in got {
            let message = &events.messages[number];
            assert!(known.may_get(id, message), "{id} got {message:?}, but {known:?}");
            let before = last.insert(message.publisher, number);
            assert!(before < Some(number), "{id} got {number} after {before:?}");
        }
        for (number, message) in events.messages.iter().enumerate() {
            let is_missing = known.must_get(id, message) && !got.contains(&number);
            assert!(!is_missing, "{id} did not get {message:?}, but {known:?}");
        }
    }
}

impl Known {
    fn stays(&self, id: ConnKey, to: &To) -> Vec<Stay> {
        match to {
            To::Everyone => vec![self.open],
            To::Room(room) => self.rooms.get(room).cloned().unwrap_or_default(),
            To::Conn(other) => Vec::from_iter((*other == id).then_some(self.open)),
        }
    }

    fn may_get(&self, id: ConnKey, message: &Message) -> bool {
        message.was_taken
            && message.except != Some(id)
            && self.open.may_meet(message.span)
            && self.stays(id, &message.to).iter().any(|stay| stay.may_meet(message.span))
    }

    fn must_get(&self, id: ConnKey, message: &Message) -> bool {
        message.was_taken
            && message.except != Some(id)
            && !self.is_lossy
            && self.open.must_meet(message.span)
            && self.stays(id, &message.to).iter().any(|stay| stay.must_meet(message.span))
    }
}
