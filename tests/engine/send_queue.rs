//! The send queue alone, against a plain list of slots.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use roomcast::engine::{
    Amount, Burst, Close, FrameKind, Overflow, Pushed, QueueLimits, SendQueue, WRITE_SLOTS_MAX,
    frame,
};

use super::fake::{CLOSE, PING, PONG, parse, text_frame};

const POLICIES: [Overflow; 4] =
    [Overflow::Evict, Overflow::DropOldest, Overflow::DropNewest, Overflow::KeepNewest];

/// The policies to which the bound in bytes applies.
const BOUNDED: [Overflow; 3] = [Overflow::Evict, Overflow::DropOldest, Overflow::DropNewest];

fn limits(slots: usize, bytes: usize, overflow: Overflow) -> QueueLimits {
    QueueLimits { slots, bytes, overflow }
}

fn burst(texts: &[&str]) -> Burst {
    let mut frames = BytesMut::new();
    texts.iter().for_each(|text| frames.extend_from_slice(&text_frame(text)));
    Burst { frames: frames.freeze(), messages: texts.len() }
}

/// Queues bursts of one message each.
fn fill(queue: &mut SendQueue, texts: &[&str], limits: &QueueLimits) {
    for text in texts {
        assert_eq!(queue.push(burst(&[text]), limits), Pushed::Queued);
    }
}

/// Takes out the whole queue, in writes of at most `bytes`.
fn drain(queue: &mut SendQueue, bytes: usize) -> Vec<u8> {
    let mut written = Vec::new();
    while !queue.is_empty() {
        written.extend(take(queue, bytes));
    }
    written
}

/// Takes out one write of at most `bytes`.
fn take(queue: &mut SendQueue, bytes: usize) -> Vec<u8> {
    let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
    let filled = queue.fill(&mut buffers);
    let all = buffers[..filled].iter().flat_map(|buffer| buffer.iter().copied());
    let written: Vec<u8> = all.take(bytes).collect();
    queue.advance(written.len());
    written
}

/// The written frames: the opcode and the payload of each frame.
fn told(written: &[u8]) -> Vec<(u8, String)> {
    let (frames, torn) = parse(written);
    assert_eq!(torn, 0, "whole frames");
    let text = |payload: Vec<u8>| String::from_utf8_lossy(&payload).into_owned();
    frames.into_iter().map(|frame| (frame.opcode, text(frame.payload))).collect()
}

fn texts(written: &[u8]) -> Vec<String> {
    told(written).into_iter().map(|(_, text)| text).collect()
}

#[test]
fn bursts_past_the_slots_are_joined_to_the_last_slot_without_overflow() {
    for slots in [0, 1, 2, 16] {
        for policy in BOUNDED {
            let limits = limits(slots, 1 << 20, policy);
            let mut queue = SendQueue::new(&limits);
            let sent: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
            for text in &sent {
                assert_eq!(queue.push(burst(&[text]), &limits), Pushed::Queued);
            }
            assert_eq!(queue.queued().messages, sent.len());
            let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
            assert_eq!(queue.fill(&mut buffers), slots.max(1), "buffers, of {slots} slots");
            assert_eq!(texts(&drain(&mut queue, 7)), sent);
        }
    }
}

