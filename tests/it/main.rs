//! The one integration binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod beside;
mod cases;
mod chain;
mod cli;
mod cluster;
mod demo;
mod doubt;
mod gate;
mod harness;
mod node;
mod oracles;
mod pages;
mod payouts;
mod provision;
mod rent;
mod rescan;
mod restore;
mod secrets;
mod signing;
mod ssh;
mod wallet;
mod webhooks;
mod whole_way;
