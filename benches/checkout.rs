//! How long a server takes for the first look at a checkout, whose QR code nobody has drawn before.
//! Against a real server on a real bitcoind; run it with `regtest/bench checkout`, which sets both up
//! and builds the release. In each round one after the other, so that whatever else the machine does
//! weighs on all alike:
//!
//! - an answer with nothing in it: `/healthz`;
//! - the lease of the request, as the API tells it: a read of the database;
//! - the checkout of the request.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use harness::daemon::{Shop, once_with};
use harness::wait::now;

const ROUNDS: usize = 200;
/// Each round is a request that nobody pays.
const LIMITS: &str = "max_open_unpaid = 10000";
const CATALOG: &str = r#"
[[resource]]
id = "shared"
access = "shared"
price = { sat = 3600, per = "1h" }
"#;

/// Microseconds until a page is here, which must hold `wanted`.
fn time(shop: &Shop, path: &str, wanted: &str) -> u128 {
    let began = now();
    let page = shop.ask_text(path);
    let took = began.elapsed().as_micros();
    assert!(page.contains(wanted), "{path}: {page}");
    took
}

fn ms(micros: u128) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

/// How many times `of` goes into `all`, to one decimal.
fn ratio(all: u128, of: u128) -> String {
    let tenths = all * 10 / of.max(1);
    format!("{}.{}", tenths / 10, tenths % 10)
}

fn main() {
    once_with(LIMITS, |shop| {
        shop.stop();
        shop.write_catalog(CATALOG);
        shop.start();
        let names = ["nothing (/healthz)", "a lease is read", "a checkout, first look"];
        let mut times = [const { Vec::new() }; 3];
        // The first round warms up.
        for round in 0..=ROUNDS {
            let rented = shop.rent("shared", 3600);
            let lease = format!("/v1/leases/{}", rented.lease);
            let checkout = format!("/checkout/{}", rented.invoice);
            let took = [
                time(shop, "/healthz", ""),
                time(shop, &lease, &rented.lease),
                time(shop, &checkout, &rented.address),
            ];
            for (all, took) in times.iter_mut().zip(took).filter(|_| round > 0) {
                all.push(took);
            }
        }
        times.iter_mut().for_each(|all| all.sort_unstable());
        let [empty, read] = [times[0][ROUNDS / 2], times[1][ROUNDS / 2]];
        println!("{ROUNDS} rounds, one after the other in each:");
        for (name, all) in names.iter().zip(&times) {
            let (median, late) = (all[ROUNDS / 2], all[ROUNDS * 95 / 100]);
            println!(
                "{name:<24} median {:>9}, 95 of 100 within {:>9}, {} times nothing, {} times a read",
                ms(median),
                ms(late),
                ratio(median, empty),
                ratio(median, read)
            );
        }
    });
}