#[test]
fn a_slot_that_has_begun_to_leave_grows_no_more() {
    let limits = limits(1, 1 << 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    fill(&mut queue, &["torn"], &limits);
    let begun = take(&mut queue, 1);
    fill(&mut queue, &["second", "third"], &limits);
    let mut buffers = [IoSlice::new(&[]); WRITE_SLOTS_MAX];
    assert_eq!(queue.fill(&mut buffers), 2);
    let written = [begun, drain(&mut queue, 3)].concat();
    assert_eq!(texts(&written), ["torn", "second", "third"]);
}

#[test]
fn bytes_are_accepted_up_to_the_bound_and_the_next_message_overflows() {
    for policy in BOUNDED {
        let limits = limits(16, 15, policy);
        let mut queue = SendQueue::new(&limits);
        assert_eq!(queue.push(burst(&["one", "two"]), &limits), Pushed::Queued);
        assert_eq!(queue.push(burst(&["xyz"]), &limits), Pushed::Queued, "at the bound");
        let pushed = queue.push(burst(&[""]), &limits);
        let expected = match policy {
            Overflow::DropOldest => Pushed::DroppedOldest(Amount { messages: 1, bytes: 5 }),
            Overflow::DropNewest => Pushed::DroppedNewest(Amount { messages: 1, bytes: 2 }),
            _ => Pushed::Full,
        };
        assert_eq!(pushed, expected);
    }
}

#[test]
fn an_empty_queue_takes_a_burst_of_any_size_and_has_space_for_others_beside_it() {
    for policy in BOUNDED {
        let limits = limits(2, 20, policy);
        let large = "x".repeat(100);
        let mut queue = SendQueue::new(&limits);
        assert_eq!(queue.push(burst(&[&large]), &limits), Pushed::Queued);
        assert_eq!(queue.push(burst(&["12345678"]), &limits), Pushed::Queued, "half of the bound");
        let pushed = queue.push(burst(&[""]), &limits);
        assert_ne!(pushed, Pushed::Queued, "more than half of the bound");
    }
}

#[test]
fn newest_message_replaces_all_queued_messages_of_any_size() {
    let limits = limits(1, 1, Overflow::KeepNewest);
    let mut queue = SendQueue::new(&limits);
    // No byte of the last message was sent, so the last message stays.
    let dropped = |messages, bytes| Pushed::DroppedOldest(Amount { messages, bytes });
    assert_eq!(queue.start(burst(&["one", "two", "three"]), 0, &limits), dropped(2, 10));
    assert_eq!(queue.push(burst(&["four"]), &limits), dropped(1, 7));
    let large = "x".repeat(100_000);
    assert_eq!(queue.push(burst(&["five", &large, "last"]), &limits), dropped(3, 6 + 6 + 100_010));
    assert_eq!(queue.queued(), Amount { messages: 1, bytes: 6 });
    assert_eq!(texts(&drain(&mut queue, 3)), ["last"]);
    assert_eq!(queue.push(burst(&["alone"]), &limits), Pushed::Queued);
    assert_eq!(texts(&drain(&mut queue, 3)), ["alone"]);
}

#[test]
fn a_torn_message_is_finished_before_the_newest() {
    let limits = limits(16, 1 << 20, Overflow::KeepNewest);
    let mut queue = SendQueue::new(&limits);
    let run = burst(&["torn", "second", "third"]);
    let begun = run.frames[..3].to_vec();
    let second = Pushed::DroppedOldest(Amount { messages: 1, bytes: 8 });
    assert_eq!(queue.start(run, 3, &limits), second);
    let third = Pushed::DroppedOldest(Amount { messages: 1, bytes: 7 });
    assert_eq!(queue.push(burst(&["fourth"]), &limits), third);
    queue.push_ping(frame::ping());
    let written = [begun, drain(&mut queue, 2)].concat();
    let written: Vec<_> = told(&written).into_iter().map(|(_, text)| text).collect();
    assert_eq!(written, ["torn", "", "fourth"]);
}

#[test]
fn a_torn_frame_is_taken_whatever_its_size_and_never_dropped() {
    let limits = limits(2, 10, Overflow::DropOldest);
    let mut queue = SendQueue::new(&limits);
    let torn = burst(&["far too long for the bound"]);
    queue.start(torn.clone(), 3, &limits);
    let dropped = Pushed::DroppedNewest(Amount { messages: 1, bytes: 6 });
    assert_eq!(queue.push(burst(&["1234"]), &limits), dropped);
    assert_eq!(queue.push(burst(&["123"]), &limits), Pushed::Queued);
    assert_eq!(drain(&mut queue, 4), [&torn.frames[3..], &text_frame("123")].concat());
}

#[test]
fn oldest_unsent_message_is_dropped_for_space_wherever_it_was_joined() {
    let limits = limits(1, 31, Overflow::DropOldest);
    let mut queue = SendQueue::new(&limits);
    queue.push(burst(&["torn", "second", "third"]), &limits);
    let begun = take(&mut queue, 1);
    fill(&mut queue, &["4"], &limits);
    queue.push_pong(frame::pong(b"p"));
    let dropped = Pushed::DroppedOldest(Amount { messages: 1, bytes: 8 });
    assert_eq!(queue.push(burst(&["fifth.."]), &limits), dropped);
    let written = [begun, drain(&mut queue, 7)].concat();
    assert_eq!(texts(&written), ["torn", "p", "third", "4", "fifth.."]);
}

#[test]
fn as_many_oldest_messages_are_dropped_as_a_large_message_needs() {
    let limits = limits(16, 30, Overflow::DropOldest);
    let mut queue = SendQueue::new(&limits);
    fill(&mut queue, &["one", "two", "333", "444"], &limits);
    let large = "x".repeat(16);
    let dropped = Pushed::DroppedOldest(Amount { messages: 2, bytes: 10 });
    assert_eq!(queue.push(burst(&[&large]), &limits), dropped);
    assert_eq!(texts(&drain(&mut queue, 100)), ["333", "444", &large]);
}

#[test]
fn no_message_is_dropped_for_a_message_that_cannot_fit() {
    let limits = limits(16, 20, Overflow::DropOldest);
    let mut queue = SendQueue::new(&limits);
    fill(&mut queue, &["one", "two"], &limits);
    let begun = take(&mut queue, 1);
    let huge = "x".repeat(19);
    let dropped = Pushed::DroppedNewest(Amount { messages: 1, bytes: 21 });
    assert_eq!(queue.push(burst(&[&huge]), &limits), dropped);
    assert_eq!(texts(&[begun, drain(&mut queue, 100)].concat()), ["one", "two"]);
}

#[test]
fn control_frames_overtake_unsent_data_and_are_never_refused() {
    for policy in BOUNDED {
        let limits = limits(2, 20, policy);
        let mut queue = SendQueue::new(&limits);
        queue.push(burst(&["torn"]), &limits);
        queue.push(burst(&["waits"]), &limits);
        let begun = take(&mut queue, 2);
        assert!(!queue.push_pong(frame::pong(b"p")));
        queue.push_ping(frame::ping());
        queue.push_close(frame::close(&Close::normal()));
        let written = [begun, drain(&mut queue, 100)].concat();
        let opcodes: Vec<u8> = told(&written).iter().map(|(opcode, _)| *opcode).collect();
        assert_eq!(opcodes, [1, PING, PONG, 1, CLOSE]);
        assert_eq!(queue.queued(), Amount::default());
    }
}

#[test]
fn newer_pong_replaces_a_queued_pong_and_not_a_partly_sent_pong() {
    let limits = limits(2, 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    assert!(!queue.push_pong(frame::pong(b"1")));
    assert!(queue.push_pong(frame::pong(b"2")));
    let begun = take(&mut queue, 1);
    assert!(!queue.push_pong(frame::pong(b"3")), "the torn one stays");
    assert!(queue.push_pong(frame::pong(b"4")));
    let written = [begun, drain(&mut queue, 100)].concat();
    assert_eq!(texts(&written), ["2", "4"]);
}

#[test]
fn a_second_ping_does_not_wait_behind_the_first() {
    let mut queue = SendQueue::new(&limits(2, 20, Overflow::Evict));
    (0..5).for_each(|_| queue.push_ping(frame::ping()));
    assert_eq!(told(&drain(&mut queue, 100)), [(PING, String::new())]);
}

#[test]
fn discarding_leaves_the_rest_of_the_torn_frame_and_the_control_frames() {
    let limits = limits(16, 1 << 20, Overflow::Evict);
    let first = text_frame("1").len();
    // The bytes that were sent, and the messages that arrive in the end.
    for (left, arriving) in [
        (0, vec![]),
        (1, vec!["1"]),
        (first, vec!["1"]),
        (first + 1, vec!["1", "2"]),
        (2 * first, vec!["1", "2"]),
        (3 * first - 1, vec!["1", "2", "3"]),
    ] {
        let mut queue = SendQueue::new(&limits);
        queue.push(burst(&["1", "2", "3"]), &limits);
        queue.push(burst(&["4", "5"]), &limits);
        let begun = take(&mut queue, left);
        queue.push_pong(frame::pong(b"pong"));
        let lost = queue.discard_data();
        assert_eq!(lost.messages, 5 - arriving.len(), "after {left} bytes");
        assert_eq!(lost.bytes, first * lost.messages);
        assert!(queue.queued().messages <= 1);
        queue.push_close(frame::close(&Close::normal()));
        let written = told(&[begun, drain(&mut queue, 2)].concat());
        let (data, control): (Vec<_>, Vec<_>) = written.into_iter().partition(|(op, _)| *op < 8);
        assert_eq!(data.into_iter().map(|(_, text)| text).collect::<Vec<_>>(), arriving);
        assert_eq!(control.iter().map(|(op, _)| *op).collect::<Vec<_>>(), [PONG, CLOSE]);
    }
}

#[test]
fn discarding_between_two_frames_of_a_burst_drops_the_rest() {
    let limits = limits(16, 1 << 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    queue.push(burst(&["1", "2"]), &limits);
    assert_eq!(take(&mut queue, 3), text_frame("1").to_vec());
    assert_eq!(queue.discard_data(), Amount { messages: 1, bytes: 3 });
    assert!(queue.is_empty(), "a write of nothing would be next");
}

#[test]
fn a_torn_pong_is_finished_when_the_data_behind_it_is_discarded() {
    let limits = limits(16, 1 << 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    queue.push(burst(&["data"]), &limits);
    queue.push_pong(frame::pong(b"pong"));
    let begun = take(&mut queue, 3);
    assert_eq!(queue.discard_data(), Amount { messages: 1, bytes: 6 });
    let written = [begun, drain(&mut queue, 1)].concat();
    assert_eq!(told(&written), [(PONG, "pong".to_owned())]);
}

#[test]
fn queued_count_is_the_unsent_messages_and_bytes() {
    let limits = limits(16, 1 << 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    queue.push(burst(&["1", "2", "3"]), &limits);
    queue.push_pong(frame::pong(b""));
    let amount = |messages, bytes| Amount { messages, bytes };
    take(&mut queue, 2);
    assert_eq!(queue.queued(), amount(3, 9), "only the pong has left");
    take(&mut queue, 2);
    assert_eq!(queue.queued(), amount(3, 7));
    take(&mut queue, 1);
    assert_eq!(queue.queued(), amount(2, 6));
    take(&mut queue, 6);
    assert!(queue.is_empty());
}

#[test]
fn a_write_takes_so_many_slots_and_no_more() {
    let limits = limits(100, 1 << 20, Overflow::Evict);
    let mut queue = SendQueue::new(&limits);
    fill(&mut queue, &["x"; WRITE_SLOTS_MAX + 1], &limits);
    assert_eq!(take(&mut queue, usize::MAX).len(), 3 * WRITE_SLOTS_MAX);
    assert_eq!(take(&mut queue, usize::MAX).len(), 3);
    assert!(queue.is_empty());
}

#[derive(Debug, Clone, PartialEq)]
struct Frame {
    opcode: u8,
    bytes: Bytes,
}

impl Frame {
    fn is_data(&self) -> bool {
        self.opcode < 8
    }
}

/// The oracle: the queue as a list of frames, which the oracle walks for every query. The oracle does not depend on
/// which frames share a slot.
struct Oracle {
    frames: VecDeque<Frame>,
    /// The bytes of the first frame that were sent.
    written: usize,
    limits: QueueLimits,
}

impl Oracle {
    fn first_whole(&self) -> usize {
        usize::from(self.written > 0)
    }

    /// The amount of a data frame.
    fn weight(&self, at: usize) -> usize {
        let bytes = self.frames[at].bytes.len();
        let left = bytes - if at == 0 { self.written } else { 0 };
        if bytes > self.limits.bytes { left.min(self.limits.bytes / 2) } else { left }
    }

    fn fits(&self, bytes: usize) -> bool {
        let data = (0..self.frames.len()).filter(|&at| self.frames[at].is_data());
        let weights: Vec<usize> = data.map(|at| self.weight(at)).collect();
        weights.is_empty() || weights.iter().sum::<usize>() + bytes <= self.limits.bytes
    }

    fn start(&mut self, burst: &Burst, written: usize) -> Pushed {
        self.append(burst);
        self.advance(written);
        match self.limits.overflow {
            Overflow::KeepNewest => self.keep_newest(),
            _ => Pushed::Queued,
        }
    }

    fn keep_newest(&mut self) -> Pushed {
        let whole: Vec<usize> = (self.first_whole()..self.frames.len())
            .filter(|&at| self.frames[at].is_data())
            .collect();
        let mut dropped = Amount::default();
        for &at in whole.iter().rev().skip(1) {
            dropped.messages += 1;
            dropped.bytes += self.frames.remove(at).map_or(0, |frame| frame.bytes.len());
        }
        if dropped.messages > 0 { Pushed::DroppedOldest(dropped) } else { Pushed::Queued }
    }

    fn push(&mut self, burst: &Burst) -> Pushed {
        if self.limits.overflow == Overflow::KeepNewest {
            self.append(burst);
            return self.keep_newest();
        }
        let amount = Amount { messages: burst.messages, bytes: burst.frames.len() };
        if self.fits(amount.bytes) {
            self.append(burst);
            return Pushed::Queued;
        }
        match self.limits.overflow {
            Overflow::DropOldest => self.push_over_oldest(burst, amount),
            Overflow::DropNewest => Pushed::DroppedNewest(amount),
            _ => Pushed::Full,
        }
    }

    fn push_over_oldest(&mut self, burst: &Burst, amount: Amount) -> Pushed {
        let before = self.frames.clone();
        let mut dropped = Amount::default();
        while !self.fits(amount.bytes) {
            let first = self.first_whole();
            let oldest = (first..self.frames.len()).find(|&at| self.frames[at].is_data());
            let Some(gone) = oldest.and_then(|at| self.frames.remove(at)) else {
                self.frames = before;
                return Pushed::DroppedNewest(amount);
            };
            dropped.messages += 1;
            dropped.bytes += gone.bytes.len();
        }
        self.append(burst);
        Pushed::DroppedOldest(dropped)
    }

    fn append(&mut self, burst: &Burst) {
        let mut rest = burst.frames.clone();
        while !rest.is_empty() {
            let bytes = rest.split_to(frame::frame_end(&rest, 1));
            self.frames.push_back(Frame { opcode: 1, bytes });
        }
    }

    fn control(&mut self, opcode: u8, bytes: Bytes) -> bool {
        let first = self.first_whole();
        let waiting = (first..self.frames.len()).find(|&at| self.frames[at].opcode == opcode);
        match waiting {
            Some(at) => self.frames[at].bytes = bytes,
            None => self.frames.insert(first, Frame { opcode, bytes }),
        }
        waiting.is_some()
    }

    /// All queued bytes.
    fn waiting(&self) -> Vec<u8> {
        let all = self.frames.iter().flat_map(|frame| frame.bytes.iter().copied());
        all.skip(self.written).collect()
    }

    fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        while self.frames.front().is_some_and(|front| front.bytes.len() <= self.written) {
            self.written -= self.frames.pop_front().map_or(0, |front| front.bytes.len());
        }
    }

    fn queued(&self) -> Amount {
        let data = self.frames.iter().filter(|frame| frame.is_data());
        let bytes: usize = data.clone().map(|frame| frame.bytes.len()).sum();
        let is_torn = self.frames.front().is_some_and(Frame::is_data);
        Amount { messages: data.count(), bytes: bytes - if is_torn { self.written } else { 0 } }
    }
}

/// A burst of several messages, or of one message that exceeds the bound.
fn random_burst(rng: &mut Rng, bytes_max: usize) -> Burst {
    let mut frames = BytesMut::new();
    let messages = rng.usize(1..5);
    for _ in 0..messages {
        let bytes = if rng.u32(0..10) == 0 { rng.usize(120..130) } else { rng.usize(0..12) };
        frames.extend_from_slice(&frame::encode(FrameKind::Text, &vec![b'x'; bytes]));
    }
    if frames.len() > bytes_max {
        frames.truncate(frame::frame_end(&frames, 1));
        return Burst { frames: frames.freeze(), messages: 1 };
    }
    Burst { frames: frames.freeze(), messages }
}

#[test]
fn random_operations_agree_with_a_plain_list() {
    for seed in 0..5_000 {
        let mut rng = Rng::with_seed(seed);
        let limits = limits(rng.usize(0..6), rng.usize(0..200), POLICIES[rng.usize(0..4)]);
        let mut queue = SendQueue::new(&limits);
        let mut oracle = Oracle { frames: VecDeque::new(), written: 0, limits };
        for step in 0..60 {
            let context = format!("seed {seed}, step {step}");
            match rng.u32(0..10) {
                0..4 => {
                    let burst = random_burst(&mut rng, limits.bytes);
                    if oracle.frames.is_empty() && rng.bool() {
                        let written = rng.usize(0..=burst.frames.len());
                        let started = queue.start(burst.clone(), written, &limits);
                        assert_eq!(started, oracle.start(&burst, written));
                    } else {
                        let pushed = queue.push(burst.clone(), &limits);
                        assert_eq!(pushed, oracle.push(&burst), "{context}");
                    }
                }
                4 => {
                    let pong = frame::pong(&rng.u32(..).to_be_bytes()[..rng.usize(0..4)]);
                    let replaced = oracle.control(PONG, pong.clone());
                    assert_eq!(queue.push_pong(pong), replaced, "{context}");
                }
                5 => {
                    oracle.control(PING, frame::ping());
                    queue.push_ping(frame::ping());
                }
                _ => {
                    let bytes = rng.usize(0..80);
                    let written = take(&mut queue, bytes);
                    assert!(oracle.waiting().starts_with(&written), "{context}");
                    oracle.advance(written.len());
                }
            }
            assert_eq!(queue.queued(), oracle.queued(), "{context}");
            assert_eq!(queue.is_empty(), oracle.frames.is_empty(), "{context}");
        }
        if rng.bool() {
            finish_after_discard(&mut queue, &oracle);
        } else {
            assert!(oracle.waiting() == drain(&mut queue, 50), "seed {seed}");
        }
    }
}

/// Discards the data, and asserts that only the frame of the torn slot and the control frames are left.
fn finish_after_discard(queue: &mut SendQueue, oracle: &Oracle) {
    let before = queue.queued();
    let lost = queue.discard_data();
    let kept = queue.queued();
    assert_eq!(before.messages, lost.messages + kept.messages);
    assert_eq!(before.bytes, lost.bytes + kept.bytes);
    let is_torn = oracle.written > 0 && oracle.frames.front().is_some_and(Frame::is_data);
    assert_eq!(kept.messages, usize::from(is_torn));
    let control = oracle.frames.iter().filter(|frame| !frame.is_data()).count();
    let rest = drain(queue, 50);
    let (frames, torn_bytes) = parse(&[oracle_begun(oracle), rest].concat());
    assert_eq!(torn_bytes, 0);
    assert_eq!(frames.iter().filter(|frame| !frame.is_data()).count(), control);
}

/// The bytes of the first frame that were sent.
fn oracle_begun(oracle: &Oracle) -> Vec<u8> {
    oracle.frames.front().map_or_else(Vec::new, |front| front.bytes[..oracle.written].to_vec())
}
