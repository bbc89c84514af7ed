//! Leasehold sells time on resources for bitcoin, without accounts.

pub mod app;
pub mod catalog;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod db;
pub mod dev;
pub mod domain;
pub mod http;
pub mod keys;
pub mod live;
#[cfg(test)]
mod outside;
pub mod payout;
pub mod provision;
pub mod qr;
mod settings;
pub mod webhook;
pub mod worker;
