//! Leasehold sells time on resources for bitcoin, without accounts.

pub mod app;
pub mod catalog;
pub mod clock;
pub mod config;
pub mod db;
pub mod domain;
pub mod keys;
mod settings;
