//! What Leasehold computes. Pure: no I/O, no clock, no randomness, no async.
//! Facts go in, status comes out; the same facts give the same answer in any order.

pub mod address;
pub mod backoff;
pub mod bearer;
pub mod colour;
pub mod event;
pub mod fiat;
pub mod fulfil;
pub mod ids;
pub mod invoice;
pub mod jwk;
pub mod keychain;
pub mod lease;
pub mod ledger;
#[cfg(test)]
mod model;
pub mod params;
pub mod payment;
pub mod payout;
pub mod policy;
pub mod price;
pub mod resource;
pub mod scan;
pub mod session;
pub mod site;
pub mod ssh;
pub mod time;
pub mod token;
pub mod uri;
pub mod webhook;
