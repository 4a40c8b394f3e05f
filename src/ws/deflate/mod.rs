//! The extension permessage-deflate (RFC 7692): its negotiation, the inflating of what clients send,
//! and the compressor of what they get.

mod compressor;
mod extensions;
mod inflater;
mod offer;

pub(crate) use compressor::{Deflater, Effort};
pub(crate) use inflater::{InflateError, inflate};
pub(crate) use offer::{Agreement, negotiate};
