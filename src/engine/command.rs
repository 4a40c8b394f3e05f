//! The commands that enter the inbox of a shard.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::close::{Close, DisconnectReason};
use super::closing::{Closing, Shedding};
use super::frames::Frames;
use super::link::{ConnKey, Link, Newcomer};
use super::pending::Pending;
use super::room::Room;

/// Takes the answer of a shard to a question.
pub type Reply<V> = Box<dyn FnOnce(V) + Send>;

/// Makes a reply for each shard that a publish goes to.
///
/// The shard calls the reply when it has written its part, or has queued it where a socket takes no
/// more. The value is the number of messages that it joined with this one for the same members; 0
/// if no recipient was left. A shard that goes before drops the reply.
pub type Follow<'a> = &'a dyn Fn() -> Reply<usize>;

/// A command in the inbox of a shard.
pub enum Command<S> {
    /// A connection begins.
    Attach {
        /// The link that the shard and the session share.
        newcomer: Newcomer,
        /// The socket for its frames.
        socket: S,
    },
    /// The socket of a connection that began without one has arrived.
    Socket(ConnKey, S),
    /// A connection joins a room. The sender has claimed the room.
    Join(ConnKey, Arc<Room>),
    /// A connection leaves a room.
    Leave(Leave),
    /// Frames go to connections of this shard.
    Deliver(Delivery),
    /// Connections of this shard are closed, join a room or leave it.
    Act(Act),
    /// Pings are answered with these frames.
    Pong(ConnKey, Bytes),
    /// A connection ends, after what was sent to it before.
    Close(ConnKey, DisconnectReason),
    /// The session is over: the shard drops the socket.
    Detach(ConnKey),
    /// A socket that was blocked may take bytes again.
    Writable(ConnKey),
    /// All connections end over a window of time, and new ones end at once.
    CloseAll(Arc<Closing>),
    /// A share of the connections ends over a window of time. The reply is the number that were
    /// asked.
    Shed(Shedding, Reply<usize>),
    /// All remaining connections are cut. The reply is the number of those that had not received
    /// all.
    CutAll(Reply<usize>),
    /// A slice of the open connections or of the members of a room is asked for.
    List(Listing),
    /// The rooms of a connection are asked for.
    Rooms(ConnKey, Reply<Vec<Arc<Room>>>),
    /// The link of a connection is asked for: `None` if it has ended.
    Link(ConnKey, Reply<Option<Arc<Link>>>),
    /// The hub is gone.
    Stop,
}

impl<S> Command<S> {
    /// Whether the command takes space of one message in the inbox.
    pub(super) fn takes_space(&self) -> bool {
        matches!(
            self,
            Self::Deliver(_)
                | Self::Act(_)
                | Self::Join(..)
                | Self::Leave(..)
                | Self::Pong(..)
                | Self::List(..)
                | Self::Rooms(..)
                | Self::Link(..)
                | Self::Shed(..)
        )
    }
}

impl<S> fmt::Debug for Command<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attach { newcomer, .. } => write!(f, "Attach({newcomer:?})"),
            Self::Socket(conn, _) => write!(f, "Socket({conn})"),
            Self::Join(conn, room) => write!(f, "Join({conn}, {:?})", room.name()),
            Self::Leave(Leave { conn, room, .. }) => write!(f, "Leave({conn}, {:?})", room.name()),
            Self::Deliver(delivery) => write!(f, "Deliver({:?})", delivery.audience),
            Self::Act(act) => act.fmt(f),
            Self::Pong(conn, _) => write!(f, "Pong({conn})"),
            Self::Close(conn, reason) => write!(f, "Close({conn}, {reason})"),
            Self::Detach(conn) => write!(f, "Detach({conn})"),
            Self::Writable(conn) => write!(f, "Writable({conn})"),
            Self::CloseAll(closing) => write!(f, "CloseAll({closing:?})"),
            Self::Shed(shedding, _) => shedding.fmt(f),
            Self::CutAll(_) => f.write_str("CutAll"),
            Self::List(listing) => listing.fmt(f),
            Self::Rooms(conn, _) => write!(f, "Rooms({conn})"),
            Self::Link(conn, _) => write!(f, "Link({conn})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

/// A connection leaves a room, if it is in it.
#[derive(Debug)]
pub struct Leave {
    /// The connection.
    pub conn: ConnKey,
    /// The room.
    pub room: Arc<Room>,
    /// Whether the room counts one member fewer since this was sent.
    pub is_counted: bool,
}

/// A change for the connections of one shard that are in the audience when the command leaves the
/// inbox. It is in order with the joins and leaves.
#[derive(Debug)]
pub struct Act {
    /// The connections to change.
    pub audience: Audience,
    /// The connections of the audience to leave out.
    pub except: Except,
    /// The change.
    pub change: Change,
}

/// The entries of an inbox must not grow because of it.
const _: () = assert!(size_of::<Act>() <= size_of::<Delivery>());

/// A change for many connections at once.
#[derive(Debug)]
pub enum Change {
    /// They are closed, after what was sent to them before.
    Close(Arc<Close>),
    /// They join a room. The sender has claimed the room once for all of them, and counts this
    /// claim as a leave on its way. The shard takes a claim for each connection that joins.
    Join(Arc<Room>),
    /// They leave a room, if they are in it.
    Leave(Arc<Room>),
}

/// Frames on their way to connections of one shard. Until it is dropped, a delivery counts as on
/// its way to its address ([`Pending`]).
pub struct Delivery {
    /// The frames. A run of several fits into a send queue.
    pub frames: Frames,
    /// The recipients.
    pub audience: Audience,
    /// The connections of the audience to leave out.
    pub except: Except,
    counted_in: CountedIn,
    /// Called when the delivery is written or queued, if somebody follows it. In a box, because
    /// nearly all deliveries have none.
    pub(super) reply: Option<Box<Reply<usize>>>,
}

impl Delivery {
    // Inlined for `publish`, which would pay 25 instructions a shard for the call.
    #[inline(always)]
    pub(super) fn new(
        frames: Frames,
        audience: Audience,
        except: Except,
        counted_in: CountedIn,
        follow: Option<Follow<'_>>,
    ) -> Self {
        let reply = follow.map(make_reply);
        match &audience {
            Audience::Room(room) => room.pending().add(frames.len()),
            _ => counted_in.add(frames.len()),
        }
        Self { frames, audience, except, counted_in, reply }
    }

    /// A delivery to one connection. Its bytes count as waiting for that connection already.
    pub(super) fn reserved(frames: Frames, link: Arc<Link>, follow: Option<Follow<'_>>) -> Self {
        let (audience, counted_in) = (Audience::Conn(link.id()), CountedIn::Conn(link));
        let reply = follow.map(make_reply);
        Self { frames, audience, except: Except::Nobody, counted_in, reply }
    }

    /// Reports to the follower that the delivery is written or queued, joined with others to
    /// `messages` messages.
    pub(super) fn answer(&mut self, messages: usize) {
        if let Some(reply) = self.reply.take() {
            reply(messages);
        }
    }
}

// Not inlined: nearly no delivery has a follower, and the others would carry this code.
#[cold]
fn make_reply(follow: Follow<'_>) -> Box<Reply<usize>> {
    Box::new(follow())
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match &self.audience {
            Audience::Room(room) => room.pending().remove(self.frames.len()),
            _ => self.counted_in.remove(self.frames.len()),
        }
    }
}

