//! What the server gives out, read by programs and libraries that are not ours.

mod calls;
mod codes;
mod tokens;
