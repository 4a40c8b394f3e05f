//! Which pages may connect: the rule of the settings, and the check of the application.

use std::fmt;

use super::UpgradeRequest;
use crate::ws::{OriginRule, Verdict};

type Check = dyn Fn(&str, &UpgradeRequest) -> bool + Send + Sync;

/// The rule, and the check that is asked about pages that the rule does not allow.
#[derive(Default)]
pub(super) struct Origins {
    pub(super) rule: OriginRule,
    pub(super) check: Option<Box<Check>>,
}

impl Origins {
    /// Whether the page that a request comes from, if any, may connect.
    ///
    /// # Errors
    /// The reason why it may not.
    pub(super) fn judge(&self, request: &UpgradeRequest) -> Result<(), &'static str> {
        let passes = |origin| self.check.as_ref().is_some_and(|check| check(origin, request));
        match self.rule.judge(request.parts()) {
            Verdict::Admitted => Ok(()),
            Verdict::Strange(origin) if passes(origin) => Ok(()),
            Verdict::Strange(_) => Err("origin not allowed"),
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
