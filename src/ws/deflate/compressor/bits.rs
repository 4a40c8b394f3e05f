//! Writes bits: deflate fills each byte from its lowest bit (RFC 1951, section 3.1.1).

/// Appends bits to bytes.
pub(super) struct BitWriter<'a> {
    /// The bytes, and behind `end` the space that was reserved.
    out: &'a mut Vec<u8>,
    end: usize,
    /// The bits that do not fill a byte yet.
    held: u64,
    held_bits: u32,
}

/// A word is written at once, beyond the bits that it holds.
const WORD: usize = size_of::<u64>();

/// A place to which a [`BitWriter`] can go back.
#[derive(Clone, Copy)]
pub(super) struct Mark {
    end: usize,
    held: u64,
    held_bits: u32,
}

impl<'a> BitWriter<'a> {
    /// A writer that begins with a new byte of `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        let end = out.len();
        Self { out, end, held: 0, held_bits: 0 }
    }

    /// Makes space for `bits` bits.
    pub(super) fn reserve(&mut self, bits: usize) {
        let wanted = self.end + bits / 8 + 2 * WORD;
        if self.out.len() < wanted {
            self.out.resize(wanted, 0);
        }
    }

    /// Appends the lowest `count` bits of `bits`, whose other bits are 0. At most 56 at once.
    ///
    /// # Panics
    /// If there is no reserved space.
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        debug_assert!(count <= 56 && bits >> count == 0);
        self.held |= bits << self.held_bits;
        self.held_bits += count;
        self.out[self.end..self.end + WORD].copy_from_slice(&self.held.to_le_bytes());
        let full = self.held_bits / 8;
        self.end += full as usize;
        self.held >>= full * 8;
        self.held_bits %= 8;
    }

    /// Appends zero bits up to the end of the byte, and then `bytes`.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.truncate(self.end);
        if self.held_bits > 0 {
            self.out.push(self.held as u8);
            (self.held, self.held_bits) = (0, 0);
        }
        self.out.extend_from_slice(bytes);
        self.end = self.out.len();
    }

    pub(super) fn mark(&self) -> Mark {
        Mark { end: self.end, held: self.held, held_bits: self.held_bits }
    }

    /// Takes back the bits since `mark`.
    pub(super) fn go_back(&mut self, mark: Mark) {
        Mark { end: self.end, held: self.held, held_bits: self.held_bits } = mark;
    }

    /// The bits from `mark` to here.
    pub(super) fn bits_since(&self, mark: Mark) -> usize {
        (self.end - mark.end) * 8 + self.held_bits as usize - mark.held_bits as usize
    }
}
