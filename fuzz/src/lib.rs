//! What several fuzz targets use.

pub mod naive_inflate;
mod wire;

pub use self::wire::Wire;
