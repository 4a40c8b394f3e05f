//! The identities of nodes and connections, unique among all nodes.

use std::fmt;
use std::str::FromStr;

use crate::engine::{Address, ConnKey};

/// The identity of a node, which is one hub that was built: 128 random bits. A hub that is built
/// anew gets a new one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId([u8; 16]);

impl NodeId {
    /// Makes a new identity.
    ///
    /// # Panics
    /// If the system has no source of randomness.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has a source of randomness");
        Self(bytes)
    }

    /// The 16 bytes of the wire format.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Makes an identity from the bytes of the wire format.
    pub(crate) const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

/// The identity of a connection, unique among all nodes and never used again.
///
/// The text form, for logs and messages, is the node in 32 hexadecimal digits, a dash, and the
/// number of the connection on that node. [`parse`](str::parse) reads it back on any node.
///
/// # Examples
/// ```
/// use roomcast::ConnId;
///
/// let id: ConnId = "000102030405060708090a0b0c0d0e0f-400".parse()?;
/// assert_eq!(id.to_string(), "000102030405060708090a0b0c0d0e0f-400");
/// assert!("400".parse::<ConnId>().is_err());
/// # Ok::<(), roomcast::ParseConnIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    node: NodeId,
    key: ConnKey,
}

impl ConnId {
    pub(crate) fn new(node: NodeId, key: ConnKey) -> Self {
        Self { node, key }
    }

    /// The node that the connection belongs to.
    pub fn node(self) -> NodeId {
        self.node
    }

    pub(crate) fn key(self) -> ConnKey {
        self.key
    }

    /// The key of the connection, if it belongs to this node.
    pub(crate) fn key_on(self, node: NodeId) -> Option<ConnKey> {
        (self.node == node).then_some(self.key)
    }
}

impl<'a> Address<'a, ConnId> {
    /// The part of the address that concerns one node; `None` for a connection of another node.
    pub(crate) fn on(self, node: NodeId) -> Option<Address<'a>> {
        Some(match self {
            Self::Everyone => Address::Everyone,
            Self::Room(room) => Address::Room(room),
            Self::Rooms(rooms) => Address::Rooms(rooms),
            Self::Conn(id) => Address::Conn(id.key_on(node)?),
        })
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", self.node, self.key.as_u64())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

impl FromStr for ConnId {
    type Err = ParseConnIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (node, key) = text.split_once('-').ok_or(ParseConnIdError)?;
        // `from_str_radix` would accept a sign.
        let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if node.len() != 32 || !are_digits(node) || !are_digits(key) {
            return Err(ParseConnIdError);
        }
        let node = u128::from_str_radix(node, 16).map_err(|_| ParseConnIdError)?;
        let key = u64::from_str_radix(key, 16).map_err(|_| ParseConnIdError)?;
        Ok(Self { node: NodeId(node.to_be_bytes()), key: ConnKey::from_u64(key) })
    }
}

/// The text form, in every format.
#[cfg(feature = "serde")]
impl serde::Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// The text form, in every format.
#[cfg(feature = "serde")]
impl serde::Serialize for ConnId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ConnId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text is not the identity of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a connection id: 32 hexadecimal digits, a dash, and up to 16 more")]
pub struct ParseConnIdError;
