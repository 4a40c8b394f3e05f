//! Compressed bursts: who gets them, when a room begins anew, and what is never in a window.

use roomcast::engine::{Address, ClientInflater, Overflow};

use super::coding::{Coding, Inflating};
use super::fake::{Client, Rig, Settings, text_frame};

fn full() -> Option<ClientInflater> {
    Some(ClientInflater::new(15, true))
}

/// A text that the telling compressor compresses: `front`, and then the last character again and again.
fn long(front: &str) -> String {
    let last = front.chars().next_back().expect("a character");
    assert_eq!(front.len(), 4);
    format!("{front}{}", last.to_string().repeat(60))
}

/// A client that can inflate, in `room`.
fn attach_to(rig: &mut Rig, room: &str) -> Client {
    let client = rig.attach_inflating(full());
    client.join(room);
    client
}

fn publish(rig: &mut Rig, room: &str, front: &str) {
    rig.publish(Address::Room(room), &long(front));
    rig.run();
}

/// Publishes a message that is not to be compressed.
fn publish_plain(rig: &Rig, room: &str, front: &str) {
    let frames = text_frame(&long(front)).uncompressed();
    roomcast::engine::publish(&rig.ports, Address::Room(room), &[], &frames).unwrap();
}

/// Which of the messages arrived compressed. Asserts that the client could read all.
fn compressed(client: &Client) -> Vec<bool> {
    let mut inflating = Inflating::new(client.link.inflater());
    let frames = client.frames().into_iter().filter(|frame| frame.is_data());
    frames
        .map(|frame| {
            let is_compressed = frame.is_compressed;
            let text = inflating.inflate(frame, false).payload;
            assert_eq!(text, long(str::from_utf8(&text[..4]).unwrap()).as_bytes());
            is_compressed
        })
        .collect()
}

#[test]
fn members_in_step_share_one_compressed_burst() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let members: Vec<Client> = (0..3).map(|_| attach_to(&mut rig, "r")).collect();
    for front in ["aaaa", "bbbb", "cccc"] {
        publish(&mut rig, "r", front);
    }
    for member in &members {
        assert_eq!(compressed(member), [true; 3]);
    }
    let counters = rig.counters();
    assert_eq!((counters.key_frames.get(), counters.out_of_step.get()), (1, 0));
    assert_eq!(counters.compressors.get(), 1);
    let (before, after) =
        (counters.compressed_bytes_before.get(), counters.compressed_bytes_after.get());
    assert_eq!(before, 9 * (2 + 64), "three messages to three clients");
    assert!(after < before / 2, "{after} of {before}");
}

#[test]
fn a_client_that_cannot_inflate_gets_plain_messages() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let (plain, other) = (rig.attach(), attach_to(&mut rig, "r"));
    plain.join("r");
    publish(&mut rig, "r", "aaaa");
    assert_eq!((compressed(&plain), compressed(&other)), (vec![false], vec![true]));
}

#[test]
fn a_newcomer_waits_for_the_next_key_frame() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let members: Vec<Client> = (0..3).map(|_| attach_to(&mut rig, "r")).collect();
    publish(&mut rig, "r", "aaaa");
    let newcomer = attach_to(&mut rig, "r");
    for number in 0..5 {
        publish(&mut rig, "r", &format!("bbb{number}"));
    }
    // Three plain messages to one client cost as much as one key frame to three clients.
    assert_eq!(compressed(&newcomer), [false, false, false, true, true]);
    assert!(members.iter().all(|member| compressed(member) == [true; 6]));
    assert_eq!(rig.counters().key_frames.get(), 2);
    assert_eq!(rig.counters().out_of_step.get(), 3);
}

#[test]
fn a_key_frame_comes_at_once_if_most_members_are_out_of_step() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let first = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    let newcomers: Vec<Client> = (0..5).map(|_| attach_to(&mut rig, "r")).collect();
    for front in ["bbbb", "cccc", "dddd"] {
        publish(&mut rig, "r", front);
    }
    assert_eq!(compressed(&first), [true; 4]);
    for newcomer in &newcomers {
        assert_eq!(compressed(newcomer), [false, true, true]);
    }
}

