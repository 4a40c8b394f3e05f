//! From the driver to the members here: payloads wait in a bounded queue, are parsed, and are
//! delivered.

mod ledger;
#[cfg(feature = "json")]
pub(crate) mod plain;
pub(crate) mod queue;
pub(crate) mod receiving;
