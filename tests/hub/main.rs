//! The hub through its public API, with clients that are not ours.

#[path = "hub/acting.rs"]
mod acting;
#[path = "hub/admission.rs"]
mod admission;
#[path = "hub/back_pressure.rs"]
mod back_pressure;
#[path = "backplane/claims.rs"]
#[macro_use]
mod claims;
#[path = "hub/attached.rs"]
mod attached;
#[path = "hub/auto_traits.rs"]
mod auto_traits;
#[path = "backplane/mod.rs"]
mod backplane;
#[path = "hub/bad_input.rs"]
mod bad_input;
#[path = "hub/callbacks.rs"]
mod callbacks;
#[path = "hub/close_timeouts.rs"]
mod close_timeouts;
#[path = "hub/codec.rs"]
mod codec;
#[path = "hub/directions.rs"]
mod directions;
#[path = "hub/early.rs"]
mod early;
#[path = "hub/ends.rs"]
mod ends;
#[path = "hub/evictions.rs"]
mod evictions;
#[path = "hub/examples.rs"]
mod examples;
#[path = "servers/folder.rs"]
mod folder;
#[path = "hub/gone.rs"]
mod gone;
#[path = "hub/handshake.rs"]
mod handshake;
#[path = "hub/heartbeats.rs"]
mod heartbeats;
#[path = "hub/keep_alive.rs"]
mod keep_alive;
#[path = "hub/kept_alive.rs"]
mod kept_alive;
#[path = "hub/kept_slow.rs"]
mod kept_slow;
#[path = "hub/lifecycle.rs"]
mod lifecycle;
#[path = "hub/limits.rs"]
mod limits;
#[path = "hub/listing.rs"]
mod listing;
#[path = "hub/mounting.rs"]
mod mounting;
#[path = "hub/paced.rs"]
mod paced;
#[path = "hub/plain.rs"]
mod plain;
mod programs;
#[path = "hub/proxies.rs"]
mod proxies;
#[path = "hub/publish.rs"]
mod publish;
#[path = "hub/requests.rs"]
mod requests;
#[path = "hub/room_state.rs"]
mod room_state;
#[path = "hub/rooms.rs"]
mod rooms;
#[path = "hub/running.rs"]
mod running;
#[path = "hub/serving.rs"]
mod serving;
#[path = "hub/shedding.rs"]
mod shedding;
#[path = "hub/shutdown.rs"]
mod shutdown;
#[path = "hub/slow_clients.rs"]
mod slow_clients;
#[path = "hub/slow_closes.rs"]
mod slow_closes;
#[path = "hub/small.rs"]
mod small;
#[path = "hub/streaming.rs"]
mod streaming;
#[path = "hub/support.rs"]
mod support;
#[path = "hub/title_case.rs"]
mod title_case;
#[path = "hub/waits.rs"]
mod waits;
