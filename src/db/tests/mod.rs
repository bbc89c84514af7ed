//! Tests of the database machinery, on both databases.

mod backup;
mod items;
mod lost;
mod nodes;
mod opening;
mod proxy;
mod reading;
mod schema;
mod writer;
