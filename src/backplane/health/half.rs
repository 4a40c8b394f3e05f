//! The two halves of a connection to a backplane.

/// A half. Each half fails and recovers on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Publisher,
    Subscriber,
}
