//! Real programs for the suites, each private to one test and gone when it ends.

// Every suite uses a part of it.
#![allow(dead_code)]

pub mod bitcoind;
pub mod books;
pub mod browser;
pub mod cut;
pub mod daemon;
pub mod desk;
pub mod guarded;
pub mod pair;
pub mod payouts;
pub mod peers;
mod rpc;
pub mod signer;
pub mod sshd;
pub mod wait;
pub mod webhook_sink;
