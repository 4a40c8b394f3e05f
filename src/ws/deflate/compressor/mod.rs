//! A compressor for what a shard sends: deflate (RFC 1951) for permessage-deflate (RFC 7692).
//!
//! A shard compresses a message while others wait. So time matters more than it does for files. The
//! messages are small, and resemble the messages before. This compressor differs from a general
//! one in these points:
//! - **Fixed codes**: a small message, compressed in a window of similar ones, has too few tokens
//!   for codes of its own. [`deflate`] writes them while it parses, and tries no others.
//! - **No chains**: [`finder`] keeps the four newest positions of each hash side by side, and
//!   compares with all of them without a branch.
//! - **Nothing is cleared**: positions count on when the window is emptied ([`window`]). So a
//!   message that is compressed alone costs no preparation.
//! - **No message grows**: a message that would not become shorter is sent as it is. It leaves the
//!   window as it was.
//!
//! # From bytes to frames
//! [`Deflater`] takes frames apart. [`deflate`] has [`parser`] turn a message into literals and
//! matches, and [`block`] write them as [`bits`], with [`codes`] that are fixed or made for the
//! block ([`dynamic`], [`huffman`]).

mod bits;
mod block;
mod codes;
mod deflate;
mod dynamic;
mod effort;
mod finder;
mod frames;
mod huffman;
mod parser;
#[cfg(test)]
mod tests;
mod tokens;
mod window;

pub(crate) use effort::Effort;
pub(crate) use frames::Deflater;
