//! Stories: the calls that threads make at the same time. `log.rs` and `World::finish` hold the checks.

use roomcast::engine::{JoinError, Overflow, Stage};
use shuttle::thread::{self, JoinHandle};

use super::coding::Coding;
use super::fake::Settings;
use super::log::To;
use super::tell;
use super::world::{Conn, World};

/// An inbox size that no story fills, and that is small enough to drain quickly at the end.
fn settings() -> Settings {
    Settings::default().inbox(32, 1_000)
}

fn spawn(action: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::spawn(action)
}

fn join_all(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Polls for a condition without a wake-up. A story whose condition never holds exceeds the bound of steps.
fn wait_until(is_so: impl Fn() -> bool) {
    while !is_so() {
        thread::yield_now();
    }
}

/// A thread that publishes once to each of these targets.
fn publisher(world: &World, number: usize, to: Vec<To>) -> JoinHandle<()> {
    let world = world.clone();
    spawn(move || to.iter().for_each(|to| world.publish_wait(number, to)))
}

#[test]
fn members_that_come_and_go_get_exactly_their_messages() {
    tell(|| {
        let (world, shards) = World::start(settings().shards(2));
        let wanderer = |serial, rooms: [&'static str; 2]| {
            let conn = world.attach(serial);
            spawn(move || {
                for room in rooms {
                    conn.join(room);
                    conn.leave(room);
                }
                conn.join(rooms[0]);
            })
        };
        let threads = vec![
            wanderer(0, ["r", "s"]),
            wanderer(1, ["s", "r"]),
            publisher(&world, 0, vec![To::Room("r"), To::Everyone, To::Room("s"), To::Room("r")]),
            publisher(&world, 1, vec![To::Room("s"), To::Room("r"), To::Everyone]),
        ];
        join_all(threads);
        world.finish(shards);
    });
}

#[test]
fn a_room_is_not_lost_between_its_last_leave_and_the_next_join() {
    tell(|| {
        let (world, shards) = World::start(settings());
        let threads = (0..3).map(|serial| {
            let conn = world.attach(serial);
            let world = world.clone();
            spawn(move || {
                for _ in 0..2 {
                    conn.join("r");
                    world.publish(serial as usize, To::Room("r")).unwrap();
                    conn.leave("r");
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        join_all(threads);
        world.finish(shards);
    });
}

#[test]
fn a_slow_client_is_evicted_or_catches_up_and_others_get_all() {
    tell(|| {
        let (world, shards) = World::start(settings().queue(1, 1_000, Overflow::Evict));
        let [slow, healthy] = [0, 1].map(|serial| world.attach(serial));
        slow.client.block();
        [&slow, &healthy].into_iter().for_each(|conn| conn.join("r"));
        slow.may_be_evicted();
        let client = {
            let slow = slow.clone();
            spawn(move || {
                slow.client.take(2);
                slow.client.unblock();
            })
        };
        let to = vec![To::Room("r"), To::Conn(slow.id()), To::Everyone, To::Room("r")];
        join_all([client, publisher(&world, 0, to.clone()), publisher(&world, 1, to.clone())]);
        wait_until(|| slow.got().len() == 2 * to.len() || slow.client.reason().is_some());
        world.finish(shards);
    });
}

#[test]
fn a_socket_that_takes_a_few_bytes_at_a_time_gets_all_in_order() {
    tell(|| {
        let (world, shards) = World::start(settings().queue(16, 1_000, Overflow::Evict));
        let conn = world.attach(0);
        conn.client.block();
        conn.join("r");
        let client = {
            let conn = conn.clone();
            spawn(move || {
                for bytes in [1, 3, 2] {
                    conn.client.take(bytes);
                }
                conn.client.unblock();
            })
        };
        let to = vec![To::Room("r"), To::Everyone, To::Conn(conn.id())];
        join_all([client, publisher(&world, 0, to.clone())]);
        wait_until(|| conn.got().len() == to.len());
        world.finish(shards);
    });
}

#[test]
fn connections_end_in_every_way_while_others_publish() {
    tell(|| {
        let (world, shards) = World::start(settings().shards(2));
        let conns: Vec<Conn> = (0..4).map(|serial| world.attach(serial)).collect();
        conns.iter().for_each(|conn| conn.join("r"));
        let ends: [fn(&Conn); 3] = [
            |conn| {
                conn.close();
                assert_eq!(conn.try_join("late"), Err(JoinError::Closed));
                conn.wait_for(Stage::Flushed);
            },
            |conn| {
                conn.close_by_client();
                // The session joins without a check that the connection is open.
                let _ = conn.try_join("late");
                conn.wait_for(Stage::Ended);
            },
            |conn| conn.leave("r"),
        ];
        let mut threads: Vec<_> = conns
            .iter()
            .zip(ends)
            .map(|(conn, end)| {
                let conn = conn.clone();
                spawn(move || {
                    end(&conn);
                    conn.detach();
                })
            })
            .collect();
        let to = [To::Room("r"), To::Everyone, To::Conn(conns[0].id()), To::Room("late")];
        threads.push(publisher(&world, 0, to.to_vec()));
        join_all(threads);
        world.finish(shards);
    });
}

#[test]
fn closing_hub_ends_present_and_new_connections() {
    tell(|| {
        let (world, shards) = World::start(settings().shards(2));
        let early = world.attach(0);
        early.join("r");
        let sessions = (1..3).map(|serial| {
            let world = world.clone();
            spawn(move || {
                let conn = world.attach(serial);
                let _ = conn.try_join("r");
                let _ = world.publish_except(serial as usize, To::Room("r"), Some(conn.id()));
            })
        });
        let mut threads: Vec<_> = sessions.collect();
        threads.push(publisher(&world, 0, vec![To::Everyone, To::Room("r")]));
        let closer = world.clone();
        threads.push(spawn(move || closer.close_all()));
        let watcher = early.clone();
        threads.push(spawn(move || watcher.wait_for(Stage::Flushed)));
        join_all(threads);
        world.conns().iter().for_each(|conn| conn.wait_for(Stage::Flushed));
        world.finish(shards);
    });
}

#[test]
fn no_call_waits_forever_for_a_stopped_shard() {
    tell(|| {
        let (world, shards) = World::start(settings().shards(2));
        let early = world.attach(0);
        let sessions = (1..4).map(|serial| {
            let world = world.clone();
            spawn(move || {
                let conn = world.attach(serial);
                let _ = conn.try_join("r");
                let _ = world.publish(serial as usize, To::Everyone);
                conn.may_be_evicted();
                conn.wait_for(Stage::Cut);
            })
        });
        let mut threads: Vec<_> = sessions.collect();
        let stopper = world.clone();
        threads.push(spawn(move || stopper.stop()));
        drop(shards.join());
        join_all(threads);
        early.wait_for(Stage::Cut);
        world.check_deliveries();
        world.check_counters();
        assert!(world.conns().iter().all(|conn| conn.client.wire().is_dropped));
    });
}

#[test]
fn a_publish_to_full_inboxes_reaches_all_shards_or_none() {
    tell(|| {
        let (world, shards) = World::start(settings().shards(2).inbox(2, 100));
        let conns: Vec<Conn> = (0..2).map(|serial| world.attach(serial)).collect();
        let mut threads: Vec<_> = (0..3)
            .map(|number| {
                let world = world.clone();
                spawn(move || {
                    for to in [To::Everyone, To::Room("r"), To::Everyone] {
                        let _ = world.publish(number, to);
                    }
                })
            })
            .collect();
        threads.extend(conns.into_iter().map(|conn| {
            spawn(move || {
                while conn.try_join("r") == Err(JoinError::Overloaded) {
                    thread::yield_now();
                }
            })
        }));
        join_all(threads);
        world.finish(shards);
    });
}

#[test]
fn each_client_can_read_what_is_compressed_while_members_come_and_go() {
    tell(|| {
        let settings = settings().queue(16, 4_000, Overflow::Evict).inbox(64, 10_000);
        let (world, shards) = World::start(settings.compression(Coding::shared().direct()));
        let [steady, slow] = [0, 1].map(|serial| world.attach(serial));
        [&steady, &slow].into_iter().for_each(|conn| conn.join("r"));
        let newcomer = world.clone();
        let client = slow.clone();
        let threads = vec![
            spawn(move || {
                let conn = newcomer.attach(2);
                conn.join("r");
                conn.join("s");
                conn.leave("r");
                conn.join("r");
            }),
            spawn(move || {
                client.client.block();
                [25, 30].into_iter().for_each(|bytes| client.client.take(bytes));
                client.client.unblock();
            }),
            publisher(
                &world,
                0,
                vec![To::Room("r"), To::Conn(steady.id()), To::Room("r"), To::Conn(slow.id())],
            ),
            publisher(&world, 1, vec![To::Room("s"), To::Room("r"), To::Everyone, To::Room("r")]),
        ];
        join_all(threads);
        world.finish(shards);
    });
}

#[test]
fn sweep_reaches_the_members_at_its_start_and_nothing_overtakes_it() {
    tell(|| {
        let (world, shards) = World::start(settings().large_audience(2));
        let conns: Vec<Conn> = (0..4).map(|serial| world.attach(serial)).collect();
        conns.iter().for_each(|conn| conn.join("r"));
        let mut threads = vec![
            publisher(&world, 0, vec![To::Room("r"), To::Conn(conns[0].id()), To::Room("r")]),
            publisher(&world, 1, vec![To::Conn(conns[1].id()), To::Everyone, To::Room("s")]),
        ];
        let changes: [fn(&Conn); 3] = [
            |conn| {
                conn.leave("r");
                conn.join("s");
            },
            |conn| {
                conn.join("s");
                conn.leave("r");
                conn.join("r");
            },
            Conn::close,
        ];
        threads.extend(
            conns.into_iter().zip(changes).map(|(conn, change)| spawn(move || change(&conn))),
        );
        join_all(threads);
        world.finish(shards);
    });
}
