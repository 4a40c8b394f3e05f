//! From bytes to literals and matches.

use super::codes::Match;
use super::effort::Effort;
use super::finder::{self, Bucket, Finder, HASHED_BYTES};
use super::tokens::Sink;
use super::window::Window;

/// Parses messages, with a window that they share.
pub(super) struct Parser<const BYTES: usize, const BUCKETS: usize> {
    window: Window<BYTES>,
    finder: Finder<BUCKETS>,
    /// For each byte of a batch, earlier positions.
    candidates: Box<[Bucket; BATCH_BYTES]>,
    effort: Effort,
}

/// A piece is parsed in batches. So many candidates still fit into the cache of a processor.
pub(super) const BATCH_BYTES: usize = 512;

/// A piece of a message, as far as it is parsed.
pub(super) struct Piece {
    /// The place of the next batch.
    batch: u64,
    /// The place of the next token. It may be beyond the next batch.
    next: u64,
    end: u64,
}

impl Piece {
    /// The bytes that are not parsed yet.
    pub(super) fn left(&self) -> usize {
        (self.end - self.next) as usize
    }

    pub(super) fn is_done(&self) -> bool {
        self.next == self.end && self.batch >= self.hashed_end()
    }

    /// The place behind the last byte that begins a hash.
    fn hashed_end(&self) -> u64 {
        self.end.saturating_sub(HASHED_BYTES as u64 - 1)
    }
}

impl<const BYTES: usize, const BUCKETS: usize> Parser<BYTES, BUCKETS> {
    pub(super) const PIECE_BYTES_MAX: usize = Window::<BYTES>::PIECE_BYTES_MAX;

    pub(super) const MEMORY: usize = BYTES + (BUCKETS + BATCH_BYTES) * size_of::<Bucket>();

    pub(super) fn new(window_bits: u8, effort: Effort) -> Self {
        let candidates = Box::new([Bucket::default(); BATCH_BYTES]);
        Self { window: Window::new(window_bits), finder: Finder::new(), candidates, effort }
    }

    /// Empties the window.
    pub(super) fn reset(&mut self) {
        self.window.reset();
    }

    /// The place of the next byte.
    pub(super) fn place(&self) -> u64 {
        self.window.end()
    }

    /// Takes back the bytes from `place` on.
    pub(super) fn go_back(&mut self, place: u64) {
        self.window.go_back(place);
    }

    /// Takes a piece of at most [`PIECE_BYTES_MAX`](Self::PIECE_BYTES_MAX) bytes.
    pub(super) fn begin(&mut self, piece: &[u8]) -> Piece {
        let start = self.window.end();
        self.window.push(piece);
        Piece { batch: start, next: start, end: self.window.end() }
    }

    /// Parses the next batch: at most [`BATCH_BYTES`] tokens.
    #[inline]
    pub(super) fn parse_batch(&mut self, piece: &mut Piece, sink: &mut impl Sink) {
        let count = piece.hashed_end().saturating_sub(piece.batch).min(BATCH_BYTES as u64);
        if count == 0 {
            // The last bytes of a piece are too few for a hash.
            for place in piece.next..piece.end {
                sink.literal(self.window.byte(place as u16));
            }
            piece.next = piece.end;
            return;
        }
        let candidates = &mut self.candidates[..count as usize];
        self.finder.add(&self.window, piece.batch, candidates);
        Batch { window: &self.window, candidates, start: piece.batch, end: piece.end }.parse(
            &mut piece.next,
            self.effort,
            sink,
        );
        piece.batch += count;
    }
}

/// The bytes of a batch, and what a search needs to know of them.
struct Batch<'a, const BYTES: usize> {
    window: &'a Window<BYTES>,
    candidates: &'a [Bucket],
    start: u64,
    end: u64,
}

impl<const BYTES: usize> Batch<'_, BYTES> {
    /// Parses from the place `next` on, and moves `next` behind the last token.
    #[inline]
    fn parse(&self, next: &mut u64, effort: Effort, sink: &mut impl Sink) {
        let mut at = (*next - self.start) as usize;
        while at < self.candidates.len() {
            let Some(mut found) = self.search(at, HASHED_BYTES - 1) else {
                sink.literal(self.byte(at));
                at += 1;
                continue;
            };
            // A longer match that begins one byte later is worth a literal.
            while found.bytes < effort.lazy_bytes_max
                && let Some(longer) = self.search(at + 1, usize::from(found.bytes))
            {
                sink.literal(self.byte(at));
                at += 1;
                found = longer;
            }
            sink.matching(found);
            at += usize::from(found.bytes);
        }
        *next = self.start + at as u64;
    }

    /// A match of the bytes at the index `at` that is longer than `shorter` bytes.
    #[inline]
    fn search(&self, at: usize, shorter: usize) -> Option<Match> {
        let candidates = *self.candidates.get(at)?;
        finder::search(self.window, (self.start + at as u64, self.end), candidates, shorter)
    }

    #[inline]
    fn byte(&self, at: usize) -> u8 {
        self.window.byte((self.start + at as u64) as u16)
    }
}
