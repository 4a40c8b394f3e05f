//! The nodes' own counters.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use serde::{Deserialize, Serialize};

/// Defines a struct of numbers, with addition and subtraction field by field.
macro_rules! sums {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $of:literal])* $field:ident: $type:ty,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub(crate) struct $name {
            $($(#[doc = $of])* pub(crate) $field: $type,)+
        }

        impl Add for $name {
            type Output = Self;

            fn add(self, other: Self) -> Self {
                Self { $($field: self.$field + other.$field,)+ }
            }
        }

        impl Sub for $name {
            type Output = Self;

            fn sub(self, before: Self) -> Self {
                Self { $($field: self.$field - before.$field,)+ }
            }
        }
    };
}

sums! {
    /// The counters of one or several nodes.
    Counts {
        published: u64,
        envelopes: u64,
        received: u64,
        trouble: Trouble,
    }
}

sums! {
    /// The counters of failures: all are zero in a valid run.
    Trouble {
        lost: u64,
        dropped: u64,
        overrun: u64,
        duplicates: u64,
        reconnects: u64,
        /// Publishes that a full inbox refused.
        refused: u64,
        /// Messages that a node dropped before they reached a client.
        undelivered: u64,
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, dropped, overrun, duplicates, reconnects, refused, undelivered } = self;
        write!(f, "lost {lost}, dropped {dropped}, overrun {overrun}, duplicates {duplicates}, ")?;
        write!(f, "reconnects {reconnects}, refused {refused}, undelivered {undelivered}")
    }
}
