//! The messages of the room.

use bytes::Bytes;
use roomcast::RawMessage;

/// One message in so many is large.
pub(crate) const LARGE_EACH: usize = 12;

/// The message with this number. Some are alike, some cannot be compressed, and all together fill the largest window
/// many times.
pub(crate) fn message(number: usize) -> RawMessage {
    match number % LARGE_EACH {
        0 => RawMessage::Text(news(number).repeat(400)),
        1 | 5 => RawMessage::Binary(noise(number, 200)),
        2 => RawMessage::Text(format!("{number}")),
        3 => RawMessage::Text(
            format!("第{number}号：房间里的每个人都读到这条消息 🎈 ").repeat(1 + number % 40),
        ),
        4 => RawMessage::Binary(Bytes::from(news(number))),
        7 if number == 199 => RawMessage::Binary(noise(number, 40_000)),
        9 if number % 24 == 9 => RawMessage::Text(String::new()),
        _ => RawMessage::Text(news(number)),
    }
}

fn news(number: usize) -> String {
    format!(
        r#"{{"type":"news","number":{number},"author":"{}","text":"the {number}th text for the whole room"}}"#,
        ["Ann", "Bob", "Cid"][number % 3]
    )
}

/// Bytes that deflate cannot compress.
fn noise(seed: usize, bytes: usize) -> Bytes {
    let mut state = seed as u64;
    let next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}
