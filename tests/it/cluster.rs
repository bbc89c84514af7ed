//! Two servers on one PostgreSQL: no leader, no double credit, and either may die or stand still.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::daemon::{Rented, Shop};
use crate::harness::pair::{Pair, pair, pair_with};
use crate::harness::wait::{now, until, within};

/// How soon a server acts on what the other committed.
const SOON: Duration = Duration::from_secs(1);
/// The configured time-outs of a session that stands still, and some time to begin anew.
const STANDSTILL: Duration = Duration::from_secs(10);

fn is_active(lease: &Value) -> bool {
    lease["state"] == "active"
}

fn paid_s(lease: &Value) -> u64 {
    let list = lease["credits"].as_array().unwrap();
    list.iter().map(|credit| credit["seconds"].as_u64().unwrap()).sum()
}

/// Every lease runs for what was paid once, and each step of it was told once.
fn all_right(pair: &Pair, leases: &[Rented]) {
    for rented in leases {
        let lease = pair.lease_until("the lease to be active", &rented.lease, is_active);
        assert_eq!(lease["credits"].as_array().unwrap().len(), 1, "{lease}");
        assert_eq!(paid_s(&lease), rented.amount_sat);
        let kinds = pair.a.events_of(&rented.lease);
        for kind in ["lease.created", "payment.seen", "payment.credited", "lease.activated"] {
            let count = kinds.iter().filter(|found| *found == kind).count();
            assert_eq!(count, 1, "{kind}: {kinds:?}");
        }
    }
    let addresses: BTreeSet<&String> = leases.iter().map(|rented| &rented.address).collect();
    assert_eq!(addresses.len(), leases.len(), "no address is given twice");
}

