use super::*;
use crate::backplane::ConnId;
use crate::engine::{Address, ConnKey, FrameKind, frame};

const HEADER: Header = Header { node: NodeId::from_bytes([7; 16]), epoch: 1_000, first: 40 };

fn id(node: u8, key: u64) -> ConnId {
    ConnId::new(NodeId::from_bytes([node; 16]), ConnKey::from_u64(key))
}

fn envelope() -> Vec<u8> {
    let rooms = ["a".to_owned(), String::new(), "é".to_owned()];
    let mut packer = Packer::new();
    let mut add = |address, except: &[ConnId], kind, payload: &[u8]| {
        let frame = frame::encode(kind, payload);
        packer.push(&encode_message(address, except.iter().copied(), &frame));
    };
    add(Address::Everyone, &[], FrameKind::Text, b"");
    add(Address::Room("lobby"), &[id(1, 2)], FrameKind::Binary, &[0xFF; 200]);
    add(Address::Rooms(&rooms), &[id(1, 2), id(3, 4)], FrameKind::Text, b"three");
    add(Address::Conn(id(5, 6)), &[], FrameKind::Text, &[b'x'; 70_000]);
    packer.seal(HEADER)
}

fn heartbeat() -> Vec<u8> {
    let report =
        Report { connections: 9, spread: 64, unlisted_max: 3, rooms: [(1, 2), (3, 4)].into() };
    let roll_call = Some(RollCall { number: 7, channels: [1, 4_096].into() });
    let answers = [(NodeId::from_bytes([8; 16]), 5), (NodeId::from_bytes([9; 16]), 6)].into();
    let flags = Heartbeat { wants_answer: true, ..Heartbeat::default() };
    Heartbeat { report: Some(report), roll_call, answers, ..flags }.seal(HEADER)
}

#[test]
fn messages_are_read_as_they_were_written() {
    let envelope = envelope();
    assert_eq!((sender(&envelope), count(&envelope)), (Some(HEADER.node), 4));
    let Ok(Envelope { header: HEADER, body: Body::Messages(messages) }) =
        Envelope::parse(&envelope)
    else {
        panic!("messages are expected")
    };
    let got: Vec<_> = messages.collect();
    assert_eq!(got.len(), 4);
    assert_eq!((&got[0].target, got[0].payload), (&Target::Everyone, &b""[..]));
    assert_eq!((got[1].kind, got[1].payload), (FrameKind::Binary, &[0xFF; 200][..]));
    assert_eq!(got[1].target, Target::Room("lobby"));
    assert!(got[1].except.clone().eq([id(1, 2)]));
    let Target::Rooms(names) = &got[2].target else { panic!("rooms are expected") };
    assert!(names.clone().eq(["a", "", "é"]));
    assert!(got[2].except.clone().eq([id(1, 2), id(3, 4)]));
    assert_eq!(got[3].target, Target::Conn(id(5, 6)));
    assert_eq!((got[3].kind, got[3].payload.len()), (FrameKind::Text, 70_000));
}

#[test]
fn a_heartbeat_is_read_as_it_was_written() {
    let payload = heartbeat();
    let Ok(Envelope { header: HEADER, body: Body::Heartbeat(read) }) = Envelope::parse(&payload)
    else {
        panic!("a heartbeat is expected")
    };
    assert_eq!(read.seal(HEADER), payload);
    assert_eq!(count(&payload), 0);
}

#[test]
fn what_is_cut_off_or_goes_on_is_garbage() {
    for whole in [envelope(), heartbeat()] {
        // The long payload is cut at some places only.
        for length in (0..whole.len()).filter(|length| *length < 1_000 || length % 997 == 0) {
            assert_eq!(Envelope::parse(&whole[..length]), Err(Unreadable::Garbage), "{length}");
        }
        let longer = [&whole[..], &[0]].concat();
        assert_eq!(Envelope::parse(&longer), Err(Unreadable::Garbage));
    }
}

#[test]
fn another_version_is_told_apart_from_garbage() {
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
}

#[test]
fn a_number_past_the_last_one_is_garbage() {
    let header = Header { first: u64::MAX, ..HEADER };
    let mut packer = Packer::new();
    let frame = frame::encode(FrameKind::Text, b"m");
    packer.push(&encode_message(Address::Everyone, std::iter::empty(), &frame));
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
        if let Ok(Envelope { body: Body::Messages(messages), .. }) = Envelope::parse(&payload) {
            assert_eq!(messages.left() as usize, messages.count());
        }
    }
}

#[test]
fn an_envelope_is_full_at_either_bound_and_takes_one_of_any_size() {
    let mut packer = Packer::new();
    assert!(packer.fits(10 * ENVELOPE_BYTES_MAX));
    packer.push(&vec![0; ENVELOPE_BYTES_MAX - HEADER_BYTES - 1]);
    assert!(packer.fits(1) && !packer.fits(2));
    let mut packer = Packer::new();
    (0..ENVELOPE_MESSAGES_MAX).for_each(|_| packer.push(b"m"));
    assert!(!packer.fits(1));
}
