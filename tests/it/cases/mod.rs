//! The rows of the table of cases: each on the built program, over its API, on a real node.

mod amounts;
mod creates;
mod kills;
mod late;
mod mempool;
mod operator;
mod reorg;
mod reversal;
mod zero_conf;

use bitcoin::Txid;
use leasehold::domain::time::Timestamp;
use serde_json::{Value, json};

use crate::harness::daemon::{Rented, Shop};

/// Asks for `seconds` of `resource`, pays them and waits until the lease runs.
fn running(shop: &Shop, resource: &str, seconds: u64) -> (Rented, Txid) {
    let rented = shop.rent(resource, seconds);
    let txid = shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(1);
    in_state(shop, &rented, "active");
    (rented, txid)
}

/// Pays a top-up of two hours, which is on its way now. The invoice is that of the top-up.
fn top_up_in_flight(shop: &Shop, rented: &Rented) -> (Rented, Txid) {
    let path = format!("/v1/leases/{}/invoices", rented.lease);
    let topup = shop.post(&path, None, &json!({ "duration_s": 7200 }))["invoice"].clone();
    let more = shop.node.send(topup["address"].as_str().unwrap(), 7200);
    let topup = Rented { invoice: topup["id"].as_str().unwrap().to_owned(), ..rented.clone() };
    payment_in(shop, &topup, &more, "mempool");
    (topup, more)
}

/// Waits until the lease is in `state`.
fn in_state(shop: &Shop, rented: &Rented, state: &str) -> Value {
    shop.lease_until(&format!("the lease to be {state}"), &rented.lease, |lease| {
        lease["state"] == state
    })
}

/// Waits until the first payment of the invoice, or the one of `txid`, is in `state`.
fn payment_in(shop: &Shop, rented: &Rented, txid: &Txid, state: &str) -> Value {
    shop.invoice_until(&format!("{txid} to be {state}"), &rented.invoice, |invoice| {
        payment(invoice, txid)["state"] == state
    })
}

/// The payment that `txid` makes to an invoice.
fn payment(invoice: &Value, txid: &Txid) -> Value {
    let list = invoice["payments"].as_array().expect("a list");
    let own = |payment: &&Value| payment["txid"] == txid.to_string();
    list.iter().find(own).cloned().unwrap_or_default()
}

/// The seconds that a lease's credits bought, together.
fn seconds(lease: &Value) -> u64 {
    let list = lease["credits"].as_array().expect("a list");
    list.iter().map(|credit| credit["seconds"].as_u64().expect("a number")).sum()
}

/// From its start to `paid_until`, in seconds.
fn paid_s(lease: &Value) -> u64 {
    time(&lease["starts_at"]).seconds_until(time(&lease["paid_until"]))
}

/// A time of the API.
fn time(value: &Value) -> Timestamp {
    let text = value.as_str().unwrap_or_else(|| panic!("not a time: {value}"));
    text.parse().expect("RFC 3339")
}

/// Whether an object has a flag.
fn has(object: &Value, flag: &str) -> bool {
    object["flags"].as_array().expect("a list").iter().any(|found| found == flag)
}
