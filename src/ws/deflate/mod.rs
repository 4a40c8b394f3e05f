//! The extension permessage-deflate (RFC 7692).

mod compressor;

pub(crate) use self::compressor::Deflater;
