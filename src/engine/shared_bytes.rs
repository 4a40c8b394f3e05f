//! Copies of bytes for many owners.

use bytes::Bytes;

/// The sizes of the inline buffers. An allocation has 17 bytes more: for the number of owners, for
/// the function that frees it, and for the length. The sums, 120 and 248, fill a block of glibc's
/// allocator.
const SMALL_BYTES: usize = 103;
const MEDIUM_BYTES: usize = 231;

/// Copies `bytes` for many owners.
///
/// Up to 231 bytes take one allocation, together with the number of their owners. `Bytes` alone
/// takes a second allocation for that number, at the first clone. In 1,000 rooms of 8 members with 4
/// or 16 messages in flight, a delivery then took 3 to 10 % more processor time.
pub(crate) fn copy_for_many(bytes: &[u8]) -> Bytes {
    match bytes.len() {
        length if length <= SMALL_BYTES => Bytes::from_owner(Inline::<SMALL_BYTES>::copy(bytes)),
        length if length <= MEDIUM_BYTES => Bytes::from_owner(Inline::<MEDIUM_BYTES>::copy(bytes)),
        _ => Bytes::copy_from_slice(bytes),
    }
}

/// At most `N` bytes.
struct Inline<const N: usize> {
    length: u8,
    bytes: [u8; N],
}

impl<const N: usize> Inline<N> {
    fn copy(from: &[u8]) -> Self {
        let mut bytes = [0; N];
        bytes[..from.len()].copy_from_slice(from);
        Self { length: from.len() as u8, bytes }
    }
}

impl<const N: usize> AsRef<[u8]> for Inline<N> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_all_lengths_are_equal_and_clones_share_them() {
        for length in 0..=MEDIUM_BYTES + 2 {
            let bytes: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let copy = copy_for_many(&bytes);
            assert_eq!(copy, bytes);
            let clone = copy.clone();
            assert_eq!(clone.as_ptr(), copy.as_ptr());
            drop(copy);
            assert_eq!(clone, bytes);
        }
    }
}
