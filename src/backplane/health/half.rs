//! The halves of a connection to a backplane.

/// Each fails and comes back by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Publisher,
    Subscriber,
}
