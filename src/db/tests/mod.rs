//! Tests of the database machinery, on both databases.

mod items;
mod writer;
