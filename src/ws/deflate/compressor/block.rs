//! Writes blocks (RFC 1951, section 3.2.3). No block is marked as the last one of the stream.

use std::ops::Range;

use super::bits::BitWriter;
use super::codes::{Code, Codes, END_OF_BLOCK, FIXED, Match, Symbol};
use super::dynamic::Dynamic;
use super::tokens::{Kind, Sink, Token};

const STORED: u64 = 0b00;
const FIXED_CODES: u64 = 0b01;
const DYNAMIC_CODES: u64 = 0b10;

/// The most bytes of a stored block.
const STORED_BYTES_MAX: usize = u16::MAX as usize;

/// The most bits of a block with fixed codes, for `bytes` bytes in `tokens` tokens. A literal has
/// up to nine bits, a match 31, which is less than its four bytes have as literals.
fn fixed_bits_max(bytes: usize, tokens: usize) -> usize {
    3 + (bytes * 9).min(tokens * 31) + 7
}

/// A block whose codes are known, written token by token.
pub(super) struct Block<'a, 'b> {
    bits: &'a mut BitWriter<'b>,
    codes: &'a Codes,
}

impl<'a, 'b> Block<'a, 'b> {
    /// Begins a block with fixed codes, for `bytes` bytes of a message.
    pub(super) fn fixed(bits: &'a mut BitWriter<'b>, bytes: usize) -> Self {
        bits.reserve(fixed_bits_max(bytes, bytes));
        put_header(bits, FIXED_CODES);
        Self { bits, codes: &FIXED }
    }

    /// Ends the block.
    pub(super) fn end(self) {
        let end = self.codes.literals[usize::from(END_OF_BLOCK)];
        self.bits.put(end.bits.into(), end.length.into());
    }

    fn put_all(mut self, tokens: &[Token]) {
        for token in tokens {
            match token.kind() {
                Kind::Literal(byte) => self.literal(byte),
                Kind::Match(found) => self.matching(found),
            }
        }
        self.end();
    }
}

impl Sink for Block<'_, '_> {
    #[inline]
    fn literal(&mut self, byte: u8) {
        let code = self.codes.literals[usize::from(byte)];
        self.bits.put(code.bits.into(), code.length.into());
    }

    #[inline]
    fn matching(&mut self, found: Match) {
        let symbol = found.length_symbol();
        let (length, length_bits) = coded(self.codes.literals[usize::from(symbol.symbol)], symbol);
        let symbol = found.distance_symbol();
        let (distance, distance_bits) =
            coded(self.codes.distances[usize::from(symbol.symbol)], symbol);
        self.bits.put(length | distance << length_bits, length_bits + distance_bits);
    }
}

/// A code and the extra bits behind it, and how many bits that is.
#[inline]
fn coded(code: Code, symbol: Symbol) -> (u64, u32) {
    let length = u32::from(code.length);
    let bits = u64::from(code.bits) | u64::from(symbol.extra) << length;
    (bits, length + u32::from(symbol.extra_bits))
}

/// The blocks of a message.
pub(super) struct Blocks<'a, 'b> {
    bits: &'a mut BitWriter<'b>,
    message: &'a [u8],
    /// The bytes that are to be stored, and are not written yet: so neighbours become one block.
    stored: Range<usize>,
    dynamic_tokens_min: usize,
}

impl<'a, 'b> Blocks<'a, 'b> {
    pub(super) fn new(
        bits: &'a mut BitWriter<'b>,
        message: &'a [u8],
        dynamic_tokens_min: usize,
    ) -> Self {
        Self { bits, message, stored: 0..0, dynamic_tokens_min }
    }

    /// Writes the block of `tokens`, which stand for the bytes up to the index `end`.
    pub(super) fn write(&mut self, tokens: &[Token], end: usize) {
        let bytes = end - self.stored.end;
        let start = self.bits.mark();
        self.put_coded(tokens, bytes);
        if self.bits.bits_since(start) > bytes * 8 {
            self.bits.go_back(start);
            self.stored.end = end;
            return;
        }
        if !self.stored.is_empty() {
            // The stored bytes belong before this block.
            self.bits.go_back(start);
            self.put_stored();
            self.put_coded(tokens, bytes);
        }
        self.stored = end..end;
    }

    /// Writes what is left.
    pub(super) fn end(mut self) {
        self.put_stored();
    }

    fn put_coded(&mut self, tokens: &[Token], bytes: usize) {
        self.bits.reserve(fixed_bits_max(bytes, tokens.len()));
        if tokens.len() >= self.dynamic_tokens_min {
            let dynamic = Dynamic::new(tokens);
            if dynamic.is_shorter_than_fixed() {
                put_header(self.bits, DYNAMIC_CODES);
                dynamic.put_description(self.bits);
                return Block { bits: self.bits, codes: dynamic.codes() }.put_all(tokens);
            }
        }
        put_header(self.bits, FIXED_CODES);
        Block { bits: self.bits, codes: &FIXED }.put_all(tokens);
    }

    fn put_stored(&mut self) {
        for chunk in self.message[self.stored.clone()].chunks(STORED_BYTES_MAX) {
            self.bits.reserve(3);
            put_header(self.bits, STORED);
            let length = chunk.len() as u16;
            self.bits.put_bytes(&length.to_le_bytes());
            self.bits.put_bytes(&(!length).to_le_bytes());
            self.bits.put_bytes(chunk);
        }
    }
}

/// Ends a message: the empty stored block of a sync flush, without its four bytes of lengths, which
/// the receiver appends (RFC 7692, section 7.2.1).
pub(super) fn put_flush(bits: &mut BitWriter<'_>) {
    bits.reserve(3);
    put_header(bits, STORED);
    bits.put_bytes(&[]);
}

/// Writes the header of a block. The first bit would mark the last block.
fn put_header(bits: &mut BitWriter<'_>, kind: u64) {
    bits.put(kind << 1, 3);
}
