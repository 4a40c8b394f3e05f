use super::*;
use crate::backplane::identity::ConnId;
use crate::backplane::target::To;
use crate::engine::{Action, Address, CloseCode, ConnKey, FrameKind, Frames, frame};

const HEADER: EnvelopeHeader =
    EnvelopeHeader { node: NodeId::from_bytes([7; 16]), epoch: 1_000, first: 40 };

fn id(node: u8, key: u64) -> ConnId {
    ConnId::new(NodeId::from_bytes([node; 16]), ConnKey::from_u64(key))
}

fn envelope() -> Vec<u8> {
    let rooms = ["a".into(), "".into(), "é".into()];
    let mut packer = Packer::default();
    let mut add = |address, except: &[ConnId], kind, payload: &[u8]| {
        let frame = frame::encode(kind, payload).into();
        packer.push(&encode(address, except.iter().copied(), MessageContent::framed(&frame)));
    };
    add(Address::Everyone, &[], FrameKind::Text, b"");
    add(Address::Room("lobby"), &[id(1, 2)], FrameKind::Binary, &[0xFF; 200]);
    add(Address::Rooms(&rooms), &[id(1, 2), id(3, 4)], FrameKind::Text, b"three");
    add(Address::Conn(id(5, 6)), &[], FrameKind::Text, &[b'x'; 70_000]);
    packer.seal(HEADER)
}

fn room_count((room_hash, members): (u64, u32)) -> RoomCount {
    RoomCount { room_hash, members }
}

fn heartbeat() -> Vec<u8> {
    let report = Report {
        connections: 9,
        spread: 64,
        unlisted_max: 3,
        rooms: [(1, 2), (3, 4)].map(room_count).into(),
    };
    let roll_call = Some(RollCall { number: 7, channels: [1, 4_096].into() });
    let answer = |(node, number)| RollCallAnswer { caller: NodeId::from_bytes([node; 16]), number };
    let answers = [(8, 5), (9, 6)].map(answer).into();
    let flags = Heartbeat { wants_answer: true, ..Heartbeat::default() };
    Heartbeat { report: Some(report), roll_call, answers, ..flags }.seal(HEADER)
}

#[test]
fn messages_are_read_as_they_were_written() {
    let envelope = envelope();
    assert_eq!((sender(&envelope), count(&envelope)), (Some(HEADER.node), 4));
    let Ok(Envelope { header: HEADER, body: EnvelopeBody::Messages(messages) }) =
        Envelope::parse(&envelope)
    else {
        panic!("messages are expected")
    };
    let got: Vec<_> = messages.collect();
    assert_eq!(got.len(), 4);
    let text =
        |payload| MessageContent::Payload { kind: FrameKind::Text, payload, is_compressible: true };
    let binary = MessageContent::Payload {
        kind: FrameKind::Binary,
        payload: &[0xFF; 200],
        is_compressible: true,
    };
    assert_eq!(got[0].target, Address::Everyone);
    assert_eq!(got[0].content, text(b""));
    assert_eq!(got[1].content, binary);
    assert_eq!(got[1].target, Address::Room("lobby"));
    assert!(got[1].except.clone().eq([id(1, 2)]));
    let rooms = To::from(got[2].target.clone());
    assert_eq!(rooms, To::Rooms(vec!["a".into(), "".into(), "é".into()]));
    assert!(got[2].except.clone().eq([id(1, 2), id(3, 4)]));
    assert_eq!(got[3].target, Address::Conn(id(5, 6)));
    assert_eq!(got[3].content, text(&[b'x'; 70_000]));
}

#[test]
fn a_message_that_must_stay_uncompressed_says_so() {
    let frame = Frames::from(frame::encode(FrameKind::Text, b"secret")).uncompressed();
    let mut packer = Packer::default();
    packer.push(&encode(Address::Everyone, std::iter::empty(), MessageContent::framed(&frame)));
    let envelope = packer.seal(HEADER);
    let Ok(Envelope { body: EnvelopeBody::Messages(mut messages), .. }) =
        Envelope::parse(&envelope)
    else {
        panic!("messages are expected")
    };
    assert_eq!(messages.next().unwrap().content, MessageContent::framed(&frame));
}

/// An envelope with one action.
fn envelope_of(action: Action<'_>) -> Vec<u8> {
    let mut packer = Packer::default();
    let content = MessageContent::Action(action);
    packer.push(&encode(Address::Room("lobby"), [id(1, 2)].into_iter(), content));
    packer.seal(HEADER)
}

#[test]
fn actions_are_read_as_they_were_written() {
    let longest = "é".repeat(61);
    for action in [
        Action::Close { code: CloseCode::from(4_001), reason: &longest },
        Action::Close { code: CloseCode::NORMAL, reason: "" },
        Action::Close { code: CloseCode::NO_STATUS, reason: "" },
        Action::Join(""),
        Action::Leave("room"),
    ] {
        let envelope = envelope_of(action);
        let Ok(Envelope { body: EnvelopeBody::Messages(mut messages), .. }) =
            Envelope::parse(&envelope)
        else {
            panic!("messages are expected")
        };
        let message = messages.next().expect("the envelope has one message");
        assert_eq!(message.target, Address::Room("lobby"));
        assert!(message.except.clone().eq([id(1, 2)]));
        assert_eq!(message.content, MessageContent::Action(action));
    }
}

