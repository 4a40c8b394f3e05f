//! What can be asked of a shard.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::close::{Close, DisconnectReason};
use super::closing::{Closing, Shedding};
use super::link::{ConnKey, Link, Newcomer};
use super::pending::Pending;
use super::room::Room;

/// Takes the answer to a question.
pub type Reply<V> = Box<dyn FnOnce(V) + Send>;

/// Makes a reply for each shard that a publish goes to. The shard tells it when all of its part has been
/// written, or has been queued where a socket takes no more: how many messages it joined with this one for
/// the same members. None, where nobody was left to get any. A shard that goes before drops the reply.
pub type Follow<'a> = &'a dyn Fn() -> Reply<usize>;

/// One entry of an inbox.
pub enum Command<S> {
    /// A connection begins.
    Attach {
        /// What the shard and the session will share.
        newcomer: Newcomer,
        /// Where its frames go.
        socket: S,
    },
    /// The socket of a connection that began without one.
    Socket(ConnKey, S),
    /// A connection enters a room, which its joiner has claimed.
    Join(ConnKey, Arc<Room>),
    /// A connection leaves a room.
    Leave(Leave),
    /// A frame goes to connections of this shard.
    Deliver(Delivery),
    /// Connections of this shard end, enter a room or leave it.
    Act(Act),
    /// Pings are to be answered with these frames.
    Pong(ConnKey, Bytes),
    /// A connection is to end, after what was sent to it before.
    Close(ConnKey, DisconnectReason),
    /// The session is over: the socket can go.
    Detach(ConnKey),
    /// A socket that had blocked may take bytes again.
    Writable(ConnKey),
    /// All connections are to end in time, and no new one is to begin.
    CloseAll(Arc<Closing>),
    /// A share of the connections is to end in time; when that is over, how many were asked?
    Shed(Shedding, Reply<usize>),
    /// All connections that are left are to be given up; how many there were?
    CutAll(Reply<usize>),
    /// Who is connected, or in a room?
    List(Listing),
    /// Where is the connection?
    Rooms(ConnKey, Reply<Vec<Arc<Room>>>),
    /// What does the connection share with its session? Nothing, if it has ended.
    Link(ConnKey, Reply<Option<Arc<Link>>>),
    /// The hub is gone.
    Stop,
}

impl<S> Command<S> {
    /// Whether it takes the place of a message in the inbox.
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

/// What happens to some connections of one shard. Others that are in its audience by then are meant, too:
/// it stands in the order of the inbox, as joins and leaves do.
#[derive(Debug)]
pub struct Act {
    /// To whom it happens.
    pub audience: Audience,
    /// To whom of those it does not.
    pub except: Except,
    /// Which change it is.
    pub change: Change,
}

/// It must not make the entries of inboxes larger.
const _: () = assert!(size_of::<Act>() <= size_of::<Delivery>());

/// What can happen to many connections at once.
#[derive(Debug)]
pub enum Change {
    /// They end, after what was sent to them before.
    Close(Arc<Close>),
    /// They enter a room. It is claimed once for all of them, and counts this claim as a leave on its
    /// way: the shard makes a claim for each that enters.
    Join(Arc<Room>),
    /// They leave a room, if they are in it.
    Leave(Arc<Room>),
}

/// Frames on their way to some connections of one shard. They count as on their way to their address
/// until they are dropped.
pub struct Delivery {
    /// One frame, or a run of whole ones, shared by all who get them. Few enough bytes for a send
    /// queue, unless it is one.
    pub frames: Bytes,
    /// Who gets it.
    pub audience: Audience,
    /// Who of those does not.
    pub except: Except,
    counted_in: CountedIn,
    /// Told when the delivery is out, if it is followed. In a box: nearly all deliveries have none.
    pub(super) reply: Option<Box<Reply<usize>>>,
}

impl Delivery {
    // For `publish`, which pays 25 instructions a shard for the call.
    #[inline(always)]
    pub(super) fn new(
        frames: Bytes,
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

    /// A delivery whose bytes count as waiting for the connection already.
    pub(super) fn reserved(frames: Bytes, link: Arc<Link>, follow: Option<Follow<'_>>) -> Self {
        let (audience, counted_in) = (Audience::Conn(link.id()), CountedIn::Conn(link));
        let reply = follow.map(make_reply);
        Self { frames, audience, except: Except::Nobody, counted_in, reply }
    }

    /// Tells whoever follows the delivery that it is out, joined with others to so many messages.
    pub(super) fn answer(&mut self, messages: usize) {
        if let Some(reply) = self.reply.take() {
            reply(messages);
        }
    }
}

// Nearly no delivery is followed, and the others would pay for this code in their way.
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

/// Where a delivery that is not for one room counts as on its way.
#[derive(Debug)]
pub(super) enum CountedIn {
    /// With all that goes to everyone, or to several rooms.
    Everyone(Arc<Pending>),
    /// With what waits for this connection.
    Conn(Arc<Link>),
    /// Nowhere: it was sent to the id of a connection.
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
    /// All.
    Everyone,
    /// The members of a room.
    Room(Arc<Room>),
    /// The members of any of these rooms, each once.
    Rooms(Arc<[Arc<Room>]>),
    /// One.
    Conn(ConnKey),
}

impl Audience {
    /// No connection.
    pub(super) fn nobody() -> Self {
        Self::Rooms(Arc::default())
    }
}

/// The question for a slice of a list of connections: of those that are open, or of the members of a room.
///
/// A list is read from its end to its begin. An entry that leaves the list gives its place to the last entry, so
/// an entry only ever moves towards the begin: whoever is in the list all the time is in one slice at least, and
/// may be in two. Those that enter the list between two slices may be missing.
pub struct Listing {
    /// The room; without one, all connections that are open.
    pub room: Option<Arc<Room>>,
    /// The slice ends before this place.
    pub before: usize,
    /// Takes the slice.
    pub reply: Reply<Slice>,
}

/// It must not make the entries of inboxes larger.
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
    /// Where the slice begins: the next one ends there. Zero, if there is no next one.
    pub begin: usize,
}

/// Connections of an audience that a delivery passes by.
#[derive(Debug, Clone, Default)]
pub enum Except {
    /// Nobody is passed by.
    #[default]
    Nobody,
    /// One is, as when a sender does not want its own message.
    One(ConnKey),
    /// Several are; sorted. Not `Arc<[_]>`, which would make each entry of an inbox 8 bytes larger.
    Many(Arc<Vec<ConnKey>>),
}

impl Except {
    /// The connections that are passed by.
    pub fn ids(&self) -> &[ConnKey] {
        match self {
            Self::Nobody => &[],
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    /// Whether a connection is passed by.
    pub fn passes_by(&self, id: ConnKey) -> bool {
        self.ids().binary_search(&id).is_ok()
    }
}
