//! The hub through its public API, with clients that this project did not write.

mod acting;
mod admission;
mod attached;
mod auto_traits;
mod back_pressure;
mod backplane;
mod bad_input;
mod callbacks;
mod close_timeouts;
mod codec;
#[cfg(feature = "deflate")]
mod compressed_sends;
mod compression;
mod directions;
mod early;
mod ends;
mod evictions;
mod examples;
mod gone;
mod handshake;
mod heartbeats;
mod keep_alive;
mod kept_alive;
mod kept_slow;
mod lifecycle;
mod limits;
mod listing;
mod mounting;
mod paced;
mod proxies;
mod publish;
mod requests;
mod room_state;
mod rooms;
mod running;
mod serving;
#[cfg(target_os = "linux")]
mod shard_threads;
mod shedding;
mod shutdown;
mod slow_clients;
mod slow_closes;
mod small;
mod streaming;
mod title_case;
mod waits;
