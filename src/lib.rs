#![cfg_attr(all(feature = "json", feature = "server"), doc = include_str!("docs/crate.md"))]
#![cfg_attr(
    not(all(feature = "json", feature = "server")),
    doc = "A typed WebSocket hub with rooms and JSON broadcast, without some of its features."
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![warn(missing_docs)]

#[cfg(feature = "hub")]
mod backplane;
mod codec;
pub mod docs;
#[doc(hidden)]
pub mod engine;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "tower")]
mod integrations;
#[cfg(feature = "hub")]
#[doc(hidden)]
pub mod internals;
#[cfg(feature = "hub")]
mod net;
#[cfg(feature = "hub")]
mod process;
#[cfg(feature = "hub")]
mod runtime;
#[cfg(all(feature = "serde", feature = "hub"))]
mod seconds;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "hub")]
mod shards;
#[cfg(feature = "hub")]
mod telemetry;
#[cfg(feature = "test-util")]
pub mod test;
#[cfg(feature = "hub")]
mod ws;

#[cfg(feature = "redis-tls")]
pub use backplane::RedisTls;
#[cfg(feature = "hub")]
pub use backplane::{
    AbsentNode, Backplane, BackplaneChanges, BackplaneError, BackplaneHealth, BackplaneRequest,
    BackplaneState, Cluster, ConnId, Inbound, Local, LocalPublisher, LocalSubscriber, Lost, Node,
    NodeId, Parcel, ParseConnIdError, Publisher, RoomMembers, Subscriber, Target, Unpublished,
};
#[cfg(feature = "redis")]
pub use backplane::{Redis, RedisCluster, RedisSentinel};
pub use codec::{Codec, DecodeError, EncodeError, Never, Raw, RawMessage};
#[cfg(feature = "json")]
pub use codec::{FromJson, Json};
pub use engine::{
    ActionError, Close, CloseCode, DisconnectReason, Eviction, FrameKind, JoinError, LeaveError,
    Limit, Overflow,
};
#[cfg(feature = "deflate")]
pub use hub::Compression;
#[cfg(feature = "hub")]
pub use hub::{
    AsMessage, BuildError, Builder, Conn, Encoded, Endpoint, Handler, Handlers, Hub, Outcome,
    PublishError, Reject, RoomState, SendError, Shutdown, ShutdownReport, State, Stateless, Stats,
    Uncompressed, UpgradeRequest,
};
#[cfg(feature = "hub")]
pub use hyper::{Request, StatusCode, header};
#[cfg(feature = "axum")]
pub use integrations::HubUpgrade;
#[cfg(feature = "server")]
pub use ipnet::IpNet;
#[cfg(feature = "server")]
pub use server::{Listener, Server, ServerError, ServerMonitor, ServerStats, shutdown_signal};
#[cfg(feature = "tls")]
pub use server::{Tls, TlsError, TlsInfo};
#[cfg(feature = "hub")]
pub use ws::{Body, ConnExtensions, PathParams, RemoteAddr, Response};

/// Compiles the programs of the README as doctests.
#[cfg(all(doctest, feature = "axum", feature = "json", feature = "redis", feature = "tls"))]
#[doc = include_str!("../README.md")]
struct Readme;
