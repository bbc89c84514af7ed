//! Money that goes back: batches of payouts on a real node, signed elsewhere.

mod addresses;
mod batches;
mod command;
mod fees;
mod multisig;
mod outside;
mod owed;
mod pages;
mod persons;
mod refunds;
mod restored;
mod sources;
mod storms;
mod submits;
mod waiting;
mod way;

pub use crate::harness::payouts::{CONFIG, each_signed, number, once_signed, text};
