//! What every use case that sells something needs to know: the operator's rules and limits,
//! and where addresses come from. Made once at start.

use std::sync::Arc;

use crate::domain::keychain::Keychain;
use crate::domain::policy::Policy;

/// Limits against abuse (SPEC section 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units that unpaid requests of one source may hold.
    pub holds_per_source: u64,
    /// Invoices that may be unexpired and unpaid.
    pub max_open_unpaid: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { holds_per_source: 3, max_open_unpaid: 1000 }
    }
}

/// The shop as configured.
#[derive(Clone)]
pub struct Shop {
    /// Money rules.
    pub policy: Policy,
    /// Limits.
    pub limits: Limits,
    /// Row number of the keychain that issues.
    pub keychain_id: u32,
    /// The keychain that issues.
    pub keychain: Arc<Keychain>,
    /// `public_url` without a slash at its end.
    pub public_url: String,
}
