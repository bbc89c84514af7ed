//! The one integration binary.

mod chain;
mod harness;
mod node;
mod whole_way;