#[test]
fn an_excepted_member_is_out_of_step() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let members: Vec<Client> = (0..4).map(|_| attach_to(&mut rig, "r")).collect();
    publish(&mut rig, "r", "aaaa");
    rig.publish_except(Address::Room("r"), &[members[0].id()], &long("bbbb"));
    rig.run();
    publish(&mut rig, "r", "cccc");
    assert_eq!(compressed(&members[0]), [true, false]);
    assert_eq!(compressed(&members[1]), [true; 3]);
}

#[test]
fn a_blocked_client_gets_plain_messages_and_nobody_waits_for_it() {
    let settings = Settings::default().queue(16, 1 << 20, Overflow::DropOldest);
    let mut rig = settings.compression(Coding::shared()).build();
    let (slow, quick) = (attach_to(&mut rig, "r"), attach_to(&mut rig, "r"));
    publish(&mut rig, "r", "aaaa");
    slow.block();
    publish(&mut rig, "r", "bbbb");
    publish(&mut rig, "r", "cccc");
    slow.unblock();
    rig.run();
    publish(&mut rig, "r", "dddd");
    publish(&mut rig, "r", "eeee");
    assert_eq!(compressed(&slow), [true, false, false, false, true]);
    assert_eq!(compressed(&quick), [true; 5]);
}

#[test]
fn the_rest_of_a_cut_burst_is_plain() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let (slow, quick) = (attach_to(&mut rig, "r"), attach_to(&mut rig, "r"));
    publish(&mut rig, "r", "aaaa");
    slow.wire().window = Some(10);
    for front in ["bbbb", "cccc", "dddd"] {
        rig.publish(Address::Room("r"), &long(front));
    }
    rig.run();
    assert_eq!(slow.frames().len(), 1, "the second frame is torn");
    slow.unblock();
    rig.run();
    publish(&mut rig, "r", "eeee");
    assert_eq!(compressed(&slow), [true, true, false, false, false]);
    assert_eq!(compressed(&quick), [true; 5]);
}

#[test]
fn a_client_without_a_window_gets_each_message_alone() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let member = attach_to(&mut rig, "r");
    let forgetful = rig.attach_inflating(Some(ClientInflater::new(15, false)));
    let small = rig.attach_inflating(Some(ClientInflater::new(9, true)));
    forgetful.join("r");
    small.join("r");
    for front in ["aaaa", "bbbb"] {
        rig.publish(Address::Room("r"), &long(front));
    }
    rig.run();
    publish(&mut rig, "r", "cccc");
    for client in [&member, &forgetful, &small] {
        assert_eq!(compressed(client), [true; 3]);
    }
    assert_eq!(rig.counters().compressors.get(), 3, "a stream, and one for each window");
}

#[test]
fn rooms_with_few_members_stay_plain() {
    let coding = Coding::shared().recipients_min(2);
    let mut rig = Settings::default().compression(coding).build();
    let alone = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    let other = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "bbbb");
    other.leave("r");
    publish(&mut rig, "r", "cccc");
    assert_eq!(compressed(&alone), [false, true, false]);
}

#[test]
fn direct_sends_are_plain_and_change_no_window() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let member = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    rig.publish(Address::Conn(member.id()), &long("bbbb"));
    rig.run();
    publish(&mut rig, "r", "cccc");
    assert_eq!(compressed(&member), [true, false, true]);
    assert_eq!(rig.counters().key_frames.get(), 1, "the room goes on");
}

#[test]
fn direct_sends_are_compressed_alone_on_request() {
    let mut rig = Settings::default().compression(Coding::once().direct()).build();
    let client = rig.attach_inflating(full());
    for front in ["aaaa", "bbbb"] {
        rig.publish(Address::Conn(client.id()), &long(front));
        rig.run();
    }
    assert_eq!(compressed(&client), [true, true]);
}

