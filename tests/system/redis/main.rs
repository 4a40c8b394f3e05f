//! Hubs over real Redis servers: what their backplane does when all is well, and when it is not.

#[path = "redis/acting.rs"]
mod acting;
#[path = "backplane/claims.rs"]
#[macro_use]
mod claims;
#[path = "redis/contract.rs"]
mod contract;
#[path = "redis/crowded.rs"]
mod crowded;
#[path = "redis/demoted.rs"]
mod demoted;
#[path = "redis/failover.rs"]
mod failover;
#[path = "redis/faults.rs"]
mod faults;
#[path = "redis/feed.rs"]
mod feed;
#[path = "redis/garbage.rs"]
mod garbage;
#[path = "redis/goodbye.rs"]
mod goodbye;
#[path = "redis/harness.rs"]
mod harness;
#[path = "redis/keys.rs"]
mod keys;
#[path = "redis/limits.rs"]
mod limits;
#[path = "redis/outages.rs"]
mod outages;
#[path = "redis/pair.rs"]
mod pair;
#[path = "redis/pauses.rs"]
mod pauses;
#[path = "redis/plain.rs"]
mod plain;
mod programs;
#[path = "redis/quickstart.rs"]
mod quickstart;
#[path = "redis/secrets.rs"]
mod secrets;
#[path = "redis/sentinel.rs"]
mod sentinel;
mod servers;
#[path = "redis/subscriptions.rs"]
mod subscriptions;
#[path = "redis/sums.rs"]
mod sums;
#[path = "hub/support.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of one hub use more of it")]
mod support;
#[cfg(feature = "redis-tls")]
#[path = "redis/tls.rs"]
mod tls;
#[path = "redis/trio.rs"]
mod trio;
#[path = "redis/urls.rs"]
mod urls;
#[path = "redis/waits.rs"]
mod waits;
