//! Back-pressure: messages that arrive faster than the hub can send them.

use roomcast::{Hub, JoinError, LeaveError, PublishError, SendError, Target};

use support::{
    Client, Listening, PING, RawClient, Recorded, TEXT, eventually, frame, serve, within,
};

/// A hub with one shard whose inbox has space for few messages.
fn tight(messages: usize) -> Hub<u32> {
    // This test is not about the send queue of a connection, so that queue is large.
    Hub::builder().shards(1).inbox_messages(messages).send_buffer(65_536).build().unwrap()
}

#[tokio::test]
async fn try_publish_to_a_full_inbox_is_refused_and_delivers_nothing() {
    let mut server = Recorded::serve(tight(8)).await;
    let (mut client, conn) = server.connect().await;
    conn.try_join("r").unwrap();
    conn.rooms().await;
    let hub = server.hub.clone();
    // The runtime has one thread, so the shard does not run between these calls.
    let taken: Vec<u32> = (0..20).filter(|message| hub.try_to_room("r", message).is_ok()).collect();
    assert_eq!(taken, (0..8).collect::<Vec<_>>());
    for refused in
        [hub.try_to_room("r", &9), hub.try_broadcast(&9), hub.try_publish(&conn.id().into(), &9)]
    {
        assert!(matches!(refused, Err(PublishError::Overloaded)), "{refused:?}");
    }
    assert!(matches!(conn.try_send(&9), Err(SendError::Overloaded)));
    assert_eq!(conn.try_join("s"), Err(JoinError::Overloaded));
    assert_eq!(conn.try_leave("r"), Err(LeaveError::Overloaded));
    hub.try_to_room("nobody's", &9).unwrap();
    assert!(hub.stats().inbox_refusals >= 12 + 6);

    hub.broadcast(&100).await.unwrap();
    let mut expected = taken;
    expected.push(100);
    assert_eq!(client.get_many::<u32>(9).await, expected);
    assert_eq!(conn.rooms().await, ["r"]);
    assert_eq!(hub.rooms().await, ["r"], "nothing is left of the room that could not be joined");
}

#[tokio::test]
async fn message_that_one_shard_refuses_reaches_nobody() {
    let hub = Hub::<u32>::builder().shards(2).inbox_messages(4).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut a, first) = server.connect().await;
    let (mut b, second) = server.connect().await;
    // The inbox of the second shard is full.
    while second.try_send(&1).is_ok() {}
    assert!(matches!(hub.try_broadcast(&2), Err(PublishError::Overloaded)));
    first.try_send(&3).unwrap();
    assert_eq!(a.get::<u32>().await, 3);
    assert_eq!(b.get_many::<u32>(4).await, [1; 4]);
    hub.try_broadcast(&4).unwrap();
    assert_eq!((a.get::<u32>().await, b.get::<u32>().await), (4, 4));
}

#[tokio::test]
async fn bytes_that_wait_are_bounded_too() {
    let hub = Hub::<String>::builder().shards(1).inbox_bytes(10_000).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, _) = server.connect().await;
    let kilobyte = "k".repeat(998);
    let taken = (0..20).filter(|_| hub.try_broadcast(&kilobyte).is_ok()).count();
    assert_eq!(taken, 9, "1,004 bytes each, with quotes and header");
    assert_eq!(client.get_many::<String>(9).await, vec![kilobyte; 9]);
    let larger = "l".repeat(50_000);
    hub.try_broadcast(&larger).unwrap();
    assert!(hub.try_broadcast(&larger).is_err());
    assert_eq!(client.get::<String>().await, larger, "alone it passes, whatever the bound");
}

#[tokio::test]
async fn waiting_calls_succeed() {
    let mut server = Recorded::serve(tight(2)).await;
    let (mut client, conn) = server.connect().await;
    conn.try_join("r").unwrap();
    let hub = server.hub.clone();
    let publisher = tokio::spawn(async move {
        for message in 0..1_000 {
            match message % 4 {
                0 => hub.broadcast(&message).await.unwrap(),
                1 => hub.to_room("r", &message).await.unwrap(),
                2 => conn.send(&message).await.unwrap(),
                _ => hub.publish(&Target::rooms(["r"]), &message).await.unwrap(),
            }
        }
    });
    assert_eq!(client.get_many::<u32>(1_000).await, (0..1_000).collect::<Vec<_>>());
    within("the publisher ends", publisher).await.unwrap();
}

#[tokio::test]
async fn waiting_join_succeeds() {
    let mut server = Recorded::serve(tight(2)).await;
    let (mut client, conn) = server.connect().await;
    let hub = server.hub.clone();
    (0..2).for_each(|message| hub.try_broadcast(&message).unwrap());
    assert_eq!(conn.try_join("r"), Err(JoinError::Overloaded));
    within("the join", conn.join_subscribed("r")).await.unwrap();
    hub.try_to_room("r", &2).unwrap();
    assert_eq!(client.get_many::<u32>(3).await, [0, 1, 2]);
}

