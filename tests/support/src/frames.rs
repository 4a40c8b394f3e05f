//! Hand-made frames of a client.

/// A mask key that maps ASCII to ASCII, so that a payload that is not unmasked is valid text, too.
const MASK: [u8; 4] = [0x37, 0x5A, 0x21, 0x3D];

/// The bit of the first byte that marks a compressed message.
pub const RSV1: u8 = 0x40;

/// Deflates by a library that the hub does not use. The stream ends with a final block (RFC 7692, section 7.2.3.4).
pub fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut deflated = miniz_oxide::deflate::compress_to_vec(payload, 6);
    deflated.push(0x00);
    deflated
}

/// A masked frame, as a client sends it.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The header of a masked frame that declares `length` bytes.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..=125 => bytes.push(0x80 | length as u8),
        126..=0xFFFF => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}
