//! Leasehold sells time on resources for bitcoin, without accounts.

pub mod db;
