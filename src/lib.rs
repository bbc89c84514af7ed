//! Leasehold sells time on resources for bitcoin, without accounts.

pub mod clock;
pub mod domain;
