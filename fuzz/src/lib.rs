//! What several fuzz targets use.

mod wire;

pub use self::wire::Wire;
