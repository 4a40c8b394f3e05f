//! Between hubs: what one publishes reaches the members of all.
//!
//! The *meaning* is here: batches, numbers, gaps and duplicates, subscriptions, probes, health and
//! counts. The *drivers* ([`Local`], `redis`) only carry bytes, by the contract of [`Backplane`].
//! This module knows the engine's frames and addresses; of the hub it sees [`Members`], a trait that
//! the facade implements.
//!
//! ```text
//! hub.publish ─► Bridge ─► outbox ─► publishing ─► driver ─► … ─► driver ─► inbound ─► receiving ─► Members
//!                          bounded,  envelopes,                             bounded    ledger,
//!                          oldest    heartbeats                                        roster
//!                          dropped
//!     other programs ─► driver ─► inbound ─► plain ─► Members
//!     rooms made, gone ─► interest ─► subscribing ─► driver: subscribe, unsubscribe, ping
//! ```

mod attendance;
mod backoff;
mod bell;
mod bridge;
mod channels;
mod cluster;
mod contract;
mod echoes;
pub(crate) mod envelope;
mod events;
mod half;
mod health;
mod identity;
mod inbound;
mod interest;
mod ledger;
mod local;
mod outbox;
mod packing;
#[cfg(feature = "json")]
pub(crate) mod plain;
mod progress;
mod publishing;
mod receiving;
#[cfg(feature = "redis")]
mod redis;
mod rejected;
mod roster;
mod shared;
mod subscribing;
mod supervise;
mod target;

#[cfg(feature = "redis-tls")]
pub use self::redis::RedisTls;
#[cfg(feature = "redis")]
pub use self::redis::{Redis, RedisCluster, RedisSentinel};
pub(crate) use bridge::{Bridge, BridgeConfig, Plan};
pub(crate) use channels::CHANNELS_MAX;
pub use cluster::{Cluster, Node, RoomMembers};
pub use contract::{
    Backplane, BackplaneError, BackplaneRequest, Lost, Parcel, Publisher, Subscriber, Unpublished,
};
pub(crate) use envelope::Signing;
pub use health::{AbsentNode, BackplaneChanges, BackplaneHealth, BackplaneState};
pub use identity::{ConnId, NodeId, ParseConnIdError};
pub use inbound::Inbound;
pub use local::{Local, LocalPublisher, LocalSubscriber};
pub(crate) use outbox::Outgoing;
pub(crate) use shared::Members;
#[cfg(feature = "redis")]
use supervise::within;
pub use target::{Target, To};
