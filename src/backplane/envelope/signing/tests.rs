use super::*;
use crate::backplane::envelope::{
    EnvelopeBody, EnvelopeHeader, Heartbeat, MessageContent, Packer, Report, RoomCount, count,
    encode,
};
use crate::backplane::identity::NodeId;
use crate::engine::{Address, FrameKind, frame};

const HEADER: EnvelopeHeader =
    EnvelopeHeader { node: NodeId::from_bytes([7; 16]), epoch: 1_000, first: 40 };

fn key(first: u8) -> Vec<u8> {
    (first..first + 32).collect()
}

fn signing(firsts: &[u8]) -> Signing {
    Signing::with(&firsts.iter().map(|&first| key(first)).collect::<Vec<_>>())
}

fn envelope() -> Vec<u8> {
    let mut packer = Packer::default();
    let frame = frame::encode(FrameKind::Text, b"hello").into();
    packer.push(&encode(Address::Room("r"), std::iter::empty(), MessageContent::framed(&frame)));
    packer.seal(HEADER)
}

fn heartbeat() -> Vec<u8> {
    let report = Report {
        connections: 3,
        rooms: [RoomCount { room_hash: 1, members: 2 }].into(),
        ..Report::default()
    };
    Heartbeat { report: Some(report), ..Heartbeat::default() }.seal(HEADER)
}

#[test]
fn signed_envelopes_are_opened_and_read() {
    let signing = signing(&[0]);
    for (envelope, messages) in [(envelope(), 1), (heartbeat(), 0)] {
        let unsigned = Envelope::parse(&envelope).unwrap();
        let payload = signing.seal("chat", envelope.clone());
        assert_eq!((count(&payload), payload.len()), (messages, envelope.len() + 16));
        let opened = signing.open("chat", payload).expect("the signature is valid");
        assert_eq!(signing.parse(&opened), Ok(unsigned));
    }
}

#[test]
fn signature_equals_that_of_another_implementation() {
    // Python: the first half of hmac.new(bytes(range(32)), struct.pack("<Q", 4) + b"chat" +
    // envelope, "sha256"), with the envelope as documented and the version 0x82.
    let expected = 0x4b85_cc4f_7e9e_2c96_668d_9784_1d8c_2f3d_u128.to_be_bytes();
    let payload = signing(&[0]).seal("chat", envelope());
    assert_eq!(payload[3], 0x82);
    assert_eq!(payload[payload.len() - 16..], expected);
}

#[test]
fn payloads_with_a_changed_bit_or_another_length_are_not_opened() {
    let signing = signing(&[0]);
    for envelope in [envelope(), heartbeat()] {
        let payload = signing.seal("chat", envelope).to_vec();
        for bit in 0..8 * payload.len() {
            let mut changed = payload.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(signing.open("chat", changed.into()), None, "bit {bit}");
        }
        for length in 0..payload.len() {
            let cut = Bytes::copy_from_slice(&payload[..length]);
            assert_eq!(signing.open("chat", cut), None, "{length} bytes");
        }
        assert_eq!(signing.open("chat", [&payload[..], &[0]].concat().into()), None);
    }
}

#[test]
fn payloads_of_another_channel_or_key_or_without_a_signature_are_not_opened() {
    let signed = signing(&[0]);
    let payload = signed.seal("chat", envelope());
    for channel in ["cha", "chat:0", "", "chatR"] {
        assert_eq!(signed.open(channel, payload.clone()), None, "{channel}");
    }
    assert_eq!(signing(&[1]).open("chat", payload), None);
    assert_eq!(signed.open("chat", envelope().into()), None);
    assert_eq!(signed.open("chat", Bytes::new()), None);
}

#[test]
fn the_first_key_signs_and_each_is_accepted() {
    let (old, new, both) = (signing(&[0]), signing(&[1]), signing(&[1, 0]));
    let open = |by: &Signing, to: &Signing| to.open("chat", by.seal("chat", envelope())).is_some();
    assert!(open(&old, &both) && open(&new, &both) && open(&both, &new));
    assert!(!open(&both, &old));
}

#[test]
fn node_without_a_key_reads_signed_envelopes_as_an_unknown_version() {
    let none = Signing::default();
    let payload = none.open("chat", signing(&[0]).seal("chat", envelope())).unwrap();
    assert_eq!(none.parse(&payload), Err(Unreadable::UnknownVersion));
    let unsigned = none.open("chat", none.seal("chat", envelope())).unwrap();
    assert!(matches!(none.parse(&unsigned), Ok(Envelope { body: EnvelopeBody::Messages(_), .. })));
}

#[test]
fn signed_payload_that_is_not_an_envelope_is_not_read() {
    let signing = signing(&[0]);
    let opened = |payload: &[u8]| signing.open("chat", signing.seal("chat", payload.to_vec()));
    let garbage = opened(b"garbage").unwrap();
    assert_eq!(signing.parse(&garbage), Err(Unreadable::Garbage));
    let later = opened(&[&b"RCE\x03"[..], &[0; 64]].concat()).unwrap();
    assert_eq!(signing.parse(&later), Err(Unreadable::UnknownVersion));
}

#[test]
fn keys_are_not_shown() {
    let text = format!("{:?}", Signing::with(&[b"a secret that is shown"]));
    assert_eq!(text, "Signing { keys: Some(Keys { count: 1, .. }) }");
}
