//! The shards on threads, and the calls that a story makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use roomcast::engine::{
    Address, Budgets, ClientInflater, Close, Closing, ConnKey, DisconnectReason, JoinError, Link,
    Overloaded, Port, RoomWatch, RunState, Shard, Stage, publish,
};
use shuttle::thread::{self, JoinHandle};

use super::alarm::sleep_until;
use super::coding::{Coding, Inflating};
use super::fake::{Client, FakeSocket, Settings, assert_nothing_reserved, text_frame};
use super::log::{Log, To};

/// The writes of one slice: few, so that many events happen between two slices.
const WRITES_PER_SLICE: usize = 2;

/// The number of created rooms minus the number of removed rooms.
#[derive(Default)]
struct Watch(Mutex<BTreeMap<String, i64>>);

impl Watch {
    fn add(&self, name: &str, change: i64) {
        let mut rooms = self.0.lock().unwrap();
        *rooms.entry(name.to_owned()).or_default() += change;
    }
}

impl RoomWatch for Watch {
    fn made(&self, name: &str) {
        self.add(name, 1);
    }

    fn gone(&self, name: &str) {
        self.add(name, -1);
    }
}

/// A hub that the threads of a story share.
#[derive(Clone)]
pub(crate) struct World {
    settings: Settings,
    ports: Arc<[Arc<Port<FakeSocket>>]>,
    budgets: Budgets,
    watch: Arc<Watch>,
    log: Arc<Log>,
    conns: Arc<Mutex<Vec<Conn>>>,
}

/// The threads of the shards, which give their shards back when they are stopped.
pub(crate) struct Shards(Vec<JoinHandle<Shard<FakeSocket>>>);

impl World {
    pub(crate) fn start(settings: Settings) -> (Self, Shards) {
        let budgets = Budgets::new(settings.rooms_max, settings.queued_bytes_max, settings.shards);
        let watch = Arc::new(Watch::default());
        let port = |index| {
            let port =
                Port::new(index, settings.inbox, settings.rooms).with_budgets(budgets.clone());
            Arc::new(port.with_room_watch(watch.clone()))
        };
        let ports: Arc<[_]> = (0..settings.shards).map(port).collect();
        let shards = ports.iter().map(|port| {
            let shard = Shard::new(settings.shard, port.clone())
                .with_compression(settings.compression.map(Coding::build));
            let port = port.clone();
            thread::spawn(move || drive(shard, &port))
        });
        let shards = Shards(shards.collect());
        let (log, conns) = Default::default();
        (Self { settings, ports, budgets, watch, log, conns }, shards)
    }

    /// Attaches a new connection, to the shards in turn. Its client inflates if the shards compress.
    pub(crate) fn attach(&self, serial: u64) -> Conn {
        let shard = serial as usize % self.ports.len();
        let id = ConnKey::new(serial, shard);
        let inflater = self.settings.compression.map(|_| ClientInflater::new(15, true));
        let link = Link::new(id).with_inflater(inflater);
        let client = self.log.attach(id, || Client::attach_link(link, &self.ports[shard]));
        let conn = Conn { client, log: self.log.clone() };
        self.conns.lock().unwrap().push(conn.clone());
        conn
    }

    pub(crate) fn publish(&self, publisher: usize, to: To) -> Result<(), Overloaded> {
        self.publish_except(publisher, to, None)
    }

    pub(crate) fn publish_except(
        &self,
        publisher: usize,
        to: To,
        except: Option<ConnKey>,
    ) -> Result<(), Overloaded> {
        let address = match to {
            To::Everyone => Address::Everyone,
            To::Room(name) => Address::Room(name),
            To::Conn(id) => Address::Conn(id),
        };
        self.log.publish(publisher, to, except, |number| {
            let frame = text_frame(&self.text(number));
            publish(&self.ports, address, except.as_slice(), &frame)
        })
    }

    /// The text of a message. If the shards compress, its last digit is repeated, so that it can be
    /// compressed.
    fn text(&self, number: usize) -> String {
        match self.settings.compression {
            None => number.to_string(),
            Some(_) => format!("{number:04}{}", (number % 10).to_string().repeat(40)),
        }
    }

    /// Publishes once, as soon as the inboxes have space.
    pub(crate) fn publish_wait(&self, publisher: usize, to: &To) {
        while self.publish(publisher, to.clone()).is_err() {
            thread::yield_now();
        }
    }

    /// Ends all connections.
    pub(crate) fn close_all(&self) {
        self.log.may_end_all();
        let closing = Arc::new(Closing::now());
        self.ports.iter().for_each(|port| port.close_all(closing.clone()));
    }

    /// Stops the shards.
    pub(crate) fn stop(&self) {
        self.log.may_end_all();
        self.ports.iter().for_each(|port| port.stop());
    }

    pub(crate) fn conns(&self) -> Vec<Conn> {
        self.conns.lock().unwrap().clone()
    }

