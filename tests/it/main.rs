//! The one integration binary.

mod beside;
mod chain;
mod cli;
mod harness;
mod node;
mod whole_way;