#[test]
fn a_direct_message_that_is_compressed_puts_its_client_out_of_step() {
    let mut rig = Settings::default().compression(Coding::shared().direct()).build();
    let member = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    rig.publish(Address::Conn(member.id()), &long("bbbb"));
    rig.run();
    publish(&mut rig, "r", "cccc");
    publish(&mut rig, "r", "dddd");
    assert_eq!(compressed(&member), [true, true, false, true]);
}

#[test]
fn direct_messages_that_are_cut_put_their_client_out_of_step() {
    let mut rig = Settings::default().compression(Coding::shared().direct()).build();
    let member = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    member.wire().window = Some(10);
    for front in ["bbbb", "cccc"] {
        rig.publish(Address::Conn(member.id()), &long(front));
    }
    rig.run();
    member.unblock();
    rig.run();
    publish(&mut rig, "r", "dddd");
    publish(&mut rig, "r", "eeee");
    assert_eq!(compressed(&member), [true, true, false, false, true]);
}

#[test]
fn a_message_may_stay_plain() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let member = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    publish_plain(&rig, "r", "bbbb");
    rig.publish(Address::Room("r"), &long("cccc"));
    rig.run();
    assert_eq!(compressed(&member), [true, false, true], "also within a burst");
}

#[test]
fn streams_are_bounded_and_rooms_that_have_one_keep_it() {
    let mut rig = Settings::default().compression(Coding::shared().streams_max(2)).build();
    let rooms = ["r0", "r1", "r2"];
    let members: Vec<Client> = rooms.iter().map(|room| attach_to(&mut rig, room)).collect();
    for front in ["aaaa", "bbbb", "cccc"] {
        for room in rooms {
            publish(&mut rig, room, front);
        }
    }
    assert_eq!(rig.counters().compressors.get(), 2);
    assert_eq!(rig.counters().key_frames.get(), 2);
    let compressed: Vec<_> = members.iter().map(compressed).collect();
    assert_eq!(compressed, [[true; 3], [true; 3], [false; 3]]);
}

#[test]
fn a_silent_room_loses_its_stream_and_the_next_begins_with_an_empty_window() {
    let mut rig = Settings::default().compression(Coding::shared().streams_max(1)).build();
    let [silent, busy] = ["silent", "busy"].map(|room| attach_to(&mut rig, room));
    publish(&mut rig, "silent", "aaaa");
    for front in ["bbbb", "cccc", "dddd", "eeee"] {
        publish(&mut rig, "busy", front);
    }
    assert_eq!(compressed(&busy), [false, false, true, true], "two uses are not long enough");
    assert_eq!(rig.counters().key_frames.get(), 2, "one for each room");
    assert_eq!(compressed(&silent), [true]);
    assert_eq!(rig.counters().compressors.get(), 1);
}

#[test]
fn a_room_with_nothing_to_compress_takes_no_stream() {
    let mut rig = Settings::default().compression(Coding::shared().streams_max(1)).build();
    let member = attach_to(&mut rig, "r");
    attach_to(&mut rig, "s");
    for _ in 0..10 {
        publish_plain(&rig, "s", "aaaa");
        rig.run();
    }
    publish(&mut rig, "r", "bbbb");
    assert_eq!(compressed(&member), [true]);
}

#[test]
fn clients_that_get_each_message_alone_delay_no_key_frame() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let alone = Some(ClientInflater::new(15, false));
    for _ in 0..50 {
        rig.attach_inflating(alone).join("r");
    }
    let old = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    let new = attach_to(&mut rig, "r");
    for front in ["bbbb", "cccc", "dddd"] {
        publish(&mut rig, "r", front);
    }
    assert_eq!(compressed(&old), [true; 4]);
    assert_eq!(compressed(&new), [false, true, true]);
}

#[test]
fn messages_that_are_copied_change_no_window() {
    let mut rig = Settings::default().compression(Coding::shared().direct()).build();
    let member = attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    for text in ["ok", "tiny"] {
        rig.publish(Address::Conn(member.id()), text);
        rig.run();
        rig.publish(Address::Room("r"), text);
        rig.run();
    }
    publish(&mut rig, "r", "bbbb");
    let frames = member.frames();
    let compressed: Vec<bool> = frames.iter().map(|frame| frame.is_compressed).collect();
    assert_eq!(compressed, [true, false, false, false, false, true]);
    assert_eq!(rig.counters().key_frames.get(), 1);
    assert_eq!(rig.counters().out_of_step.get(), 0);
}

