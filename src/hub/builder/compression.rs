//! The setting of compression.

use super::Builder;
use crate::hub::Compression;

/// # Compression
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Compresses messages for clients that ask for it (RFC 7692, permessage-deflate), and takes
    /// compressed messages from them. Default: off.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }
}
