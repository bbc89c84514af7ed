//! The one integration binary.

mod chain;
mod cli;
mod harness;
mod node;
mod whole_way;
