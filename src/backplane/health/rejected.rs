//! Payloads that no node of this hub can have sent.

/// Why a payload is rejected.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rejected {
    Garbage,
    UnknownVersion,
    Unauthenticated,
}