/// The first message leaves the inbox less than half full, but the second message does not fit.
#[tokio::test]
async fn waiting_call_with_a_large_message_succeeds() {
    let hub = Hub::<String>::builder().shards(1).inbox_bytes(10_000).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut client, conn) = server.connect().await;
    let (small, large) = ("s".repeat(3_000), "l".repeat(8_000));
    for _ in 0..3 {
        hub.try_broadcast(&small).unwrap();
        assert!(matches!(hub.try_broadcast(&large), Err(PublishError::Overloaded)));
        within("the large one", hub.broadcast(&large)).await.unwrap();
        // When the shard has answered, it has processed all earlier commands.
        conn.rooms().await;
        conn.try_send(&small).unwrap();
        within("the large one", conn.send(&large)).await.unwrap();
        for expected in [&small, &large, &small, &large] {
            assert_eq!(client.get::<String>().await, *expected);
        }
        conn.rooms().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_waiting_calls_succeed_in_parallel() {
    const PUBLISHERS: u32 = 8;
    const MESSAGES: u32 = 2_000;
    let hub = Hub::<u32>::builder().shards(2).inbox_messages(4).send_buffer(65_536);
    let hub = hub.build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let (mut a, _) = server.connect().await;
    let (mut b, _) = server.connect().await;
    for publisher in 0..PUBLISHERS {
        let hub = hub.clone();
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                hub.broadcast(&(publisher * MESSAGES + message)).await.unwrap();
            }
        });
    }
    let all = (PUBLISHERS * MESSAGES) as usize;
    let (a, b) = tokio::join!(a.get_many::<u32>(all), b.get_many::<u32>(all));
    for got in [a, b] {
        for publisher in 0..PUBLISHERS {
            let range = publisher * MESSAGES..(publisher + 1) * MESSAGES;
            let its = got.iter().copied().filter(|message| range.contains(message));
            assert!(its.eq(range.clone()), "publisher {publisher}");
        }
    }
}

#[tokio::test]
async fn waiting_call_that_is_dropped_has_queued_nothing() {
    let mut server = Recorded::serve(tight(2)).await;
    let (mut client, _) = server.connect().await;
    let hub = server.hub.clone();
    hub.try_broadcast(&0).unwrap();
    hub.try_broadcast(&1).unwrap();
    {
        let mut waiting = Box::pin(hub.broadcast(&2));
        assert!(futures_util::poll!(&mut waiting).is_pending());
    }
    hub.broadcast(&3).await.unwrap();
    assert_eq!(client.get_many::<u32>(3).await, [0, 1, 3]);
}

#[tokio::test]
async fn waiting_call_ends_when_the_hub_closes() {
    let mut server = Recorded::serve(tight(2)).await;
    let (_client, _) = server.connect().await;
    let hub = server.hub.clone();
    hub.try_broadcast(&0).unwrap();
    hub.try_broadcast(&1).unwrap();
    let mut waiting = Box::pin(hub.broadcast(&2));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    hub.shutdown_now();
    assert!(matches!(within("an answer", waiting).await, Err(PublishError::Closed)));
}

/// A hub with a small inbox that broadcasts each message of a client.
async fn relay(inbox: usize) -> (Hub<u32>, Listening) {
    let hub = Hub::<u32>::builder().shards(2).inbox_messages(inbox).send_buffer(65_536);
    let hub = hub.build().unwrap();
    let handlers = hub.handlers().on_message(|conn, message| async move {
        conn.hub().broadcast(&message).await.unwrap();
    });
    let server = serve(hub.handle(handlers)).await;
    (hub, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn flooding_client_is_slowed_and_not_disconnected_and_all_its_messages_arrive() {
    const MESSAGES: u32 = 20_000;
    let (hub, server) = relay(2).await;
    let mut listener = Client::connect(server.addr, "/ws").await;
    let flooder = RawClient::connect(server.addr).await;
    eventually("both are in", || hub.count() == 2).await;
    let (mut reading, mut writing) = flooder.stream.into_split();
    let flood: Vec<u8> =
        (0..MESSAGES).flat_map(|message| frame(TEXT, message.to_string().as_bytes())).collect();
    let sender = tokio::spawn(async move {
        tokio::io::AsyncWriteExt::write_all(&mut writing, &flood).await.unwrap();
        writing
    });
    // The client reads its messages; otherwise it would be a slow client too.
    let drain = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut reading, &mut tokio::io::sink()).await;
    });
    let got = listener.get_many::<u32>(MESSAGES as usize).await;
    assert!(got.into_iter().eq(0..MESSAGES), "all, in order");
    let _open = within("the flooder has sent all", sender).await.unwrap();
    assert_eq!(hub.count(), 2);
    let stats = hub.stats();
    assert_eq!((stats.disconnected, stats.dropped()), (0, 0));
    drain.abort();
}

