//! The HTTP layer over a real database: each call as a client makes it, without a socket.

mod desk;
mod refusals;
