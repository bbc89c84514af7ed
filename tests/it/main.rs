//! The one integration binary.

mod cases;
mod chain;
mod cli;
mod harness;
mod node;
mod whole_way;
