//! The check of origins: the rule of the settings, and the check of the application.

use std::fmt;

use super::UpgradeRequest;
use crate::ws::{OriginRule, Verdict};

type Check = dyn Fn(&str, &UpgradeRequest) -> bool + Send + Sync;

/// The rule for origins, and the application's check for origins that the rule does not allow.
#[derive(Default)]
pub(super) struct Origins {
    pub(super) rule: OriginRule,
    pub(super) check: Option<Box<Check>>,
}

impl Origins {
    /// Checks whether the page that sent a request may connect. A request without a page passes,
    /// unless the rule requires an origin.
    ///
    /// # Errors
    /// The reason of the refusal.
    pub(super) fn judge(&self, request: &UpgradeRequest) -> Result<(), &'static str> {
        let passes = |origin| self.check.as_ref().is_some_and(|check| check(origin, request));
        match self.rule.judge(request.parts()) {
            Verdict::Admitted => Ok(()),
            Verdict::NotListed(origin) if passes(origin) => Ok(()),
            Verdict::NotListed(_) => Err("origin not allowed"),
            Verdict::Refused(reason) => Err(reason),
        }
    }
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins")
            .field("rule", &self.rule)
            .field("has_check", &self.check.is_some())
            .finish()
    }
}
