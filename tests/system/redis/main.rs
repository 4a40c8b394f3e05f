//! Hubs over real Redis servers: what their backplane does when all is well, and when it is not.

mod acting;
mod contract;
mod crowded;
mod demoted;
mod failover;
mod faults;
mod feed;
mod garbage;
mod goodbye;
mod harness;
mod keys;
mod limits;
mod outages;
mod pair;
mod pauses;
mod plain;
mod quickstart;
mod secrets;
mod sentinel;
mod subscriptions;
mod sums;
mod tls;
mod tls_settings;
mod trio;
mod urls;
mod waits;
