//! When the JavaScript client reconnects, and when it does not.

use std::time::{Duration, Instant};

use roomcast::Limit;
use serde_json::json;

use crate::driver::Tab;
use crate::scripted::{Scripted, Visit};
use crate::stage::{FATE, STEADY, Stage, WAITS, fate};

/// Ends a connection so that the browser reports this close code.
async fn end(visit: Visit, code: u16, reason: &str) {
    match code {
        1005 => visit.close_without_code().await,
        1006 => drop(visit),
        _ => visit.close(code, reason).await,
    }
}

/// Half of the longest first wait, in milliseconds: `random` returns 0.5.
const AT_ONCE: Option<u64> = Some(125);
const BACK_OFF: Option<u64> = Some(250);
const LATER: Option<u64> = Some(5_250);
const NEVER: Option<u64> = None;

fn table() -> Vec<(u16, String, Option<u64>)> {
    let over = |limit: Limit| limit.to_string();
    let mut rows = vec![
        (1008, "slow client".to_owned(), BACK_OFF),
        (1008, over(Limit::MessageRate), BACK_OFF),
        (1008, over(Limit::ByteRate), BACK_OFF),
        (1008, over(Limit::MessageTime), BACK_OFF),
        (1008, over(Limit::Fragments), NEVER),
        (1009, over(Limit::MessageBytes), NEVER),
        (1000, "slow client".to_owned(), NEVER),
    ];
    let mut without_reason = |codes: &[u16], wait: Option<u64>| {
        rows.extend(codes.iter().map(|&code| (code, String::new(), wait)));
    };
    without_reason(&[1001, 1012], AT_ONCE);
    without_reason(&[1005, 1006, 1011, 1014], BACK_OFF);
    without_reason(&[1013], LATER);
    without_reason(&[1000, 1002, 1003, 1007, 1008, 1009, 1010, 3000, 4000, 4999], NEVER);
    rows
}

#[tokio::test]
async fn client_reconnects_as_the_table_of_close_codes_says() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    for (row, (code, reason, wait)) in table().into_iter().enumerate() {
        // A client that reconnects although it must not would connect before the client of the next row.
        let options = if wait == NEVER { "{ random: () => 0, steadyMs: 0 }" } else { STEADY };
        let path = format!("/{row}");
        tab.start_client(&format!("ws://{}{path}", server.addr), options).await;
        let visit = server.accept().await;
        assert_eq!(visit.path, path, "before {code} {reason}");
        tab.client_is("open").await;
        end(visit, code, &reason).await;
        tab.eventually(FATE, fate(code, &reason, wait)).await;
        if wait == LATER {
            tab.run("client.reconnect()").await;
        }
        if wait != NEVER {
            let back = server.accept().await;
            assert_eq!(back.path, path, "after {code} {reason}");
            tab.run("client.close()").await;
        }
    }
    tab.start_client(&format!("ws://{}/last", server.addr), "{}").await;
    assert_eq!(server.accept().await.path, "/last");
}

#[tokio::test]
async fn application_overrides_whether_the_client_reconnects() {
    let stage = Stage::set(&[]).await;
    let tab = stage.tab(true).await;
    let options = "{ random: () => 0.5, steadyMs: 0,
        again: ({ code }, usual) => code === 4001 || usual && code !== 1012 }";
    for (code, wait) in [(4001, BACK_OFF), (1011, BACK_OFF), (1012, NEVER), (4002, NEVER)] {
        let server = Scripted::bind().await;
        tab.start_client(&format!("ws://{}", server.addr), options).await;
        server.accept().await.close(code, "").await;
        tab.eventually(FATE, fate(code, "", wait)).await;
        tab.run("client.close()").await;
    }
    // A person may also reconnect by hand.
    let server = Scripted::bind().await;
    tab.start_client(&format!("ws://{}", server.addr), "{}").await;
    server.accept().await.close(1000, "").await;
    tab.client_is("closed").await;
    tab.run("client.reconnect()").await;
    let _back = server.accept().await;
    tab.client_is("open").await;
}

