//! Copies of bytes for many owners.

use bytes::Bytes;

/// The sizes of the inline buffers. An allocation has 9 bytes more, for the length and for the number
/// of owners, and glibc's allocator adds 8 bytes: the sums are 64, 128 and 256.
const SIZES: [usize; 3] = [47, 111, 239];

/// Copies `bytes` for many owners.
///
/// Up to 239 bytes take one allocation, together with the number of their owners. `Bytes` alone
/// takes a second allocation for that number, at the first clone. With it, a delivery in 1,000 rooms
/// of 8 members with 4 or 16 messages in flight took 3 to 10 % more processor time.
pub(crate) fn copy_for_many(bytes: &[u8]) -> Bytes {
    match SIZES.iter().position(|&size| bytes.len() <= size) {
        Some(0) => Bytes::from_owner(Inline::<{ SIZES[0] }>::copy(bytes)),
        Some(1) => Bytes::from_owner(Inline::<{ SIZES[1] }>::copy(bytes)),
        Some(_) => Bytes::from_owner(Inline::<{ SIZES[2] }>::copy(bytes)),
        None => Bytes::copy_from_slice(bytes),
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
        for length in 0..=SIZES[2] + 2 {
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
