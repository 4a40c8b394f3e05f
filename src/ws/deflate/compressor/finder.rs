//! Finds earlier occurrences of bytes.

use super::codes::{MATCH_BYTES_MAX, MATCH_BYTES_MIN, Match};
use super::window::Window;

/// For each hash of four bytes, the newest positions in the window.
pub(super) struct Finder<const BUCKETS: usize> {
    buckets: Box<[Bucket; BUCKETS]>,
}

/// Four positions. The newest one is in the lowest 16 bits. Four loads from a window do not wait
/// for each other, while each position of a chain tells where the next one is.
#[derive(Clone, Copy, Default)]
pub(super) struct Bucket(u64);

const POSITIONS: u32 = 4;

/// A hash covers so many bytes, and a match has at least as many.
pub(super) const HASHED_BYTES: usize = 4;

impl Bucket {
    #[inline]
    fn position(self, at: u32) -> u16 {
        (self.0 >> (u16::BITS * at)) as u16
    }

    /// Replaces the oldest position.
    #[inline]
    fn with(self, position: u16) -> Self {
        Self(self.0 << u16::BITS | u64::from(position))
    }
}

impl<const BUCKETS: usize> Finder<BUCKETS> {
    const HASH_BITS: u32 = BUCKETS.ilog2();

    pub(super) fn new() -> Self {
        let buckets = vec![Bucket::default(); BUCKETS].into_boxed_slice();
        Self { buckets: buckets.try_into().unwrap_or_else(|_| unreachable!("the same length")) }
    }

    /// Adds the positions from `place` on, one for each of `candidates`. Writes there the positions
    /// of the same hash, as they were before.
    ///
    /// All positions of a batch are added before the batch is parsed. Adding them in the course of
    /// parsing, match by match, costs twice the mispredicted branches.
    pub(super) fn add<const BYTES: usize>(
        &mut self,
        window: &Window<BYTES>,
        place: u64,
        candidates: &mut [Bucket],
    ) {
        let mut position = place as u16;
        for before in candidates {
            // Multiplicative hashing by the golden ratio (Knuth, volume 3, section 6.4).
            let hash = window.load_u32(position).wrapping_mul(0x9E37_79B1);
            let bucket = &mut self.buckets[(hash >> (u32::BITS - Self::HASH_BITS)) as usize];
            *before = *bucket;
            *bucket = before.with(position);
            position = position.wrapping_add(1);
        }
    }
}

/// Looks among `candidates` for the longest match of the bytes from `place` to `end` that is longer
/// than `shorter` bytes, which are at least [`MATCH_BYTES_MIN`]. The nearest one of equal matches
/// wins: the code of its distance is shorter.
#[inline]
pub(super) fn search<const BYTES: usize>(
    window: &Window<BYTES>,
    (place, end): (u64, u64),
    candidates: Bucket,
    shorter: usize,
) -> Option<Match> {
    let position = place as u16;
    let distance_max = window.distance_max(place);
    let bytes_max = MATCH_BYTES_MAX.min((end - place) as usize);
    let (common, nearest) = first_word(window, position, distance_max, candidates);
    if common == size_of::<u64>() {
        let limits = Limits { distance_max, bytes_max };
        return search_long(window, position, limits, candidates, nearest, shorter);
    }
    let bytes = common.min(bytes_max);
    let distance = position.wrapping_sub(candidates.position(nearest));
    (bytes > shorter).then_some(Match { bytes: bytes as u16, distance })
}

/// How many bytes of the first eight the best candidate has in common, and the nearest candidate
/// that has so many. Does not branch: which candidate is the best one is hard to predict.
#[inline]
fn first_word<const BYTES: usize>(
    window: &Window<BYTES>,
    position: u16,
    distance_max: u16,
    candidates: Bucket,
) -> (usize, u32) {
    let word = window.load_u64(position);
    let mut most = 0;
    for at in 0..POSITIONS {
        let candidate = candidates.position(at);
        let is_outside = !is_within(position.wrapping_sub(candidate), distance_max);
        // A candidate outside of the window differs in its first bit.
        let difference = (window.load_u64(candidate) ^ word) | u64::from(is_outside);
        let common_bits = difference.trailing_zeros() & !7;
        most = most.max(common_bits | (POSITIONS - 1 - at));
    }
    let nearest = POSITIONS - 1 - most % u8::BITS;
    ((most / u8::BITS) as usize, nearest)
}

/// What a match must not exceed.
#[derive(Clone, Copy)]
struct Limits {
    distance_max: u16,
    bytes_max: usize,
}

/// A match of so many bytes ends a search.
const BYTES_ENOUGH: usize = 32;

/// The longest match among the candidates from `first` on.
#[inline]
fn search_long<const BYTES: usize>(
    window: &Window<BYTES>,
    position: u16,
    limits: Limits,
    candidates: Bucket,
    first: u32,
    shorter: usize,
) -> Option<Match> {
    let mut best = None;
    let mut best_bytes = shorter;
    for at in first..POSITIONS {
        let candidate = candidates.position(at);
        let distance = position.wrapping_sub(candidate);
        // A longer match has these four bytes in common, too.
        let last = (best_bytes - MATCH_BYTES_MIN) as u16;
        let word = |position: u16| window.load_u32(position.wrapping_add(last));
        if !is_within(distance, limits.distance_max) || word(candidate) != word(position) {
            continue;
        }
        let bytes = window.common_bytes(candidate, position).min(limits.bytes_max);
        if bytes > best_bytes {
            (best, best_bytes) = (Some(Match { bytes: bytes as u16, distance }), bytes);
            if bytes >= BYTES_ENOUGH {
                break;
            }
        }
    }
    best
}

#[inline]
fn is_within(distance: u16, distance_max: u16) -> bool {
    // 0 becomes the largest number.
    distance.wrapping_sub(1) < distance_max
}
