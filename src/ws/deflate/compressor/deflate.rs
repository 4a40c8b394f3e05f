//! Deflates messages.

use super::bits::BitWriter;
use super::block::{self, Block, Blocks};
use super::effort::Effort;
use super::parser::{BATCH_BYTES, Parser};
use super::tokens::Token;

/// The most tokens of a block, for the sake of memory: deflate has no limit.
const TOKENS_MAX: usize = 4096;

/// Deflates messages, with a window that they share. `BYTES` and `BUCKETS` are the sizes of the
/// window's buffer and of the table of its positions.
pub(super) struct Deflate<const BYTES: usize, const BUCKETS: usize> {
    parser: Parser<BYTES, BUCKETS>,
    tokens: Vec<Token>,
    effort: Effort,
}

impl<const BYTES: usize, const BUCKETS: usize> Deflate<BYTES, BUCKETS> {
    /// The bytes of memory that a `Deflate` has on the heap.
    pub(super) const MEMORY: usize =
        Parser::<BYTES, BUCKETS>::MEMORY + TOKENS_MAX * size_of::<Token>();

    pub(super) fn new(window_bits: u8, effort: Effort) -> Self {
        let tokens = Vec::with_capacity(TOKENS_MAX);
        Self { parser: Parser::new(window_bits, effort), tokens, effort }
    }

    /// Empties the window, in constant time.
    pub(super) fn reset(&mut self) {
        self.parser.reset();
    }

    /// Appends the compressed form of `message` to `out`, if it is shorter than the message.
    /// Otherwise `out` and the window stay as they were.
    pub(super) fn deflate(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        let (start, place) = (out.len(), self.parser.place());
        let mut bits = BitWriter::new(out);
        if message.len() <= self.effort.fixed_bytes_max {
            self.deflate_small(message, &mut bits);
        } else {
            self.deflate_large(message, &mut bits);
        }
        block::put_flush(&mut bits);
        let is_shorter = out.len() - start < message.len();
        if !is_shorter {
            out.truncate(start);
            self.parser.go_back(place);
        }
        is_shorter
    }

    /// One block with fixed codes.
    fn deflate_small(&mut self, message: &[u8], bits: &mut BitWriter<'_>) {
        let mut block = Block::fixed(bits, message.len());
        let mut piece = self.parser.begin(message);
        while !piece.is_done() {
            self.parser.parse_batch(&mut piece, &mut block);
        }
        block.end();
    }

    /// Blocks whose codes are chosen when their tokens are known.
    fn deflate_large(&mut self, message: &[u8], bits: &mut BitWriter<'_>) {
        let mut blocks = Blocks::new(bits, message, self.effort.dynamic_tokens_min);
        let mut left = message.len();
        self.tokens.clear();
        for bytes in message.chunks(Parser::<BYTES, BUCKETS>::PIECE_BYTES_MAX) {
            left -= bytes.len();
            let mut piece = self.parser.begin(bytes);
            while !piece.is_done() {
                self.parser.parse_batch(&mut piece, &mut self.tokens);
                let is_last = left == 0 && piece.is_done();
                if is_last || self.tokens.len() > TOKENS_MAX - BATCH_BYTES {
                    blocks.write(&self.tokens, message.len() - left - piece.left());
                    self.tokens.clear();
                }
            }
        }
        blocks.end();
    }
}
