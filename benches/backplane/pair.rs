//! The scene "pair": two nodes in one process, compared with Redis alone.

use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use redis::AsyncCommands;
use roomcast::{Hub, Raw, RawMessage};

use crate::frames::{FrameReader, MESSAGE_BYTES, message, number_of};
use crate::{Options, Result, median};
use support::servers::RedisServer;
use support::{RawClient, Recorded, eventually};

/// The most messages in the publisher's queue: above this bound the publisher pauses. This bounds the memory of the
/// benchmark without dropping messages.
const QUEUED_MAX: usize = 32_768;

pub(crate) async fn run(options: &Options) -> Result<()> {
    let server = RedisServer::start();
    let mut nodes = Nodes::start(&server, "bench", None).await?;
    let mut keyed = Nodes::start(&server, "keyed", Some([7; 32])).await?;
    let rounds = options.rounds();
    let mut rates = [const { Vec::new() }; 4];
    for round in 1..=rounds {
        rates[0].push(nodes.rate(options.messages).await?);
        rates[1].push(keyed.rate(options.messages).await?);
        rates[2].push(awaited_rate(&server, options.messages.div_ceil(20)).await?);
        rates[3].push(redis_benchmark_rate(&server, options.messages)?);
        let [ours, keyed, awaited, piped] = rates.each_ref().map(|rates| rates[round - 1]);
        println!("round {round}: {ours:.0}, {keyed:.0}, {awaited:.0}, {piped:.0} messages/s");
    }
    let [ours, signed, awaited, piped] = rates.map(median);
    println!("\nmedians of {} rounds, {MESSAGE_BYTES} bytes a message", rounds);
    println!("roomcast, node to node      {ours:>12.0}/s");
    println!("the same, with a key        {signed:>12.0}/s   {:.2} of it", signed / ours);
    println!(
        "PUBLISH, awaited            {awaited:>12.0}/s   roomcast: {:.1} times",
        ours / awaited
    );
    println!("redis-benchmark -P 64       {piped:>12.0}/s   roomcast: {:.2} times", ours / piped);
    let (ours, bare) = (nodes.latency().await?, bare_latency(&server).await?);
    println!("one message, node to node   {ours:>12.1?}    median");
    println!("the same, with a key        {:>12.1?}    median", keyed.latency().await?);
    println!("one message, bare PUBLISH   {bare:>12.1?}    median");
    println!("{:?}", nodes.there.hub.backplane_health().expect("the hub has a backplane"));
    Ok(())
}

/// Two nodes, and a client at the second node.
struct Nodes {
    here: Hub<RawMessage>,
    there: Recorded<RawMessage>,
    client: RawClient,
    next: u64,
}

impl Nodes {
    async fn start(server: &RedisServer, channel: &str, key: Option<[u8; 32]>) -> Result<Self> {
        let node = || {
            let node = Hub::with_codec(Raw).shards(1).redis(server.url(), channel);
            let node = match key {
                Some(key) => node.backplane_key(key),
                None => node,
            };
            // The client does not answer pings, and a round may last longer than the ping timeout.
            node.ping_interval(Duration::ZERO).send_buffer(65_536).send_buffer_bytes(1 << 30)
        };
        let here = node().outbox_messages(2 * QUEUED_MAX).build()?;
        let mut there = Recorded::serve(node().build()?).await;
        let (client, conn) = there.connect_raw().await;
        conn.join_subscribed("room").await?;
        eventually("the nodes know each other", || here.cluster().nodes().len() == 2).await;
        Ok(Self { here, there, client, next: 0 })
    }

    async fn rate(&mut self, count: u64) -> Result<f64> {
        let (hub, numbers) = (self.here.clone(), self.next..self.next + count);
        self.next = numbers.end;
        let began = Instant::now();
        let publishing = std::thread::Builder::new().name("publisher".to_owned()).spawn({
            let numbers = numbers.clone();
            move || publish(&hub, numbers)
        })?;
        self.expect(numbers).await;
        let rate = count as f64 / began.elapsed().as_secs_f64();
        publishing.join().expect("the publisher does not panic");
        Ok(rate)
    }

    /// Reads the messages with these numbers, in this order.
    async fn expect(&mut self, numbers: std::ops::Range<u64>) {
        let mut frames = FrameReader::new(&mut self.client);
        for number in numbers {
            let came = number_of(frames.next().await);
            let health = || self.there.hub.backplane_health();
            assert_eq!(came, number, "messages arrive complete and in order: {:?}", health());
        }
    }

    async fn latency(&mut self) -> Result<Duration> {
        let mut times = Vec::new();
        for _ in 0..2_000 {
            let began = Instant::now();
            self.here.try_to_room("room", &message(self.next))?;
            self.expect(self.next..self.next + 1).await;
            times.push(began.elapsed());
            self.next += 1;
        }
        Ok(median(times))
    }
}

fn publish(hub: &Hub<RawMessage>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        hub.try_to_room("room", &message(number))
            .expect("a node without clients accepts each message");
        while number % 1_024 == 0 && queued(hub) > QUEUED_MAX {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn queued(hub: &Hub<RawMessage>) -> usize {
    hub.backplane_health().expect("the hub has a backplane").queued
}

async fn awaited_rate(server: &RedisServer, count: u64) -> Result<f64> {
    let client = redis::Client::open(server.url())?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe("bare").await?;
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let reading = tokio::spawn(async move {
        let mut messages = subscriber.on_message();
        for _ in 0..count {
            messages.next().await.expect("the server is up");
        }
    });
    let payload = [b'x'; MESSAGE_BYTES];
    let began = Instant::now();
    for _ in 0..count {
        let _: u64 = publisher.publish("bare", &payload[..]).await?;
    }
    reading.await?;
    Ok(count as f64 / began.elapsed().as_secs_f64())
}

fn redis_benchmark_rate(server: &RedisServer, count: u64) -> Result<f64> {
    let port = server.port.to_string();
    let (count, payload) = (count.to_string(), "x".repeat(MESSAGE_BYTES));
    let output = Command::new("redis-benchmark")
        .args(["-p", &port, "-P", "64", "-n", &count, "-q", "PUBLISH", "nobody", &payload])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    // PUBLISH nobody xxx…: 925925.94 requests per second, p50=3.007 msec
    let mut rates = text.split(['\r', '\n']).filter_map(|line| {
        let (before, _) = line.split_once(" requests per second")?;
        before.rsplit(' ').next()?.parse().ok()
    });
    rates.next_back().ok_or_else(|| format!("redis-benchmark printed no rate: {text}").into())
}

async fn bare_latency(server: &RedisServer) -> Result<Duration> {
    let client = redis::Client::open(server.url())?;
    let mut subscriber = client.get_async_pubsub().await?;
    subscriber.subscribe("bare").await?;
    let mut messages = subscriber.on_message();
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let payload = [b'x'; MESSAGE_BYTES];
    let mut times = Vec::new();
    for _ in 0..2_000 {
        let began = Instant::now();
        let published = publisher.publish::<_, _, u64>("bare", &payload[..]);
        let (published, received) = tokio::join!(published, messages.next());
        published?;
        received.ok_or("the server has closed the subscription")?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}
