//! The HTTP layer over a real database: each call as a client makes it, without a
//! socket where none is needed.

mod access;
mod claims;
mod customers;
mod desk;
mod dispositions;
mod enter;
mod forms;
mod lists;
mod operator_acts;
mod operator_finds;
mod operator_forms;
mod operator_pages;
mod operators;
mod overview;
mod pages;
mod refusals;
mod says;
mod secrets;
mod serve;
mod shop;
mod ssh;
mod stopped;
mod webhooks;
