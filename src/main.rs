//! The binary: parse, trace, dispatch.
fn main() {}