/// The handler does not wait, so the hub must not call it while the inbox has no space.
#[tokio::test]
async fn flooding_client_is_not_read_while_the_inbox_has_little_space() {
    let hub = tight(8);
    let handlers = hub.handlers();
    let handlers = handlers.on_connect(|conn| async move { Ok(conn.try_join("r")?) });
    let handlers = handlers.on_message(|conn, message| async move {
        conn.hub().try_publish(&Target::room("r").except(conn.id()), &message).unwrap();
    });
    let server = serve(hub.handle(handlers)).await;
    let mut listener = Client::connect(server.addr, "/ws").await;
    eventually("it is in", || hub.member_count("r") == 1).await;
    let mut flooder = RawClient::connect(server.addr).await;
    let flood: Vec<u8> =
        (0..1_000).flat_map(|message| frame(TEXT, message.to_string().as_bytes())).collect();
    flooder.send(&flood).await;
    assert_eq!(listener.get_many::<u32>(1_000).await, (0..1_000).collect::<Vec<_>>());
    let stats = hub.stats();
    assert_eq!((stats.inbox_refusals, stats.handler_panics, stats.connections), (0, 0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_flooding_clients_do_not_block_each_other() {
    const FLOODERS: u32 = 4;
    const MESSAGES: u32 = 2_000;
    let (hub, server) = relay(8).await;
    let mut listener = Client::connect(server.addr, "/ws").await;
    eventually("it is in", || hub.count() == 1).await;
    for flooder in 0..FLOODERS {
        let addr = server.addr;
        tokio::spawn(async move {
            let mut client = Client::connect(addr, "/ws").await;
            for message in 0..MESSAGES {
                client.send_text((flooder * MESSAGES + message).to_string()).await;
            }
            while client.next().await.is_some() {}
        });
    }
    let mut got = listener.get_many::<u32>((FLOODERS * MESSAGES) as usize).await;
    for flooder in 0..FLOODERS {
        let range = flooder * MESSAGES..(flooder + 1) * MESSAGES;
        assert!(got.iter().copied().filter(|message| range.contains(message)).is_sorted());
    }
    got.sort_unstable();
    assert!(got.into_iter().eq(0..FLOODERS * MESSAGES));
}

#[tokio::test]
async fn client_that_floods_with_pings_leaves_no_reservation() {
    let mut server = Recorded::serve(tight(8)).await;
    let (mut flooder, _) = server.connect_raw().await;
    let (mut other, conn) = server.connect().await;
    let mut flood = frame(PING, b"ping").repeat(5_000);
    flood.extend(frame(TEXT, b"7"));
    flooder.send(&flood).await;
    assert_eq!(server.events.message().await.1, 7, "it was read to the end");
    server.hub.broadcast(&1).await.unwrap();
    assert_eq!(other.get::<u32>().await, 1);
    conn.rooms().await;
    // All inbox space was released.
    for message in 0..8 {
        server.hub.try_broadcast(&message).unwrap();
    }
    assert!(server.hub.try_broadcast(&8).is_err());
    assert_eq!(other.get_many::<u32>(8).await, (0..8).collect::<Vec<_>>());
}

#[tokio::test]
async fn inbox_space_is_released_whatever_happens_to_the_messages() {
    let mut server = Recorded::serve(tight(8)).await;
    let hub = server.hub.clone();
    for _ in 0..5 {
        let (client, conn) = server.connect().await;
        conn.try_join("r").unwrap();
        conn.try_leave("r").unwrap();
        conn.try_join("r").unwrap();
        conn.try_send(&1).unwrap();
        hub.try_to_room("r", &1).unwrap();
        conn.close();
        drop(client);
        server.events.ended().await;
        hub.try_publish(&conn.id().into(), &1).unwrap();
        hub.try_broadcast(&1).unwrap();
        conn.rooms().await;
    }
    let (mut client, conn) = server.connect().await;
    conn.rooms().await;
    let taken = (0..20).filter(|message| hub.try_broadcast(message).is_ok()).count();
    assert_eq!(taken, 8);
    client.get_many::<u32>(8).await;
}

/// With one publisher, only the shard can wake the publisher.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn single_publisher_that_waits_is_always_woken() {
    const MESSAGES: u32 = 30_000;
    for room_for in [2, 3] {
        let mut server = Recorded::serve(tight(room_for)).await;
        let (mut client, _) = server.connect().await;
        let hub = server.hub.clone();
        tokio::spawn(async move {
            for message in 0..MESSAGES {
                // The speed varies, so that the publisher meets each step of the shard.
                (0..fastrand::u32(0..500)).for_each(|_| std::hint::spin_loop());
                hub.broadcast(&message).await.unwrap();
            }
        });
        assert!(client.get_many::<u32>(MESSAGES as usize).await.into_iter().eq(0..MESSAGES));
    }
}

#[tokio::test]
async fn slice_of_a_large_fan_out_does_not_keep_other_clients_waiting() {
    let hub = Hub::<u32>::builder().shards(1).build().unwrap();
    let mut server = Recorded::serve(hub.clone()).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(server.connect_raw().await);
    }
    // More than one slice of writes. The readers run between the slices, on the same single thread.
    hub.try_broadcast(&1).unwrap();
    let mut slices = 0;
    while hub.stats().deliveries < 200 {
        tokio::task::yield_now().await;
        slices += 1;
        assert!(slices < 10_000, "the shard is at work");
    }
    assert!(slices >= 3, "200 writes in {slices} slices");
}
