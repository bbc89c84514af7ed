//! Many requests at once: every one gets an address of its own, and the wallet knows it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::daemon::{Shop, each_with};

const THREADS: usize = 100;
const EACH: usize = 10;

/// The external addresses `0..count`, as the node derives them.
fn derived(shop: &Shop, count: usize) -> Vec<Value> {
    let external = shop.descriptor.replace("<0;1>", "0");
    let plain = external.split('#').next().unwrap_or_default();
    let checked = shop.node.call("getdescriptorinfo", json!([plain]))["descriptor"].clone();
    let list = shop.node.call("deriveaddresses", json!([checked, [0, count - 1]]));
    list.as_array().expect("a list").clone()
}

#[test]
fn a_thousand_concurrent_requests_get_a_thousand_addresses_without_a_gap() {
    each_with("max_open_unpaid = 2000", |shop| {
        let shop = &*shop;
        let ask = || {
            let body = json!({ "resource": "shared", "duration_s": 600 });
            let made = (0..EACH).map(|_| shop.post("/v1/leases", None, &body));
            made.collect::<Vec<Value>>()
        };
        let made: Vec<Value> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it asks")).collect()
        });
        let count = THREADS * EACH;
        let addresses = derived(shop, count);
        let mut indexes = BTreeSet::new();
        let mut claims = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for answer in &made {
            let invoice = &answer["invoice"];
            let index = invoice["derivation_index"].as_u64().expect("a number");
            assert!(indexes.insert(index), "{index} was given twice");
            assert_eq!(invoice["address"], addresses[usize::try_from(index).unwrap()]);
            claims.insert(answer["claim_token"].as_str().expect("a text"));
            ids.insert(answer["lease"]["id"].as_str().expect("a text"));
        }
        assert_eq!(indexes, (0..u64::try_from(count).unwrap()).collect());
        assert_eq!((claims.len(), ids.len()), (count, count));
    });
}
