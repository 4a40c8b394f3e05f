//! Heartbeats of the JavaScript client: links that die in silence, and pages that wake up.

use serde_json::json;

use crate::driver::Tab;
use crate::scripted::{Scripted, Visit};
use crate::stage::{FATE, STEADY, Stage, fate};

const DEAD: &str = "no sign of life";

/// Connects a client to a server, with `STEADY` and these options.
async fn visit(tab: &Tab<'_>, server: &Scripted, options: &str) -> Visit {
    let options = format!("{{ ...{STEADY}, ...{options} }}");
    tab.start_client(&format!("ws://{}", server.addr), &options).await;
    let visit = server.accept().await;
    tab.client_is("open").await;
    visit
}

#[tokio::test]
async fn client_detects_a_silent_link_and_reconnects() {
    let stage = Stage::set(&[]).await;
    let proxy = stage.proxy().await;
    let tab = stage.tab_behind(&proxy).await;
    let options = "{ params: { room: 'tea' }, random: () => 0.5, steadyMs: 0, queueMax: 1,
        heartbeatMs: 100, heartbeatTimeoutMs: 1_000, openTimeoutMs: 500, waitMaxMs: 100 }";
    tab.start_client("/ws/{room}", options).await;
    tab.client_is("open").await;
    tab.run("client.send({ text: 'hello' })").await;
    tab.eventually("messages.at(-1)", json!({ "text": "hello" })).await;
    proxy.stall();
    // A message that is sent meanwhile is lost; `send` returns "doubtful".
    tab.eventually("client.send({ text: 'lost?' })", json!("doubtful")).await;
    tab.eventually(FATE, fate(1006, DEAD, Some(50))).await;
    proxy.resume();
    tab.client_is("open").await;
    tab.run("client.send({ text: 'back' })").await;
    tab.eventually("messages.at(-1)", json!({ "text": "back" })).await;
    tab.eventually("client.isInDoubt", json!(false)).await;
    tab.eventually("undecodable", json!(0)).await;
}

#[tokio::test]
async fn idle_link_that_answers_heartbeats_stays_open_without_extra_messages() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let mut visit = visit(&tab, &server, "{ heartbeatMs: 50, heartbeatTimeoutMs: 60_000 }").await;
    for _ in 0..3 {
        assert_eq!(visit.hear().await, "");
        tab.eventually("client.send('?')", json!("doubtful")).await;
        assert_eq!(visit.hear().await, r#""?""#);
        visit.say("").await;
    }
    // Any message is a sign of life.
    assert_eq!(visit.hear().await, "");
    visit.say("1").await;
    tab.eventually("messages", json!([1])).await;
    let held = "return [undecodable, states.map(({ name }) => name)]";
    assert_eq!(tab.run(held).await, json!([0, ["open"]]));
}

#[tokio::test]
async fn page_that_wakes_up_sends_a_heartbeat_at_once() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let options = "{ heartbeatMs: 1e9, wakeTimeoutMs: 60_000 }";
    let mut patient = visit(&tab, &server, options).await;
    for event in ["visibilitychange", "pageshow", "online"] {
        let target = if event == "visibilitychange" { "document" } else { "window" };
        let wake = format!("{target}.dispatchEvent(new Event('{event}', {{ bubbles: true }}))");
        tab.run(&wake).await;
        assert_eq!(patient.hear().await, "", "after {event}");
        patient.say("").await;
        tab.eventually("client.isInDoubt", json!(false)).await;
    }
    tab.run("client.close()").await;

    let mut hasty = visit(&tab, &server, "{ heartbeatMs: 1e9, wakeTimeoutMs: 100 }").await;
    tab.run("dispatchEvent(new Event('online'))").await;
    assert_eq!(hasty.hear().await, "");
    tab.eventually(FATE, fate(1006, DEAD, Some(250))).await;
    let _back = server.accept().await;
    tab.client_is("open").await;
}

#[tokio::test]
async fn late_timer_makes_the_client_ask_again() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let mut visit = visit(&tab, &server, "{ heartbeatMs: 1e9, wakeTimeoutMs: 100 }").await;
    let sleep = "dispatchEvent(new Event('online'));
        const end = performance.now() + 1_500;
        while (performance.now() < end);";
    tab.run(sleep).await;
    assert_eq!(visit.hear().await, "");
    assert_eq!(visit.hear().await, "", "the client asks again");
    tab.eventually(FATE, fate(1006, DEAD, Some(250))).await;
}

#[tokio::test]
async fn client_with_heartbeats_off_sends_none() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let mut visit = visit(&tab, &server, "{ heartbeatMs: 0 }").await;
    tab.run("dispatchEvent(new Event('online')); client.send('first')").await;
    assert_eq!(visit.hear().await, r#""first""#);
}

#[tokio::test]
async fn reconnect_replaces_an_open_connection() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    let mut before = visit(&tab, &server, "{}").await;
    tab.run("client.reconnect(); client.reconnect()").await;
    let mut after = server.accept().await;
    assert_eq!(before.closed_by_client().await, 1000);
    tab.client_is("open").await;
    tab.run("client.send('here')").await;
    assert_eq!(after.hear().await, r#""here""#);
    tab.eventually("states.map(({ name }) => name)", json!(["open", "connecting", "open"])).await;
}

#[tokio::test]
async fn page_that_is_shown_again_reconnects_at_once() {
    let stage = Stage::set(&[]).await;
    let (tab, server) = (stage.tab(true).await, Scripted::bind().await);
    drop(visit(&tab, &server, "{ waitMinMs: 1e9, waitMaxMs: 1e9 }").await);
    tab.client_is("waiting").await;
    tab.run("document.dispatchEvent(new Event('visibilitychange', { bubbles: true }))").await;
    let _back = server.accept().await;
    tab.client_is("open").await;
}
