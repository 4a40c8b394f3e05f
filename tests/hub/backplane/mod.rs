//! Several hubs on one backplane: the contract of a backplane, on the bus inside a process and on a faulty bus that
//! breaks each promise that it may break.

mod accounting;
mod health;
mod joining;
#[cfg(feature = "hmac")]
mod keys;
mod plain;
#[cfg(feature = "hmac")]
mod plain_keys;
mod strangers;

/// The claims, on a bus without faults.
mod local {
    support::claims!(roomcast::Local::new());
}

/// The claims, on a bus that carries every payload twice and fails after every third publish.
mod faulty_bus {
    support::claims!(support::faulty::Faulty::doubling_and_failing());
}