#[test]
fn a_client_that_ends_in_the_midst_of_a_fan_out_changes_nothing_for_others() {
    let settings = Settings::default().large_audience(2).compression(Coding::shared());
    let mut rig = settings.build();
    let members: Vec<Client> = (0..100).map(|_| attach_to(&mut rig, "r")).collect();
    publish(&mut rig, "r", "aaaa");
    publish(&mut rig, "r", "bbbb");
    rig.publish(Address::Room("r"), &long("cccc"));
    rig.shards[0].run(rig.now, 3);
    let last = members.iter().rev().find(|member| member.frames().len() == 2).expect("not served");
    last.close();
    rig.run();
    let others = members.iter().filter(|member| member.id() != last.id());
    others.for_each(|member| assert_eq!(compressed(member), [true; 3]));
    assert_eq!(compressed(last), [true, true, false]);
}

#[test]
fn the_rest_of_a_cut_burst_is_counted_if_the_socket_fails() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let member = attach_to(&mut rig, "r");
    rig.run();
    member.wire().window = Some(10);
    member.wire().late_error = Some(std::io::ErrorKind::ConnectionReset);
    for front in ["aaaa", "bbbb", "cccc"] {
        rig.publish(Address::Room("r"), &long(front));
    }
    rig.run();
    let counters = rig.counters();
    assert_eq!((counters.deliveries.get(), counters.dropped_at_end.get()), (3, 3));
}

#[test]
fn a_client_of_two_rooms_reads_both() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let both = attach_to(&mut rig, "r");
    both.join("s");
    let other = attach_to(&mut rig, "s");
    for front in ["aaaa", "bbbb", "cccc", "dddd"] {
        publish(&mut rig, "r", front);
        publish(&mut rig, "s", front);
    }
    assert_eq!(compressed(&other), [true; 4]);
    assert_eq!(compressed(&both).len(), 8);
}

#[test]
fn members_of_two_rooms_in_turn_get_nearly_all_messages_compressed() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let members: Vec<Client> = (0..3).map(|_| attach_to(&mut rig, "r")).collect();
    members.iter().for_each(|member| member.join("s"));
    for _ in 0..50 {
        publish(&mut rig, "r", "aaaa");
        publish(&mut rig, "s", "bbbb");
    }
    for member in &members {
        let plain = compressed(member).iter().filter(|is_compressed| !**is_compressed).count();
        assert!((1..10).contains(&plain), "{plain} of 100 are plain");
    }
    // The members leave one room. Those of the other continue.
    members.iter().for_each(|member| member.leave("s"));
    let keys = rig.counters().key_frames.get();
    for _ in 0..50 {
        publish(&mut rig, "r", "aaaa");
    }
    assert!(rig.counters().key_frames.get() - keys <= 20);
    members.iter().for_each(|member| assert_eq!(compressed(member).len(), 150));
}

#[test]
fn messages_that_do_not_shrink_stay_plain() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    let member = attach_to(&mut rig, "r");
    // The telling compressor makes 17 bytes of eight.
    for _ in 0..3_000 {
        rig.publish(Address::Room("r"), "aaaaaaaa");
        rig.run();
    }
    let frames = member.frames();
    let compressed = frames.iter().filter(|frame| frame.is_compressed).count();
    assert!((1..2_000).contains(&compressed), "{compressed} of 3,000");
    assert!(!frames.last().unwrap().is_compressed);
}

#[test]
fn the_compressors_of_a_shard_go_with_it() {
    let mut rig = Settings::default().compression(Coding::shared()).build();
    attach_to(&mut rig, "r");
    publish(&mut rig, "r", "aaaa");
    assert_eq!(rig.counters().compressors.get(), 1);
    rig.shards.clear();
    assert_eq!(rig.counters().compressors.get(), 0);
}
