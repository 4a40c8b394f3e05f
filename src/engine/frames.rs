//! A run of frames on its way to clients.

use std::ops::Deref;

use bytes::Bytes;

use super::frame;

/// A run of one or more whole data frames, shared by all its recipients.
#[derive(Debug, Clone, Default)]
pub struct Frames {
    bytes: Bytes,
    stays_plain: bool,
}

impl Frames {
    /// The same frames, never to be compressed.
    pub fn uncompressed(self) -> Self {
        Self { stays_plain: true, ..self }
    }

    /// Whether the frames may be compressed.
    pub fn is_compressible(&self) -> bool {
        !self.stays_plain
    }

    /// Each frame as a run of its own. It gets memory of its own, so that a kept frame does not keep
    /// the whole run; a run of one frame is shared.
    pub fn split(&self) -> impl Iterator<Item = Self> + '_ {
        let stays_plain = self.stays_plain;
        frame::split(&self.bytes).map(move |bytes| Self { bytes, stays_plain })
    }
}

impl From<Bytes> for Frames {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, stays_plain: false }
    }
}

impl From<Vec<u8>> for Frames {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Deref for Frames {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}
