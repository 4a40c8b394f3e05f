//! Clients that the hub closes for an offence: each reads the close code, whatever it still sends, and none stays.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::raise_descriptor_limit;
use support::scene::server::{DEADLINE, Server};
use support::scene::wire::{CONTINUATION, FIN, PING, TEXT, enter, frame, header, read_to_close};

/// The handshakes at the same time.
const DIALS: usize = 256;

/// The bytes that a refused client still sends.
const MORE_BYTES: usize = 1024 * 1024;

/// A second after the close frame is sent, and time for a busy machine to notice.
const GONE_WITHIN: Duration = Duration::from_millis(1_500);

/// The offences, with the close code of each.
fn offences() -> [(u16, Vec<u8>); 5] {
    let first = frame(TEXT & !FIN, b"");
    let fragments = [first, frame(CONTINUATION & !FIN, b"").repeat(64)].concat();
    [
        (1_002, b"\x81\x02{}".to_vec()),
        (1_007, frame(TEXT, b"\xFF")),
        (1_008, fragments),
        (1_008, frame(PING, b"").repeat(1_000)),
        (1_009, header(TEXT, (1 << 63) - 1)),
    ]
}

async fn enter_all(server: &Server, clients: usize) -> Vec<TcpStream> {
    let dials = (0..clients).map(|_| enter(server.addr(), "refused", None));
    stream::iter(dials).buffer_unordered(DIALS).collect().await
}

/// Sends the offence and a mebibyte more, and only then reads.
async fn offend(mut stream: TcpStream, offence: Vec<u8>, code: u16) {
    stream.write_all(&offence).await.expect("the server reads");
    let more = vec![0x55; MORE_BYTES];
    let sent = timeout(DEADLINE, stream.write_all(&more)).await.expect("the write is not blocked");
    sent.expect("the server reads on");
    let told = timeout(DEADLINE, read_to_close(&mut stream)).await.expect("in time");
    assert_eq!(told, Some(code), "after {MORE_BYTES} bytes more");
}

async fn refuse(clients: usize) {
    raise_descriptor_limit();
    let server = Server::chat(&[]).await;
    for (code, offence) in offences() {
        let began = Instant::now();
        let offending = enter_all(&server, clients).await.into_iter();
        let offending = offending.map(|stream| offend(stream, offence.clone(), code));
        stream::iter(offending).for_each_concurrent(32, |offender| offender).await;
        println!("{clients} clients read {code} after 1 MiB more, in {:.1?}", began.elapsed());
    }
    server.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_client_reads_the_close_code_although_it_sends_a_mebibyte_more() {
    refuse(10).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "gigabytes of refused bytes"]
async fn a_thousand_refused_clients_read_the_close_code_although_they_send_a_mebibyte_more() {
    refuse(1_000).await;
}

/// Runs clients that neither answer the close frame nor close: only the server ends the connections.
async fn never_answer(clients: usize, gone_within: Duration) {
    raise_descriptor_limit();
    let server = Server::chat(&[]).await;
    let mut silent = enter_all(&server, clients).await;
    server.eventually("refused", "all are in", |stats| stats.members == clients).await;
    for stream in &mut silent {
        stream.write_all(&header(TEXT, 1 << 40)).await.expect("the server reads");
    }
    let began = Instant::now();
    let closed = |closed| closed == clients as u64;
    server.eventually("", "all are refused", |stats| closed(stats.hub.closed_too_big)).await;
    let refused = Instant::now();
    server.nothing_is_left().await;
    println!(
        "{clients} clients that do not answer a close: gone {:.2?} after the last was refused, {:.2?} \
         after the last had sent its offence",
        refused.elapsed(),
        began.elapsed()
    );
    assert!(refused.elapsed() <= gone_within, "{:?}", refused.elapsed());
    for stream in &mut silent {
        assert_eq!(read_to_close(stream).await, Some(1_009), "the close frame can still be read");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_answer_a_close_are_gone_after_a_second() {
    never_answer(50, DEADLINE).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a thousand clients"]
async fn a_thousand_clients_that_never_answer_a_close_are_gone_after_a_second() {
    never_answer(1_000, GONE_WITHIN).await;
}
