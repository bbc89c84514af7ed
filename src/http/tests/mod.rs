//! The HTTP layer over a real database: each call as a client makes it, without a socket.

mod access;
mod desk;
mod lists;
mod refusals;
mod secrets;
mod shop;
