//! Two servers and one action: it is called for once, unless who claimed it stood still for longer
//! than it may take.

use reqwest::Method;
use serde_json::{Value, json};

use super::catalog;
use crate::harness::daemon::{Rented, Shop};
use crate::harness::pair::{Pair, pair};
use crate::harness::wait::until;

/// The time limit of a call, in seconds. A claim holds a minute longer.
const LIMIT: i64 = 60;

/// Both sell what one hook, in the first one's folder, makes ready.
fn with_one_hook(pair: &mut Pair) {
    let hook = pair.a.write_hook();
    let text = catalog(hook.to_str().unwrap(), &format!("{LIMIT}s"), 2);
    for shop in [&mut pair.a, &mut pair.b] {
        shop.write_catalog(&text);
        shop.stop();
    }
    pair.a.start();
    pair.b.start();
}

fn attempts(shop: &Shop, rented: &Rented) -> Vec<(Value, Value)> {
    let path = format!("actions?lease={}", rented.lease);
    let (_, list) = shop.operate(Method::GET, &path, None);
    let items = list["items"].as_array().unwrap().iter();
    items.map(|it| (it["action"].clone(), it["attempt"].clone())).collect()
}

fn paid(pair: &Pair, shop: &Shop) -> Rented {
    let rented = shop.rent("box", 3600);
    pair.a.node.send(&rented.address, rented.amount_sat);
    pair.mine(1);
    rented
}

#[test]
fn what_one_server_has_claimed_another_repeats_only_once_the_claim_ran_out_and_one_answer_counts() {
    pair(|pair| {
        with_one_hook(pair);
        // The first call waits for a file that comes too late; all others are done at once.
        let slow = "mkdir first 2>/dev/null && { while [ ! -e late ]; do sleep 0.1; done; \
                    echo '{\"host\": \"late.test\"}'; exit 0; }";
        pair.a.hook_does("provision", slow);
        pair.b.stop();
        let rented = paid(pair, &pair.a);
        pair.a.called_for(&rented, &["provision"]);
        pair.a.freeze();
        pair.b.start();
        // The clock of the one that lives; the claim still holds.
        pair.b.shift_clock(LIMIT);
        let other = pair.b.rent("box", 3600);
        pair.a.node.send(&other.address, other.amount_sat);
        pair.connect();
        pair.b.node.mine(1);
        pair.b.lease_in(&other, "active");
        assert_eq!(pair.b.lease(&rented.lease)["state"], "provisioning");
        assert_eq!(pair.a.called(&rented), ["provision"], "it is under way elsewhere");
        // It has run out.
        pair.b.shift_clock(LIMIT + 60 + 30);
        pair.b.lease_in(&rented, "active");
        // By then it was told another end.
        pair.a.called_for(&rented, &["provision", "provision", "extend"]);
        let access = |shop: &Shop| shop.held(&rented)["access"]["host"].clone();
        assert_eq!(access(&pair.b), "box.test");

        // What the first one's call says now comes too late, and changes nothing.
        pair.a.shift_clock(LIMIT + 60 + 30);
        pair.a.thaw();
        std::fs::write(pair.a.folder().join("late"), "").unwrap();
        until("the late answer to be heard", || {
            let text = pair.a.ask_text("/metrics");
            let mut lines = text.lines().filter(|it| it.contains("provisioner_calls_total{"));
            let heard = |it: &str| it.contains("\"provision\"") && it.contains("\"done\"");
            lines.find(|it| heard(it)).map(str::to_owned).ok_or(text.clone())
        });
        pair.connect();
        pair.a.wait_for_tip();
        assert_eq!((access(&pair.a), access(&pair.b)), (json!("box.test"), json!("box.test")));
        pair.a.operate_lease(&rented, "revoke");
        pair.a.done_for(&rented, &["provision", "extend", "release"]);
        let attempt = |name: &str| {
            let found = attempts(&pair.a, &rented);
            found.iter().find(|(action, _)| action == name).map(|(_, n)| n.clone())
        };
        assert_eq!(attempt("provision"), Some(json!(2)));
        assert_eq!(attempt("release"), Some(json!(1)));
        assert_eq!(pair.a.count_events(&rented.lease, "lease.activated"), 1);
    });
}

#[test]
fn two_servers_share_the_work_and_do_each_action_once() {
    pair(|pair| {
        with_one_hook(pair);
        for n in 0..6 {
            let rented = paid(pair, pair.each()[n % 2]);
            pair.a.lease_in(&rented, "active");
            pair.b.operate_lease(&rented, "revoke");
            pair.a.done_for(&rented, &["provision", "release"]);
            assert_eq!(pair.a.called(&rented), ["provision", "release"]);
            let once = [(json!("release"), json!(1)), (json!("provision"), json!(1))];
            let mut found = attempts(&pair.b, &rented);
            found.sort_by_key(|(action, _)| action != "release");
            assert_eq!(found, once);
        }
    });
}
