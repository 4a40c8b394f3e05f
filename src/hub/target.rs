//! Whom a message is for.

use std::borrow::Cow;

use crate::backplane::ConnId;
use crate::engine::Address;

/// Whom a message is for: everyone, a room, several rooms or one connection, minus exceptions.
///
/// # Examples
/// ```
/// use roomcast::Target;
/// # fn example(sender: roomcast::ConnId) {
/// let _ = Target::everyone();
/// let _ = Target::room("lobby").except(sender);
/// let _ = Target::rooms(["news", "sport"]);
/// let _ = Target::conn(sender);
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Target<'a> {
    to: To<'a>,
    except: Vec<ConnId>,
}

#[derive(Debug, Clone)]
enum To<'a> {
    Everyone,
    Room(Cow<'a, str>),
    Rooms(Vec<String>),
    Conn(ConnId),
}

impl<'a> Target<'a> {
    fn new(to: To<'a>) -> Self {
        Self { to, except: Vec::new() }
    }

    /// All connections of the hub.
    pub fn everyone() -> Self {
        Self::new(To::Everyone)
    }

    /// The members of a room. Any string names a room, the empty one too.
    pub fn room(name: impl Into<Cow<'a, str>>) -> Self {
        Self::new(To::Room(name.into()))
    }

    /// The members of any of these rooms; a member of several gets the message once.
    pub fn rooms<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::new(To::Rooms(names.into_iter().map(Into::into).collect()))
    }

    /// One connection, of this node or another. If it has ended, nobody gets the message, which is no error.
    pub fn conn(id: ConnId) -> Self {
        Self::new(To::Conn(id))
    }

    /// Passes a connection by, as when a sender does not want its own message.
    pub fn except(mut self, id: ConnId) -> Self {
        self.except.push(id);
        self
    }

    /// Passes several connections by.
    pub fn except_all(mut self, ids: impl IntoIterator<Item = ConnId>) -> Self {
        self.except.extend(ids);
        self
    }

    pub(super) fn address(&self) -> Address<'_, ConnId> {
        match &self.to {
            To::Everyone => Address::Everyone,
            To::Room(name) => Address::Room(name),
            To::Rooms(names) => Address::Rooms(names),
            To::Conn(id) => Address::Conn(*id),
        }
    }

    pub(super) fn excepted(&self) -> &[ConnId] {
        &self.except
    }
}

impl<'a> From<ConnId> for Target<'a> {
    fn from(id: ConnId) -> Self {
        Self::conn(id)
    }
}
