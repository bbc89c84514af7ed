//! Money that goes back: batches of payouts on a real node, signed elsewhere.

mod restored;
mod storms;
mod way;

pub use crate::harness::payouts::{CONFIG, each_signed, number, once_signed, text};
