//! Connections by their id, and lists of connections.

use std::collections::HashSet;

use futures_util::FutureExt;
use roomcast::{CloseCode, Conn, ConnId, Hub, Target};

use support::{Client, Recorded, eventually, serve, within};

async fn recorded(shards: usize) -> Recorded<u32> {
    Recorded::serve(Hub::builder().shards(shards).build().unwrap()).await
}

fn ids(conns: &[Conn<u32>]) -> HashSet<ConnId> {
    let ids: HashSet<_> = conns.iter().map(Conn::id).collect();
    assert_eq!(ids.len(), conns.len(), "each once");
    ids
}

#[tokio::test]
async fn id_finds_its_connection_while_the_connection_is_open() {
    let mut server = recorded(3).await;
    let mut conns = Vec::new();
    for _ in 0..5 {
        conns.push(server.connect().await);
    }
    for (_, conn) in &conns {
        assert_eq!(server.hub.conn(conn.id()).await.as_ref(), Some(conn));
    }
    let (mut client, conn) = conns.pop().unwrap();
    let found = server.hub.conn(conn.id()).await.unwrap();
    found.send(&7).await.unwrap();
    found.close();
    assert_eq!(server.hub.conn(conn.id()).await, None, "the task that has closed it sees that");
    assert_eq!(client.get::<u32>().await, 7);
    assert_eq!(client.closed().await.0, 1_000);
    server.events.ended().await;
    assert_eq!(
        server.hub.conn(conn.id()).await,
        None,
        "even while a handle of the connection exists"
    );
}

#[tokio::test]
async fn id_of_another_hub_finds_no_connection() {
    let mut servers = [recorded(1).await, recorded(1).await];
    let (_client, conn) = servers[0].connect().await;
    let (_other, _) = servers[1].connect().await;
    assert_eq!(servers[1].hub.conn(conn.id()).await, None);
    assert_eq!(servers[0].hub.conn(conn.id()).await, Some(conn));
}

#[tokio::test]
async fn connection_handle_from_a_lookup_does_not_keep_the_connection_open() {
    let mut server = recorded(1).await;
    let (client, conn) = server.connect().await;
    conn.join("r").await.unwrap();
    let found = server.hub.members("r").await;
    drop((client, conn));
    server.events.ended().await;
    assert!(found[0].is_closed());
    assert!(server.hub.conns().await.is_empty() && server.hub.members("r").await.is_empty());
    server.hub.shutdown_now();
    within("all have ended", server.hub.closed()).await;
}

/// More connections than a shard lists in one slice.
#[tokio::test]
async fn a_list_of_thousands_has_each_connection_once() {
    const CLIENTS: usize = 2_500;
    let mut server = recorded(2).await;
    let (mut clients, mut expected) = (Vec::new(), HashSet::new());
    for at in 0..CLIENTS {
        let (client, conn) = server.connect().await;
        if at % 10 > 0 {
            conn.try_join("r").unwrap();
            expected.insert(conn.id());
        }
        clients.push(client);
    }
    assert_eq!(ids(&server.hub.conns().await).len(), CLIENTS);
    assert_eq!(ids(&server.hub.members("r").await), expected);
    assert!(server.hub.members("nobody's").await.is_empty());
    let hub = server.hub.clone();
    drop(clients.split_off(CLIENTS / 2));
    eventually("they are gone", || hub.count() == CLIENTS / 2).await;
    assert_eq!(ids(&hub.conns().await).len(), CLIENTS / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_contains_all_connections_that_stay_while_others_come_and_go() {
    const STAY: usize = 1_500;
    let mut server = recorded(1).await;
    let (mut clients, mut staying) = (Vec::new(), HashSet::new());
    for _ in 0..STAY {
        let (client, conn) = server.connect().await;
        conn.try_join("r").unwrap();
        staying.insert(conn.id());
        clients.push(client);
    }
    let addr = server.server.addr;
    let flow = tokio::spawn(async move {
        loop {
            // These connections attach after the permanent connections, and end before them.
            drop(Client::connect(addr, "/ws").await);
        }
    });
    for _ in 0..20 {
        assert!(ids(&server.hub.conns().await).is_superset(&staying));
        server.hub.try_join(&Target::everyone(), "r").unwrap();
        assert!(ids(&server.hub.members("r").await).is_superset(&staying));
    }
    flow.abort();
}

#[tokio::test]
async fn list_that_is_dropped_early_does_no_harm() {
    let mut server = recorded(2).await;
    let (mut client, conn) = server.connect().await;
    for _ in 0..100 {
        assert!(server.hub.conns().now_or_never().is_none());
        assert!(server.hub.members("r").now_or_never().is_none_or(|members| members.is_empty()));
        assert!(server.hub.conn(conn.id()).now_or_never().is_none());
    }
    conn.send(&1).await.unwrap();
    assert_eq!(client.get::<u32>().await, 1);
    assert_eq!(server.hub.stats().shards_gone, 0);
}

#[derive(Clone)]
struct User(String);

/// A program whose users may have several connections, and which keeps no map of the connections.
#[tokio::test]
async fn rooms_group_the_connections_of_a_user_without_a_map() {
    let hub = Hub::<u32>::builder().shards(2).build().unwrap();
    let handlers = hub
        .handlers()
        .on_upgrade(async |mut request| {
            let user = User(request.param("room").to_owned());
            request.insert(user);
            Ok(request)
        })
        .on_connect(async |conn| {
            let User(user) = conn.get();
            conn.join(&format!("user:{user}")).await?;
            conn.join("lobby").await?;
            conn.send(&0).await?;
            Ok(())
        });
    let server = serve(hub.handle(handlers)).await;
    let mut clients = Vec::new();
    for path in ["/ws/ann", "/ws/ben", "/ws/ann"] {
        let mut client = Client::connect(server.addr, path).await;
        assert_eq!(client.get::<u32>().await, 0);
        clients.push(client);
    }

    let in_lobby = async || {
        let members = hub.members("lobby").await;
        let mut names: Vec<_> = members.iter().map(|conn| conn.get::<User>().0.clone()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(in_lobby().await, ["ann", "ann", "ben"]);
    hub.to_room("user:ann", &1).await.unwrap();
    hub.to_room("user:ben", &2).await.unwrap();
    hub.close(&Target::room("user:ann"), CloseCode::from(4_001)).await.unwrap();
    for (client, expected) in clients.iter_mut().zip([1, 2, 1]) {
        assert_eq!(client.get::<u32>().await, expected);
    }
    assert_eq!(clients[0].closed().await.0, 4_001);
    assert_eq!(clients[2].closed().await.0, 4_001);
    assert_eq!(in_lobby().await, ["ben"]);
}
