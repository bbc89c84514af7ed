//! What the server gives out, read by programs and libraries that are not ours.

mod codes;
mod tokens;
