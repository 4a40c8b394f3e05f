//! The window: the bytes that were compressed last, and the bytes to compress now.

use super::codes::MATCH_BYTES_MAX;

/// A ring of bytes. `BYTES` is the size of the ring, a power of two, and [`TAIL_BYTES`].
///
/// # Places and positions
/// The *place* of a byte is the count of all bytes before it, since the compressor was made. Its
/// *position* is the place modulo 65,536. Resetting changes neither. So tables of positions are
/// never cleared: an old position leads to other bytes than before, and a comparison decides.
pub(super) struct Window<const BYTES: usize> {
    bytes: Box<[u8; BYTES]>,
    /// The place of the first byte that a match may refer to.
    start: u64,
    /// The place behind the last byte.
    end: u64,
    distance_max: u64,
}

/// The first bytes of the ring stand behind its end once more, so that a comparison of bytes need
/// not wrap.
pub(super) const TAIL_BYTES: usize = COMPARED_BYTES_MAX + WORD;

/// The longest match, in whole words.
const COMPARED_BYTES_MAX: usize = MATCH_BYTES_MAX.next_multiple_of(WORD);

/// Bytes are compared in words of this size.
const WORD: usize = size_of::<u64>();

impl<const BYTES: usize> Window<BYTES> {
    const RING: usize = BYTES - TAIL_BYTES;

    /// The most bytes of a piece. A piece fits into the ring beside a window of the same size.
    pub(super) const PIECE_BYTES_MAX: usize = Self::RING / 2;

    /// An empty window for distances of up to 2 to the power of `window_bits` bytes.
    pub(super) fn new(window_bits: u8) -> Self {
        let distance_max = 1 << window_bits;
        assert!(distance_max <= Self::PIECE_BYTES_MAX as u64, "the window is half the ring");
        let bytes = vec![0; BYTES].into_boxed_slice();
        let bytes = bytes.try_into().expect("the length of the array");
        Self { bytes, start: 0, end: 0, distance_max }
    }

    /// Forgets all bytes.
    pub(super) fn reset(&mut self) {
        self.start = self.end;
    }

    /// The place of the next byte.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Forgets the bytes from the place `end` on. Forgets all bytes, if bytes of the window
    /// have been overwritten since.
    pub(super) fn go_back(&mut self, end: u64) {
        if self.end - end > Self::RING as u64 - self.distance_max {
            self.reset();
        } else {
            self.end = end;
        }
    }

    /// Appends a piece of at most [`PIECE_BYTES_MAX`](Self::PIECE_BYTES_MAX) bytes.
    pub(super) fn push(&mut self, piece: &[u8]) {
        debug_assert!(piece.len() <= Self::PIECE_BYTES_MAX);
        let index = Self::index(self.end as u16);
        let (here, wrapped) = piece.split_at(piece.len().min(Self::RING - index));
        self.bytes[index..index + here.len()].copy_from_slice(here);
        self.bytes[..wrapped.len()].copy_from_slice(wrapped);
        if index < TAIL_BYTES || !wrapped.is_empty() {
            self.bytes.copy_within(..TAIL_BYTES, Self::RING);
        }
        self.end += piece.len() as u64;
    }

    /// The longest distance from `place` to a byte that a match may refer to.
    #[inline]
    pub(super) fn distance_max(&self, place: u64) -> u16 {
        (place - self.start).min(self.distance_max) as u16
    }

    #[inline]
    pub(super) fn byte(&self, position: u16) -> u8 {
        self.bytes[Self::index(position)]
    }

    #[inline]
    pub(super) fn load_u32(&self, position: u16) -> u32 {
        let index = Self::index(position);
        u32::from_le_bytes(self.bytes[index..index + 4].try_into().expect("four bytes"))
    }

    #[inline]
    pub(super) fn load_u64(&self, position: u16) -> u64 {
        let index = Self::index(position);
        u64::from_le_bytes(self.bytes[index..index + WORD].try_into().expect("a word"))
    }

    /// How many bytes are the same from the two positions on, up to the longest match. Counts bytes
    /// behind the end of the window, too.
    #[inline]
    pub(super) fn common_bytes(&self, one: u16, other: u16) -> usize {
        let (one, other) = (self.words(one), self.words(other));
        for (at, (one, other)) in one.iter().zip(other).enumerate() {
            let difference = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
            if difference != 0 {
                return at * WORD + (difference.trailing_zeros() / u8::BITS) as usize;
            }
        }
        COMPARED_BYTES_MAX
    }

    #[inline]
    fn words(&self, position: u16) -> &[[u8; WORD]] {
        let index = Self::index(position);
        self.bytes[index..index + COMPARED_BYTES_MAX].as_chunks().0
    }

    // The mask proves to the compiler that a load stays within the array.
    #[inline]
    fn index(position: u16) -> usize {
        usize::from(position) & (Self::RING - 1)
    }
}
