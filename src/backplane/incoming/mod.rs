//! From the driver to the members here: payloads wait in a bounded queue, are read, and are delivered.

pub(crate) mod inbound;
mod ledger;
#[cfg(feature = "json")]
pub(crate) mod plain;
pub(crate) mod receiving;
