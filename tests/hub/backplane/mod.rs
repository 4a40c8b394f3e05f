//! Several hubs as one: the contract of a backplane, on the bus inside of a process and on one that
//! breaks every promise that it may.

mod accounting;
mod health;
mod joining;
#[cfg(feature = "hmac")]
mod keys;
mod plain;
#[cfg(feature = "hmac")]
mod plain_keys;
mod strangers;
mod tenants;

/// The claims, on a bus that works.
mod local {
    support::claims!(roomcast::Local::new());
}

/// The claims, on a bus that carries every payload twice and fails after every third publish.
mod faulty_bus {
    support::claims!(support::faulty::Faulty::doubling_and_failing());
}
