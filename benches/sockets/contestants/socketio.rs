//! socketioxide in axum, with its own rooms and fan-out, over the Socket.IO protocol.

use std::net::TcpListener;

use axum::Router;
use axum::serve::ListenerExt;
use serde_json::Value;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, SocketRef};

use super::HOUR;
use crate::Result;

/// The packets that may wait for a client: more than are ever in flight here.
const CAPACITY: usize = 1_024;

pub(crate) async fn serve(listener: TcpListener) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?.tap_io(super::set_nodelay);
    let (layer, io) = SocketIo::builder()
        .ping_interval(HOUR)
        .ping_timeout(HOUR)
        .max_buffer_size(CAPACITY)
        .build_layer();
    io.ns("/", on_connect);
    Ok(axum::serve(listener, Router::new().layer(layer)).await?)
}

async fn on_connect(socket: SocketRef) {
    socket.join(room(&socket));
    socket.on("m", async |socket: SocketRef, Data(message): Data<Value>| {
        let _ = socket.within(room(&socket)).emit("m", &message).await;
    });
}

fn room(socket: &SocketRef) -> String {
    let query = socket.req_parts().uri.query().unwrap_or_default();
    query.rsplit("room=").next().unwrap_or_default().to_owned()
}
