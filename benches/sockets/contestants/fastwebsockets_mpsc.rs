//! fastwebsockets on hyper: each connection has a task that reads, a task that writes, and an mpsc queue.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use fastwebsockets::{
    FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError, WebSocketWrite, upgrade,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use slab::Slab;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc;

use crate::Result;

/// The messages that may wait for a client: more than are ever in flight here.
const CAPACITY: usize = 64;

type Room = Arc<Mutex<Slab<mpsc::Sender<Bytes>>>>;
type Rooms = Arc<Mutex<HashMap<String, Room>>>;

pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let rooms = Rooms::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let rooms = rooms.clone();
        let service = service_fn(move |request| respond(request, rooms.clone()));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection.with_upgrades());
    }
}

async fn respond(
    mut request: Request<Incoming>,
    rooms: Rooms,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, upgraded) = upgrade::upgrade(&mut request)?;
    let name = request.uri().path().to_owned();
    let room = lock(&rooms).entry(name).or_default().clone();
    tokio::spawn(async move {
        if let Ok(socket) = upgraded.await {
            run(socket, room).await;
        }
    });
    Ok(response)
}

async fn run(socket: fastwebsockets::WebSocket<TokioIo<hyper::upgrade::Upgraded>>, room: Room) {
    let (reader, writer) = socket.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    let (sender, receiver) = mpsc::channel(CAPACITY);
    tokio::spawn(write(writer, receiver));
    let place = lock(&room).insert(sender);
    // Clients send no pings here, so no pong is ever due.
    let mut send_nothing = |_: Frame<'_>| async { Ok::<(), Infallible>(()) };
    while let Ok(frame) = reader.read_frame(&mut send_nothing).await {
        match frame.opcode {
            OpCode::Text => publish(&room, &Bytes::copy_from_slice(&frame.payload)),
            OpCode::Close => break,
            _ => {}
        }
    }
    lock(&room).remove(place);
}

fn publish(room: &Room, text: &Bytes) {
    for (_, sender) in lock(room).iter() {
        let _ = sender.try_send(text.clone());
    }
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: WebSocketWrite<W>,
    mut receiver: mpsc::Receiver<Bytes>,
) {
    while let Some(text) = receiver.recv().await {
        if writer.write_frame(Frame::text(Payload::Borrowed(&text))).await.is_err() {
            return;
        }
    }
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().expect("no thread panics with the lock")
}
