//! The extension permessage-deflate (RFC 7692): its negotiation, and the inflating of what clients
//! send.

mod extensions;
mod inflater;
mod offer;

pub(crate) use inflater::{InflateError, inflate};
pub(crate) use offer::{Agreement, negotiate};
