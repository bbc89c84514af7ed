//! A thousand leases that end in the same second.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::daemon::{Rented, Shop, each_with, once_with};
use crate::harness::wait::within;
use crate::harness::webhook_sink::{Got, Sink};

use super::http::{ready, with_boxes_at};

const MANY: u32 = 1000;
/// Who ask at the same time.
const CUSTOMERS: u32 = 4;
/// Outputs of one payment.
const OUTPUTS: usize = 500;
/// For two thousand calls.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the program was called for, by lease.
fn called(sink: &Sink) -> BTreeMap<String, Vec<String>> {
    let mut called: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in sink.got().iter().map(Got::event) {
        let word = |name: &str| event[name].as_str().unwrap().to_owned();
        called.entry(word("lease")).or_default().push(word("action"));
    }
    called
}

fn free(shop: &Shop) -> Value {
    shop.get("/v1/resources/box").1["availability"]["free"].clone()
}

fn rent_all(shop: &Shop) -> Vec<Rented> {
    std::thread::scope(|scope| {
        let ask = || (0..MANY / CUSTOMERS).map(|_| shop.rent("box", 3600)).collect::<Vec<_>>();
        let customers: Vec<_> = (0..CUSTOMERS).map(|_| scope.spawn(ask)).collect();
        customers.into_iter().flat_map(|it| it.join().expect("it asks")).collect()
    })
}

#[test]
fn a_thousand_leases_that_end_in_one_second_are_all_released_once() {
    let limits = "holds_per_source = 1000\nmax_open_unpaid = 100000";
    // Two thousand calls take a while.
    match std::env::var_os("LEASEHOLD_TEST_LONG") {
        Some(_) => each_with(limits, many),
        None => once_with(limits, many),
    }
}

fn many(shop: &mut Shop) {
    let sink = Sink::start(|_, _| ready());
    with_boxes_at(shop, &sink, MANY);
    let rented = rent_all(shop);
    for some in rented.chunks(OUTPUTS) {
        let pay: Vec<_> = some.iter().map(|it| (it.address.as_str(), it.amount_sat)).collect();
        shop.node.send_many(&pay);
    }
    shop.node.mine(1);
    within(PATIENCE, "all to be ready", || {
        let text = shop.ask_text("/metrics");
        let all = format!("leasehold_leases{{state=\"active\"}} {MANY}\n");
        if text.contains(&all) { Ok(()) } else { Err(called(&sink).len()) }
    });
    assert_eq!(free(shop), 0);
    // Beyond the hour and the grace of all of them.
    shop.shift_clock(3600 + 600 + 120);
    within(PATIENCE, "all units to be free", || {
        if free(shop) == MANY { Ok(()) } else { Err(free(shop)) }
    });
    let called = called(&sink);
    assert_eq!(called.len(), rented.len());
    for (lease, actions) in called {
        // On a slow machine a box may be ready late, and its true end is told, too.
        let steps: Vec<String> = actions.into_iter().filter(|it| it != "extend").collect();
        assert_eq!(steps, ["provision", "release"], "{lease}");
    }
    for ended in rented.iter().step_by(100) {
        assert_eq!(shop.lease(&ended.lease)["state"], "ended");
        assert_eq!(shop.count_events(&ended.lease, "lease.ended"), 1);
    }
}
