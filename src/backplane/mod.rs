//! The backplane: carries messages between hubs, so that a message of one hub reaches the members
//! of all hubs.
//!
//! The *protocol* is here: batches, sequence numbers, lost and repeated messages, subscriptions,
//! probes, health and counters. A *driver* ([`Local`], `redis`) only carries bytes, by the contract
//! of [`Backplane`]. This module uses the engine's frames and addresses. It sees the hub only as
//! [`ThisNode`], a trait that the hub implements.
//!
//! ```text
//! hub.publish ─► Bridge ─► outbox ─► publishing ─► driver ─► … ─► driver ─► inbound ─► receiving ─► ThisNode
//!                          bounded,  envelopes,                             bounded    ledger,
//!                          oldest    heartbeats                                        roster
//!                          dropped
//!     other programs ─► driver ─► inbound ─► plain ─► ThisNode
//!     rooms made, gone ─► interest ─► subscribing ─► driver: subscribe, unsubscribe, ping
//! ```

mod bridge;
mod channels;
mod contract;
mod drivers;
pub(crate) mod envelope;
mod health;
mod identity;
mod incoming;
mod nodes;
mod outgoing;
#[cfg(roomcast_loom)]
pub(crate) mod parts;
mod reconnecting;
mod subscriptions;
mod target;
mod this_node;

pub(crate) use bridge::{Bridge, BridgeConfig, BridgePlan};
pub(crate) use channels::CHANNELS_MAX;
pub use contract::{
    Backplane, BackplaneError, BackplaneRequest, Inbound, Lost, Parcel, Publisher, Subscriber,
    Unpublished,
};
pub use drivers::local::{Local, LocalPublisher, LocalSubscriber};
#[cfg(feature = "redis-tls")]
pub use drivers::redis::RedisTls;
#[cfg(feature = "redis")]
pub use drivers::redis::{Redis, RedisCluster, RedisSentinel};
pub(crate) use envelope::Signing;
pub use health::{AbsentNode, BackplaneChanges, BackplaneHealth, BackplaneState};
pub use identity::{ConnId, NodeId, ParseConnIdError};
#[cfg(feature = "json")]
pub(crate) use incoming::plain;
pub use nodes::cluster::{Cluster, Node, RoomMembers};
pub(crate) use outgoing::outbox::Outgoing;
pub use target::{Target, To};
pub(crate) use this_node::ThisNode;
