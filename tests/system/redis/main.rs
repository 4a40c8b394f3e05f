//! Hubs with a backplane over real Redis servers, in normal operation and during faults.

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
