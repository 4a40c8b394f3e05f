//! A hyper server of the application, with a layer between the server and the hub.

use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use roomcast::{Hub, Request, Response};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A hyper server that stops when it is dropped.
pub struct Plain {
    pub addr: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Plain {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A layer in front of the hub.
pub type Layer = fn(Request<Incoming>) -> Request<Incoming>;

impl Plain {
    /// Serves a hub behind a layer, with hyper's upgrades or without.
    pub async fn serve(hub: &Hub<u32>, layer: Layer, with_upgrades: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("it is bound");
        let hub = hub.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a client");
                let hub = hub.clone();
                let service = service_fn(move |request| answer(hub.clone(), layer(request)));
                let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                match with_upgrades {
                    true => drop(tokio::spawn(serving.with_upgrades())),
                    false => drop(tokio::spawn(serving)),
                }
            }
        });
        Self { addr, task }
    }
}

async fn answer(hub: Hub<u32>, request: Request<Incoming>) -> Result<Response, Infallible> {
    let handlers = hub.handlers();
    Ok(hub.upgrade(request, handlers).await)
}

/// Rebuilds a request as a layer that ignores extensions does.
pub fn rebuilt(request: Request<Incoming>) -> Request<Incoming> {
    let (parts, body) = request.into_parts();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method;
    *request.uri_mut() = parts.uri;
    *request.headers_mut() = parts.headers;
    request
}

/// Rebuilds a request as a layer that keeps upgrades does, behind a layer that does not.
pub fn rebuilt_twice(request: Request<Incoming>) -> Request<Incoming> {
    let mut request = rebuilt(request);
    let on_upgrade = hyper::upgrade::on(&mut request);
    let mut request = rebuilt(request);
    request.extensions_mut().insert(on_upgrade);
    request
}

/// Rebuilds a request as a layer that keeps the upgrade does.
pub fn rebuilt_well(mut request: Request<Incoming>) -> Request<Incoming> {
    let on_upgrade = hyper::upgrade::on(&mut request);
    let mut request = rebuilt(request);
    request.extensions_mut().insert(on_upgrade);
    request
}