/// One server asks at once from several threads.
fn rent_many(shop: &Shop, threads: usize, each: usize) -> Vec<Rented> {
    std::thread::scope(|scope| {
        let ask = || (0..each).map(|_| shop.rent("shared", 3600)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it asks")).collect()
    })
}

#[test]
fn requests_on_both_get_addresses_of_their_own_and_each_payment_counts_once() {
    pair(|pair| {
        let (mut leases, more) = std::thread::scope(|scope| {
            let others = scope.spawn(|| rent_many(&pair.b, 4, 5));
            (rent_many(&pair.a, 4, 5), others.join().expect("it asks"))
        });
        leases.extend(more);
        let indexes: BTreeSet<u64> = leases
            .iter()
            .map(|rented| pair.a.invoice(&rented.invoice)["derivation_index"].as_u64().unwrap())
            .collect();
        assert_eq!(indexes, (0..40).collect(), "no gap");
        for some in leases.chunks(10) {
            let pay: Vec<_> = some.iter().map(|it| (it.address.as_str(), it.amount_sat)).collect();
            pair.a.node.send_many(&pay);
            pair.mine(1);
        }
        all_right(pair, &leases);
    });
}

#[test]
fn two_servers_on_one_node_apply_each_block_once() {
    pair(|pair| {
        pair.b.stop();
        pair.b.write_config_for(&pair.a.node, "");
        pair.a.node.tell(&pair.b.node);
        pair.b.start();
        let mut leases = Vec::new();
        for n in 0..10 {
            let shop = pair.each()[n % 2];
            let rented = shop.rent("shared", 3600);
            pair.a.node.send(&rented.address, rented.amount_sat);
            pair.mine(1);
            leases.push(rented);
        }
        pair.a.node.reorg(3);
        pair.connect();
        all_right(pair, &leases);
        pair.wait_for_tip();
        assert_eq!(pair.tip(), pair.a.node.tip().to_string());
    });
}

/// When a long poll for the lease to be active was answered.
fn polled(shop: &Shop, lease: &str) -> Instant {
    let mut seq = 0;
    within(Duration::from_secs(60), "a long poll to tell of it", || {
        let (_, found) = shop.get(&format!("/v1/leases/{lease}?wait_s=10&after_seq={seq}"));
        seq = found["seq"].as_u64().unwrap();
        if is_active(&found) { Ok(now()) } else { Err(found) }
    })
}

/// When a stream told of the lease being active.
fn streamed(shop: &Shop, lease: &str) -> Instant {
    let mut text = String::new();
    shop.stream(&format!("/v1/leases/{lease}/events"), |bytes| {
        text.push_str(&String::from_utf8_lossy(bytes));
        text.contains("\"state\":\"active\"")
    });
    now()
}

/// When the gate let its holder in.
fn entered(shop: &Shop, rented: &Rented) -> Instant {
    let path = format!("/v1/leases/{}/token", rented.lease);
    let token = until("a token", || {
        let (status, answer) = shop.ask(Method::POST, &path, Some(&rented.claim), None);
        if status == 200 { Ok(answer["token"].as_str().unwrap().to_owned()) } else { Err(answer) }
    });
    until("the gate to open", || {
        let (status, answer) = shop.ask(Method::GET, "/v1/gate/shared", Some(&token), None);
        if status == 204 { Ok(now()) } else { Err((status, answer)) }
    })
}

#[test]
fn a_lease_bought_on_one_is_seen_by_those_who_wait_on_the_other_within_a_second() {
    pair(|pair| {
        let rented = pair.a.rent("shared", 7200);
        pair.a.node.send(&rented.address, rented.amount_sat);
        let pair = &*pair;
        std::thread::scope(|scope| {
            let (lease, rented) = (&rented.lease, &rented);
            let seen: Vec<_> = pair
                .each()
                .into_iter()
                .flat_map(|shop| {
                    [
                        scope.spawn(move || polled(shop, lease)),
                        scope.spawn(move || streamed(shop, lease)),
                        scope.spawn(move || entered(shop, rented)),
                    ]
                })
                .collect();
            pair.mine(1);
            let first = pair.a.lease_until("the lease to be active", lease, is_active);
            let known = now();
            assert!(is_active(&first));
            for (n, seen) in seen.into_iter().enumerate() {
                let late = seen.join().expect("it sees it").saturating_duration_since(known);
                assert!(late < SOON, "number {n} saw it {late:?} later");
            }
        });
    });
}

#[test]
fn a_request_repeated_on_the_other_server_gets_the_same_answer() {
    pair(|pair| {
        let body = json!({ "resource": "shared", "duration_s": 3600 });
        let ask =
            |shop: &Shop, key: &str, body: &Value| shop.post_with_key("/v1/leases", key, body);
        let first = ask(&pair.a, "a-key-of-the-caller", &body);
        assert_eq!(first.0, 201);
        assert!(first.1["claim_token"].is_string());
        assert_eq!(ask(&pair.b, "a-key-of-the-caller", &body), first);
        let other = json!({ "resource": "shared", "duration_s": 3601 });
        let refused = ask(&pair.b, "a-key-of-the-caller", &other);
        assert_eq!((refused.0, &refused.1["code"]), (422, &json!("idempotency_key_reused")));
        // At once on both, again and again.
        let [a, b] = pair.each();
        for n in 0..10 {
            let key = format!("one-request-for-both-{n}");
            let (here, there) = std::thread::scope(|scope| {
                let there = scope.spawn(|| ask(b, &key, &body));
                (ask(a, &key, &body), there.join().expect("it asks"))
            });
            assert_eq!(here.0, 201, "{}", here.1);
            assert_eq!(here, there);
        }
        let newest = pair.b.rent("shared", 3600);
        assert_eq!(pair.a.invoice(&newest.invoice)["derivation_index"], 11);
    });
}

#[test]
fn one_is_killed_amid_blocks_and_requests_and_the_other_goes_on() {
    pair(|pair| {
        let mut leases = Vec::new();
        for n in 0..12_u64 {
            let shop = if n % 2 == 0 { &pair.a } else { &pair.b };
            let rented = shop.rent("shared", 3600 + n);
            pair.a.node.send(&rented.address, rented.amount_sat);
            leases.push(rented);
            match n {
                3 => {
                    // Whatever it does with these blocks, it does not finish.
                    pair.a.node.mine(3);
                    pair.a.kill();
                    pair.connect();
                    let alone = pair.b.rent("shared", 3600);
                    pair.a.node.send(&alone.address, alone.amount_sat);
                    leases.push(alone);
                    pair.mine(2);
                    for rented in &leases {
                        pair.b.lease_until("the other to go on", &rented.lease, is_active);
                    }
                    pair.a.start();
                }
                8 => {
                    pair.mine(1);
                    pair.b.kill();
                    pair.a.node.reorg(2);
                    pair.a.wait_for_tip();
                    pair.connect();
                    pair.b.start();
                }
                _ => pair.mine(1),
            }
        }
        all_right(pair, &leases);
        pair.wait_for_tip();
        assert_eq!(pair.tip(), pair.a.node.tip().to_string());
    });
}

#[test]
fn a_reorg_that_both_follow_moves_nothing() {
    pair(|pair| {
        let rented = pair.b.rent("shared", 7200);
        pair.a.node.send(&rented.address, rented.amount_sat);
        pair.mine(1);
        let before = pair.lease_until("the lease to be active", &rented.lease, is_active);
        for depth in [1, 3] {
            pair.a.node.reorg_empty(depth);
            pair.connect();
            let at_risk = |lease: &Value| lease["flags"] == json!(["at_risk"]);
            pair.lease_until("the lease to be at risk", &rented.lease, at_risk);
            pair.mine(1);
            let safe = |lease: &Value| lease["flags"] == json!([]);
            let after = pair.lease_until("the lease to be safe", &rented.lease, safe);
            assert_eq!(before["paid_until"], after["paid_until"]);
        }
        all_right(pair, &[rented]);
        pair.wait_for_tip();
        assert_eq!(pair.tip(), pair.a.node.tip().to_string());
    });
}

#[test]
fn nodes_with_different_last_blocks_do_not_pull_the_tip_to_and_fro() {
    pair(|pair| {
        let rented = pair.a.rent("shared", 7200);
        pair.a.node.send(&rented.address, rented.amount_sat);
        let ours = pair.a.node.mine(1)[0];
        pair.a.lease_until("the lease to be active", &rented.lease, is_active);
        pair.b.node.mine_empty(1);
        // The nodes know of both blocks, and each stays with the one that it saw first.
        pair.connect();
        until("the second server to wait", || {
            let (status, ready) = pair.b.get("/readyz");
            let waits = status == 503 && ready["node"]["detail"].to_string().contains("more work");
            if waits { Ok(()) } else { Err(ready) }
        });
        let told = pair.a.events().len();
        for _ in 0..30 {
            // Each of these lets time pass for some rounds of both.
            pair.b.get("/readyz");
            let shown = pair.a.stored_tip();
            assert_eq!(shown, ours, "the tip was moved");
        }
        assert_eq!(pair.a.events().len(), told, "nothing happened");
        assert!(is_active(&pair.b.lease(&rented.lease)), "it serves what the other follows");
        // The second branch wins.
        pair.b.node.mine_empty(1);
        pair.connect();
        let at_risk = |lease: &Value| lease["flags"] == json!(["at_risk"]);
        pair.lease_until("the lease to be at risk", &rented.lease, at_risk);
        pair.wait_for_tip();
        pair.mine(1);
        pair.lease_until("the lease to be safe", &rented.lease, |lease| {
            lease["flags"] == json!([])
        });
        all_right(pair, &[rented]);
    });
}

/// Stops the first server while it holds a transaction, which it does for some milliseconds at a
/// time while it is asked for leases.
fn freeze_in_transaction(pair: &Pair) -> Rented {
    let caught = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            while !caught.load(Ordering::SeqCst) {
                // The last of these is answered by nobody.
                let _ = pair.a.try_rent("shared");
            }
        };
        (0..3).for_each(|_| drop(scope.spawn(ask)));
        until("it to be caught in a transaction", || {
            pair.a.freeze();
            if pair.idle_in_transaction("first") > 0 {
                caught.store(true, Ordering::SeqCst);
                let began = now();
                let rented = pair.b.rent("box", 3600);
                let waited = now().saturating_duration_since(began);
                assert!(waited < STANDSTILL, "the other waited {waited:?}");
                return Ok(rented);
            }
            pair.a.thaw();
            Err("it held none")
        })
    })
}

#[test]
fn a_server_that_stands_still_in_a_transaction_does_not_stop_the_other_for_long() {
    pair_with("max_open_unpaid = 100000", |pair| {
        let rented = freeze_in_transaction(pair);
        pair.b.node.send(&rented.address, rented.amount_sat);
        pair.connect();
        pair.b.node.mine(1);
        pair.b.lease_until("the other to go on", &rented.lease, is_active);
        pair.connect();
        pair.a.thaw();
        // Its transaction is gone; it goes on with a new one.
        let again = until("the first to go on", || pair.a.try_rent("shared"));
        pair.a.node.send(&again.address, again.amount_sat);
        pair.mine(1);
        all_right(pair, &[rented, again]);
    });
}