#[test]
fn a_close_that_no_client_can_get_is_garbage() {
    let long = "r".repeat(124);
    for (code, reason) in
        [(0, ""), (1_004, ""), (1_005, "r"), (1_006, ""), (5_000, ""), (1_000, &long)]
    {
        let envelope = envelope_of(Action::Close { code: CloseCode::from(code), reason });
        assert_eq!(Envelope::parse(&envelope), Err(Unreadable::Garbage), "{code} {reason}");
    }
}

#[test]
fn actions_with_other_flags_or_bytes_are_garbage() {
    const FLAGS_AT: usize = HEADER_BYTES;
    for action in [
        Action::Close { code: CloseCode::NORMAL, reason: "bye" },
        Action::Join("room"),
        Action::Leave("room"),
    ] {
        let whole = envelope_of(action);
        for flag in [1, 0x40, 0x80] {
            let mut other = whole.clone();
            other[FLAGS_AT] |= flag;
            assert_eq!(Envelope::parse(&other), Err(Unreadable::Garbage), "{action:?} {flag}");
        }
        let mut other = whole;
        *other.last_mut().expect("a name or a reason") = 0xFF;
        assert_eq!(Envelope::parse(&other), Err(Unreadable::Garbage), "{action:?}");
    }
    // A close with half a code.
    let mut packer = Packer::default();
    packer.push(&[1 << 4, 1, 0, 0, 0, 0xE8]);
    assert_eq!(Envelope::parse(&packer.seal(HEADER)), Err(Unreadable::Garbage));
}

#[test]
fn a_heartbeat_is_read_as_it_was_written() {
    let payload = heartbeat();
    let Ok(Envelope { header: HEADER, body: EnvelopeBody::Heartbeat(read) }) =
        Envelope::parse(&payload)
    else {
        panic!("a heartbeat is expected")
    };
    assert_eq!(read.seal(HEADER), payload);
    assert_eq!(count(&payload), 0);
}

#[test]
fn envelopes_of_the_wrong_length_are_garbage() {
    for whole in [envelope(), heartbeat()] {
        // In the long payload, only some lengths are tried.
        for length in (0..whole.len()).filter(|length| *length < 1_000 || length % 997 == 0) {
            assert_eq!(Envelope::parse(&whole[..length]), Err(Unreadable::Garbage), "{length}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(Envelope::parse(&longer), Err(Unreadable::Garbage));
    }
}

#[test]
fn another_version_is_not_garbage() {
    let mut payload = envelope();
    payload[3] = 1;
    assert_eq!(Envelope::parse(&payload), Err(Unreadable::UnknownVersion));
    payload[0] = b'x';
    assert_eq!(Envelope::parse(&payload), Err(Unreadable::Garbage));
}

#[test]
fn lengths_that_lie_are_garbage_and_reserve_nothing() {
    let whole = heartbeat();
    let rooms_at = HEADER_BYTES + 1 + 8 + 2 + 4;
    let mut lying = whole;
    lying[rooms_at..rooms_at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Envelope::parse(&lying), Err(Unreadable::Garbage));
    let mut lying = envelope();
    lying[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Envelope::parse(&lying), Err(Unreadable::Garbage));
    // A count of rooms without their names.
    let mut packer = Packer::default();
    packer.push(&[2 << 2, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, b'a', 0, 0, 0, 0]);
    assert_eq!(Envelope::parse(&packer.seal(HEADER)), Err(Unreadable::Garbage));
}

#[test]
fn a_number_past_the_last_one_is_garbage() {
    let header = EnvelopeHeader { first: u64::MAX, ..HEADER };
    let mut packer = Packer::default();
    let frame = frame::encode(FrameKind::Text, b"m").into();
    packer.push(&encode(Address::Everyone, std::iter::empty(), MessageContent::framed(&frame)));
    assert_eq!(Envelope::parse(&packer.seal(header)), Err(Unreadable::Garbage));
}

#[test]
fn any_bytes_behind_a_header_are_read_or_refused() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..20_000 {
        let mut payload = envelope()[..random.usize(HEADER_BYTES..400)].to_vec();
        for _ in 0..random.usize(1..8) {
            let at = random.usize(4..payload.len());
            payload[at] = random.u8(..);
        }
        if let Ok(Envelope { body: EnvelopeBody::Messages(messages), .. }) =
            Envelope::parse(&payload)
        {
            assert_eq!(messages.left() as usize, messages.count());
        }
    }
}

#[test]
fn an_envelope_is_full_at_either_bound_and_takes_one_of_any_size() {
    let mut packer = Packer::default();
    assert!(packer.fits(10 * ENVELOPE_BYTES_MAX));
    packer.push(&vec![0; ENVELOPE_BYTES_MAX - HEADER_BYTES - 1]);
    assert!(packer.fits(1) && !packer.fits(2));
    let mut packer = Packer::default();
    (0..ENVELOPE_MESSAGES_MAX).for_each(|_| packer.push(b"m"));
    assert!(!packer.fits(1));
}