#[tokio::test]
async fn client_waits_at_least_the_retry_hint_for_any_code() {
    let stage = Stage::set(&[]).await;
    let tab = stage.tab(true).await;
    let hints = [
        (1012, "new version retry-after-ms=100000", 100_125),
        (1001, "retry-after-ms=0", 125),
        (1013, "retry-after-ms=100000", 100_250),
        (1000, "retry-after-ms=100000", 100_250),
        (1008, "bad room retry-after-ms=100000", 100_250),
        (4000, "retry-after-ms=100000", 100_250),
        (1012, "retry-after-ms=100000 or so", 125),
        // The longest timer of a browser.
        (1012, "retry-after-ms=99999999999999999999", 2_147_483_647),
    ];
    for (code, reason, wait_ms) in hints {
        let server = Scripted::bind().await;
        tab.start_client(&format!("ws://{}", server.addr), STEADY).await;
        let visit = server.accept().await;
        tab.client_is("open").await;
        visit.close(code, reason).await;
        tab.eventually(FATE, fate(code, reason, Some(wait_ms))).await;
        let online = "(dispatchEvent(new Event('online')), client.state.name)";
        if wait_ms > 1_000 {
            tab.eventually(online, json!("waiting")).await;
        }
        tab.run("client.close()").await;
    }
}

#[tokio::test]
async fn client_reconnects_after_the_hinted_wait() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    tab.start_client(&format!("ws://{}", server.addr), STEADY).await;
    let visit = server.accept().await;
    tab.client_is("open").await;
    let closed = Instant::now();
    visit.close(1012, "hub shut down retry-after-ms=500").await;
    let _back = server.accept().await;
    // Browsers count whole milliseconds.
    assert!(closed.elapsed() >= Duration::from_millis(500 + 125 - 1), "{:?}", closed.elapsed());
    tab.client_is("open").await;
}

/// The number of times that the server closes a client that reconnects at once.
const CLOSES: usize = 9;

/// Starts a client that reconnects at once and whose connections never count as held, and closes each connection.
async fn close_again_and_again(tab: &Tab<'_>, server: &Scripted, random: &str) {
    let options = format!(
        "{{ random: {random}, steadyMs: Infinity, onstate: state => {{
            states.push(state);
            if (state.name === 'waiting') queueMicrotask(() => client.reconnect());
        }} }}"
    );
    tab.start_client(&format!("ws://{}", server.addr), &options).await;
    for _ in 0..CLOSES {
        server.accept().await.close(1012, "").await;
    }
    tab.eventually(&format!("{WAITS}.length"), json!(CLOSES)).await;
    let _again = server.knock().await;
    tab.run("client.close()").await;
}

#[tokio::test]
async fn back_off_doubles_up_to_its_bound_until_a_connection_holds() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);

    close_again_and_again(&tab, &server, "() => 0.5").await;
    let halves = json!([250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    tab.eventually(WAITS, halves).await;

    close_again_and_again(&tab, &server, "Math.random").await;
    let bounded = "((wait, tries) => wait >= 0 && wait < Math.min(30_000, 500 * 2 ** tries))";
    tab.eventually(&format!("{WAITS}.every{bounded}"), json!(true)).await;
    tab.eventually(&format!("new Set({WAITS}).size"), json!(CLOSES)).await;

    tab.start_client(&format!("ws://{}", server.addr), STEADY).await;
    for _ in 0..3 {
        let visit = server.accept().await;
        tab.client_is("open").await;
        visit.close(1011, "").await;
    }
    tab.eventually(WAITS, json!([250, 250, 250])).await;
}

#[tokio::test]
async fn client_retries_a_server_that_is_down_refuses_or_is_silent() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let addr = server.addr;
    let address = format!("ws://{addr}");
    drop(server);
    tab.start_client(&address, "{ random: () => 0.5, waitMinMs: 1, waitMaxMs: 8 }").await;
    tab.eventually(&format!("{WAITS}.slice(0, 5)"), json!([1, 2, 4, 4, 4])).await;
    let server = Scripted::bind_at(addr).await;
    server.refuse().await;
    server.refuse().await;
    let _back = server.accept().await;
    tab.client_is("open").await;
    tab.run("client.close()").await;

    tab.start_client(&address, "{ random: () => 0, openTimeoutMs: 50 }").await;
    let _silent = server.knock().await;
    tab.eventually(FATE, fate(1006, "no answer", Some(0))).await;
    server.knock().await;
}

