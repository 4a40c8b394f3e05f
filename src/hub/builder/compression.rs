//! The setting of compression.

use super::Builder;
use crate::hub::Compression;

/// # Compression
impl<Out: 'static, In: Send + 'static> Builder<Out, In> {
    /// Compresses messages for clients that ask for it (RFC 7692, permessage-deflate), and takes
    /// compressed messages from them. Default: off, as with `None`.
    ///
    /// A client that asks with an offer that cannot be read is refused with 400. Clients that do not
    /// ask cost nothing more. The page [`compression`](crate::docs::compression) tells the rest.
    pub fn compression(mut self, compression: impl Into<Option<Compression>>) -> Self {
        self.compression = compression.into();
        self
    }
}
