//! How hard a compressor works.

/// What a compressor does for fewer bytes.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// After a shorter match than this, a longer match is looked for one byte later.
    pub(super) lazy_bytes_max: u16,
    /// Messages of up to so many bytes have fixed codes. They are coded while they are parsed.
    pub(super) fixed_bytes_max: usize,
    /// Blocks of a longer message with fewer tokens have fixed codes, too.
    pub(super) dynamic_tokens_min: usize,
}

impl Effort {
    /// Less time.
    pub(crate) const FAST: Self =
        Self { lazy_bytes_max: 0, fixed_bytes_max: 1024, dynamic_tokens_min: 256 };

    /// Fewer bytes.
    pub(crate) const THOROUGH: Self =
        Self { lazy_bytes_max: 32, fixed_bytes_max: 256, dynamic_tokens_min: 160 };
}