/// The count of pending bytes that contains a delivery, unless its audience is one room: the room
/// has its own.
#[derive(Debug)]
pub(super) enum CountedIn {
    /// The count of what goes to everyone or to several rooms.
    Everyone(Arc<Pending>),
    /// The count of what waits for this connection.
    Conn(Arc<Link>),
    /// No count: the delivery goes to the id of a connection.
    Nothing,
}

impl CountedIn {
    fn add(&self, bytes: usize) {
        match self {
            Self::Everyone(pending) => pending.add(bytes),
            Self::Conn(link) => link.add_waiting(bytes),
            Self::Nothing => {}
        }
    }

    fn remove(&self, bytes: usize) {
        match self {
            Self::Everyone(pending) => pending.remove(bytes),
            Self::Conn(link) => link.remove_waiting(bytes),
            Self::Nothing => {}
        }
    }
}

/// The connections of one shard that a delivery goes to.
#[derive(Debug, Clone)]
pub enum Audience {
    /// All connections.
    Everyone,
    /// The members of a room.
    Room(Arc<Room>),
    /// The members of any of these rooms, each once.
    ///
    /// An `Arc<[_]>` would make each entry of an inbox 8 bytes larger.
    Rooms(Arc<Vec<Arc<Room>>>),
    /// One connection.
    Conn(ConnKey),
}

impl Audience {
    /// No connection.
    pub(super) fn nobody() -> Self {
        Self::Rooms(Arc::default())
    }
}

/// Asks for a slice of a list of connections: of all that are open, or of the members of a room.
///
/// A list is read from its end to its beginning. When an entry leaves the list, the last entry
/// takes its index, so entries move only towards the beginning. A connection that stays in the list
/// is in at least one slice, and may be in two. A connection that enters the list between two
/// slices may be missing.
pub struct Listing {
    /// The room; `None` for all open connections.
    pub room: Option<Arc<Room>>,
    /// The index at which the slice ends.
    pub before: usize,
    /// Takes the slice.
    pub reply: Reply<Slice>,
}

/// The entries of an inbox must not grow because of it.
const _: () = assert!(size_of::<Listing>() <= size_of::<Delivery>());

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = self.room.as_ref().map(|room| room.name());
        f.debug_struct("Listing").field("room", &room).field("before", &self.before).finish()
    }
}

/// A part of a list of connections.
#[derive(Debug, Default)]
pub struct Slice {
    /// The connections.
    pub links: Vec<Arc<Link>>,
    /// The index at which the slice begins, and the next one ends. 0 if this is the last slice.
    pub begin: usize,
}

/// The connections of an audience that a delivery leaves out.
#[derive(Debug, Clone, Default)]
pub enum Except {
    /// None.
    #[default]
    Nobody,
    /// One, such as the sender of the message.
    One(ConnKey),
    /// Several; sorted. An `Arc<[_]>` would make each entry of an inbox 8 bytes larger.
    Many(Arc<Vec<ConnKey>>),
}

impl Except {
    /// The connections that are left out.
    pub fn ids(&self) -> &[ConnKey] {
        match self {
            Self::Nobody => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// Whether a connection is left out.
    pub fn passes_by(&self, id: ConnKey) -> bool {
        self.ids().binary_search(&id).is_ok()
    }
}
