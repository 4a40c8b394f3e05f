//! The bytes that a client sends, as the server reads them.

/// The opcode of a continuation frame: the second and later fragments of a message.
const CONTINUATION: u8 = 0x0;
/// The opcode of a text message.
const TEXT: u8 = 0x1;
const FIN: u8 = 0x80;

/// The mask of all frames; an arbitrary value.
pub(crate) const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Bytes that a client sends, split into the reads of the server.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) reads: Vec<Vec<u8>>,
    /// The number of messages that end in these reads.
    pub(crate) messages: usize,
}

impl Script {
    pub(crate) fn bytes(&self) -> usize {
        self.reads.iter().map(Vec::len).sum()
    }
}

/// The inputs of the decoding benchmarks.
pub(crate) fn scripts() -> Vec<Script> {
    let small = frame(FIN | TEXT, 128);
    let middle = frame(FIN | TEXT, 4 << 10);
    let (front, back) = middle.split_at(middle.len() / 2);
    let script = |name, reads, messages| Script { name, reads, messages };
    vec![
        script("128 B", vec![small.clone()], 1),
        script("64 KiB", vec![frame(FIN | TEXT, 64 << 10)], 1),
        script("4 KiB in 16 fragments", vec![fragments(16, 256)], 1),
        script("16 of 128 B in one read", vec![small.repeat(16)], 16),
        script("4 KiB in two reads", vec![front.to_vec(), back.to_vec()], 1),
    ]
}

/// A message of fragments of equal size.
fn fragments(fragments: usize, payload_bytes: usize) -> Vec<u8> {
    let first = |at| match at {
        0 => TEXT,
        last if last == fragments - 1 => FIN | CONTINUATION,
        _ => CONTINUATION,
    };
    (0..fragments).flat_map(|at| frame(first(at), payload_bytes)).collect()
}

/// A masked frame of ASCII text.
fn frame(first: u8, payload_bytes: usize) -> Vec<u8> {
    let mut frame = vec![first];
    match payload_bytes {
        0..126 => frame.push(0x80 | payload_bytes as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((payload_bytes as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload_bytes as u64).to_be_bytes());
        }
    }
    frame.extend(MASK);
    frame.extend((0..payload_bytes).map(|at| b'x' ^ MASK[at % 4]));
    frame
}