    /// Ends the story after all other threads: drops the sockets, and asserts that nothing is left.
    pub(crate) fn finish(self, shards: Shards) {
        let conns = self.conns();
        conns.iter().for_each(Conn::close);
        for conn in &conns {
            conn.wait_for(Stage::Flushed);
            conn.detach();
        }
        self.stop();
        let shards = shards.join();
        self.check_deliveries();
        for port in &*self.ports {
            let left = port.rooms().snapshot();
            assert!(
                left.names().next().is_none(),
                "{:?} are left",
                left.names().collect::<Vec<_>>()
            );
            assert_eq!(port.counters().rooms.get(), 0);
            assert_eq!(port.counters().connections.get(), 0);
            assert!(port.inbox().is_empty());
            assert_nothing_reserved(port, self.settings.inbox);
        }
        self.check_counters();
        assert!(conns.iter().all(|conn| conn.client.wire().is_dropped));
        drop(shards);
        assert_eq!(self.budgets.rooms.used(), 0);
        assert_eq!(self.budgets.queued_bytes.used(), 0);
        let rooms = self.watch.0.lock().unwrap();
        assert!(rooms.values().all(|&left| left == 0), "made and gone: {rooms:?}");
    }

    /// Compares the arrived messages with the published messages.
    pub(crate) fn check_deliveries(&self) {
        for conn in self.conns() {
            self.log.check(conn.client.id(), &conn.got());
        }
    }

    pub(crate) fn check_counters(&self) {
        let total = |counter: fn(&Port<FakeSocket>) -> u64| -> u64 {
            self.ports.iter().map(|port| counter(port)).sum()
        };
        let got: usize = self.conns().iter().map(|conn| conn.got().len()).sum();
        let handed = total(|port| port.counters().deliveries.get());
        let lost = total(|port| {
            port.counters().dropped_at_end.get() + port.counters().dropped_oldest.get()
        });
        assert_eq!(got as u64, handed - lost, "{handed} were handed over and {lost} lost");
        let connected = total(|port| port.counters().connected.get());
        assert_eq!(connected, self.conns().len() as u64);
        assert_eq!(connected, total(|port| port.counters().disconnected.get()));
    }
}

impl Shards {
    /// Waits until all shards have stopped.
    pub(crate) fn join(self) -> Vec<Shard<FakeSocket>> {
        self.0.into_iter().map(|shard| shard.join().unwrap()).collect()
    }
}

/// Runs a shard as its driver does, except that the time does not move.
fn drive(mut shard: Shard<FakeSocket>, port: &Port<FakeSocket>) -> Shard<FakeSocket> {
    loop {
        match shard.run(Duration::ZERO, WRITES_PER_SLICE) {
            RunState::Busy => thread::yield_now(),
            RunState::Idle => sleep_until(|cx| port.inbox().poll_filled(cx).is_ready()),
            RunState::Stopped => return shard,
        }
    }
}

/// A connection, as its session and its client see it.
#[derive(Clone)]
pub(crate) struct Conn {
    pub(crate) client: Client,
    log: Arc<Log>,
}

impl Conn {
    pub(crate) fn id(&self) -> ConnKey {
        self.client.id()
    }

    pub(crate) fn try_join(&self, room: &'static str) -> Result<(), JoinError> {
        self.log.join(self.id(), room, || self.client.port.join(&self.client.link, room))
    }

    pub(crate) fn join(&self, room: &'static str) {
        self.try_join(room).expect("joins");
    }

    pub(crate) fn leave(&self, room: &'static str) {
        self.log.leave(self.id(), room, || self.client.leave(room));
    }

    /// The application closes the connection: earlier messages still arrive.
    pub(crate) fn close(&self) {
        self.log.may_end(self.id(), false);
        self.client.link.start_closing();
        self.client.close();
    }

    /// The client closes the connection, and reads no more.
    pub(crate) fn close_by_client(&self) {
        self.log.may_end(self.id(), true);
        let reason = DisconnectReason::ClosedByClient(Close::normal());
        self.client.port.close(self.id(), reason);
    }

    /// Records that the connection may be evicted, and may lose its queued messages.
    pub(crate) fn may_be_evicted(&self) {
        self.log.may_end(self.id(), true);
    }

    /// Sleeps until the end has reached this stage.
    pub(crate) fn wait_for(&self, stage: Stage) {
        let link = &self.client.link;
        sleep_until(|cx| {
            link.watch_stage(cx.waker());
            link.stage() >= stage
        });
        self.log.has_ended(self.id());
    }

    /// The session ends and returns the socket. If the socket is not flushed, the queued messages are lost.
    pub(crate) fn detach(&self) {
        self.log.may_end(self.id(), self.client.stage() < Stage::Flushed);
        self.client.port.detach(self.id());
    }

    /// The numbers of the messages that have arrived.
    pub(crate) fn got(&self) -> Vec<usize> {
        let inflater = self.client.link.inflater();
        let mut inflating = Inflating::new(inflater);
        let frames = self.client.frames().into_iter().filter(|frame| frame.is_data());
        let number = |frame| {
            let text = String::from_utf8(inflating.inflate(frame, false).payload).expect("text");
            text[..text.len().min(4)].parse().expect("a number")
        };
        frames.map(number).collect()
    }
}
