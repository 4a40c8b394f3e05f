//! Targets: whom a message is for.

use std::borrow::Cow;
#[cfg(feature = "json")]
use std::slice;

use crate::backplane::identity::ConnId;
use crate::engine::Address;

/// Whom a message is for: everyone, a room, several rooms or one connection, minus exceptions.
///
/// # Examples
/// ```
/// use roomcast::{ConnId, Target};
///
/// fn targets<'a>(sender: ConnId, topics: &'a [String]) -> [Target<'a>; 4] {
///     [
///         Target::everyone(),
///         Target::room("lobby").except(sender),
///         Target::rooms(topics),
///         Target::conn(sender),
///     ]
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Target<'a> {
    to: To<'a>,
    except: Vec<ConnId>,
}

/// Whom a message is for, before exceptions. Names are owned, or borrowed from the caller or from
/// an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To<'a> {
    /// All connections.
    Everyone,
    /// The members of a room.
    Room(Cow<'a, str>),
    /// The members of any of these rooms, each once.
    Rooms(Vec<Cow<'a, str>>),
    /// One connection, of any node.
    Conn(ConnId),
}

impl To<'_> {
    /// Returns the engine's form of the target.
    pub fn address(&self) -> Address<'_, ConnId> {
        match self {
            Self::Everyone => Address::Everyone,
            Self::Room(name) => Address::Room(name),
            Self::Rooms(names) => Address::Rooms(names),
            Self::Conn(id) => Address::Conn(*id),
        }
    }

    /// The names of its rooms; empty for everyone and for one connection.
    #[cfg(feature = "json")]
    pub fn names(&self) -> &[Cow<'_, str>] {
        match self {
            Self::Everyone | Self::Conn(_) => &[],
            Self::Room(name) => slice::from_ref(name),
            Self::Rooms(names) => names,
        }
    }
}

impl<'a> Target<'a> {
    fn new(to: To<'a>) -> Self {
        Self { to, except: Vec::new() }
    }

    /// All connections of the hub.
    pub fn everyone() -> Self {
        Self::new(To::Everyone)
    }

    /// The members of a room. Any string names a room, even the empty string.
    pub fn room(name: impl Into<Cow<'a, str>>) -> Self {
        Self::new(To::Room(name.into()))
    }

    /// The members of any of these rooms. A member of several rooms gets the message once. Borrowed
    /// names are not copied.
    pub fn rooms<N: Into<Cow<'a, str>>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(To::Rooms(names.into_iter().map(Into::into).collect()))
    }

    /// One connection, of this node or another. If the connection has ended, nobody gets the
    /// message, and that is no error.
    pub fn conn(id: ConnId) -> Self {
        Self::new(To::Conn(id))
    }

    /// Leaves out a connection, for example the sender of the message.
    pub fn except(mut self, id: ConnId) -> Self {
        self.except.push(id);
        self
    }

    /// Leaves out several connections.
    pub fn except_all(mut self, ids: impl IntoIterator<Item = ConnId>) -> Self {
        self.except.extend(ids);
        self
    }

    pub(crate) fn address(&self) -> Address<'_, ConnId> {
        self.to.address()
    }

    pub(crate) fn excepted(&self) -> &[ConnId] {
        &self.except
    }
}

impl<'a> From<ConnId> for Target<'a> {
    fn from(id: ConnId) -> Self {
        Self::conn(id)
    }
}