#[tokio::test]
async fn waiting_client_reconnects_at_once_when_the_network_is_back() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    tab.start_client(&format!("ws://{}", server.addr), "{ waitMinMs: 1e9, waitMaxMs: 1e9 }").await;
    drop(server.accept().await);
    tab.client_is("waiting").await;
    tab.run("dispatchEvent(new Event('online'))").await;
    let mut back = server.accept().await;
    tab.client_is("open").await;
    tab.run("dispatchEvent(new Event('online')); client.send('still here')").await;
    // An open client only sends a heartbeat.
    assert_eq!(back.hear().await, "");
    assert_eq!(back.hear().await, r#""still here""#);
}

#[tokio::test]
async fn closed_client_never_reconnects() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let address = format!("ws://{}", server.addr);
    let options = "{ queueMax: 1, waitMinMs: 1e9, waitMaxMs: 1e9 }";
    let closed = "client.close();
        client.reconnect();
        dispatchEvent(new Event('online'));
        return [client.state, client.send('late'), client.queued, client.dropped]";
    let ended =
        |dropped| json!([{ "name": "closed", "code": 1000, "reason": "" }, "dropped", 0, dropped]);

    tab.start_client(&address, options).await;
    let mut visit = server.accept().await;
    tab.client_is("open").await;
    assert_eq!(tab.run(closed).await, ended(1));
    assert_eq!(visit.closed_by_client().await, 1000);

    tab.start_client(&address, options).await;
    drop(server.accept().await);
    tab.client_is("waiting").await;
    tab.run("client.send('early')").await;
    assert_eq!(tab.run(closed).await, ended(2));

    tab.start_client(&address, options).await;
    let _stream = server.knock().await;
    assert_eq!(tab.run(closed).await, ended(1));

    tab.start_client(&format!("{address}/last"), "{}").await;
    assert_eq!(server.accept().await.path, "/last");
}

#[tokio::test]
async fn two_tabs_reconnect_after_different_random_waits() {
    let stage = Stage::set(&[]).await;
    let server = Scripted::bind().await;
    let (ann, bob) = (stage.tab(true).await, stage.tab(false).await);
    let mut visits = Vec::new();
    for (tab, name) in [(&ann, "ann"), (&bob, "bob")] {
        tab.start_client(&format!("ws://{}/{name}", server.addr), "{}").await;
        visits.push(server.accept().await);
        tab.client_is("open").await;
    }
    for visit in visits {
        visit.close(1012, "").await;
    }
    let mut back = [server.accept().await, server.accept().await];
    back.sort_by(|one, other| one.path.cmp(&other.path));
    assert_eq!(back.each_ref().map(|visit| &*visit.path), ["/ann", "/bob"]);
    let mut waits = Vec::new();
    for (tab, visit) in [&ann, &bob].into_iter().zip(&mut back) {
        tab.client_is("open").await;
        visit.say(format!("{:?}", visit.path)).await;
        tab.eventually("messages", json!([visit.path])).await;
        waits.push(tab.run(&format!("return {WAITS}")).await);
    }
    assert_ne!(waits[0], waits[1]);
}

#[tokio::test]
async fn client_closed_for_too_many_messages_reconnects() {
    let stage = Stage::set(&["--message-rate", "1"]).await;
    let tab = stage.tab(true).await;
    tab.start_client("/ws/{room}", "{ params: { room: 'tea' }, random: () => 0 }").await;
    tab.client_is("open").await;
    tab.run("for (let i = 0; i < 10; i++) client.send({ text: `flood ${i}` })").await;
    tab.eventually(FATE, fate(1008, "too many messages", Some(0))).await;
    tab.client_is("open").await;
    tab.run("client.send({ text: 'back' })").await;
    tab.eventually("messages.at(-1)", json!({ "text": "back" })).await;
}
