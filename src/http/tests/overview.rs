//! What operators see first: the days are true, add up to the books, and are kept for a moment.

use std::cell::Cell;
use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};
use serde_json::{Value, json};

use super::desk::{Desk, at_desk, text};
use super::operators::{page, signed_in};
use crate::app::apply_catalog::ApplyCatalog;
use crate::app::look;
use crate::app::readiness::Readiness;
use crate::app::wallet_state::WalletState;
use crate::chain::testing::spend;
use crate::clock::Clock;
use crate::domain::ids::InvoiceId;
use crate::domain::price::Price;
use crate::domain::resource::tests::gpu;
use crate::domain::resource::{Access, Terms};
use crate::worker::rig::START;

const HOUR: i64 = 3600;

/// A shared resource, 10 sat an hour.
fn wiki() -> Terms {
    let mut terms = gpu();
    (terms.id, terms.title) = ("wiki".into(), "Wiki".into());
    (terms.access, terms.units) = (Access::Shared, Vec::new());
    terms.price = Price { sat: 10, per_s: 3600 };
    terms
}

async fn offer(desk: &Desk, catalog: Vec<Terms>) {
    let item = ApplyCatalog { catalog, now: START, actor: None, dry_run: false, expect: None };
    desk.rig.db.write(item).await.unwrap();
}

/// A lease that is paid; its answer.
async fn rent(desk: &mut Desk, resource: &str, sat: u64) -> Value {
    let body = json!({ "resource": resource, "duration_s": 7200 });
    let created = desk.post("/v1/leases", body).await.must(201).body;
    desk.pay(&created, sat).await;
    created
}

async fn act(desk: &Desk, key: &str, lease: &Value, act: &str) -> u16 {
    let path = format!("/v1/admin/leases/{}/{act}", text(lease, "/lease/id"));
    desk.call("POST", &path).bearer(key).send().await.status
}

async fn pass(desk: &mut Desk, hours: i64) {
    desk.rig.clock.advance_s(hours * HOUR);
    desk.rig.round().await;
}

async fn overview(desk: &Desk, key: &str) -> Value {
    desk.call("GET", "/v1/admin/overview").bearer(key).send().await.must(200).body
}

/// What is at `name` of the last so many days of all, or of one resource.
fn last(of: &Value, count: usize, name: &str) -> Vec<i64> {
    let days = of["days"].as_array().unwrap();
    assert_eq!(days.len(), 30);
    days[30 - count..].iter().map(|day| day[name].as_i64().unwrap()).collect()
}

fn sum(of: &Value, name: &str) -> i64 {
    last(of, 30, name).iter().sum()
}

/// The days add up to the books, in all and of each resource; nobody has more than there is.
async fn adds_up(desk: &Desk, seen: &Value) {
    assert_eq!(sum(seen, "earned_sat"), seen["money"]["earned_sat"], "{seen}");
    assert_eq!(sum(seen, "received_sat"), seen["money"]["received_sat"], "{seen}");
    let mut each = 0;
    for used in seen["resources"].as_array().unwrap() {
        let path = format!("/v1/resources/{}/accounts", text(used, "/resource"));
        let accounts = desk.get(&path).await.must(200).body;
        assert_eq!(used["earned_sat"], accounts["earned_sat"], "{used}");
        each += used["earned_sat"].as_i64().unwrap();
        for name in ["earned_sat", "leased_s", "capacity_s"] {
            assert_eq!(sum(used, name), used[name], "{name}: {used}");
        }
        for day in used["days"].as_array().unwrap() {
            let [leased, there] = ["leased_s", "capacity_s"].map(|it| day[it].as_i64().unwrap());
            assert!((0..=there).contains(&leased), "{day}");
        }
    }
    assert_eq!(each, sum(seen, "earned_sat"));
}

#[test]
fn a_day_has_what_elapsed_on_it_of_each_resource_and_nothing_of_grace_or_suspension() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read manage", 2).await;
        offer(&desk, vec![gpu(), wiki()]).await;
        // It is eight in the morning.
        let gpus = rent(&mut desk, "gpu-small", 30_000).await;
        rent(&mut desk, "wiki", 2400).await;
        pass(&mut desk, 4).await;
        assert_eq!(act(&desk, &key, &gpus, "suspend").await, 200);
        pass(&mut desk, 30).await;
        assert_eq!(act(&desk, &key, &gpus, "resume").await, 200);
        pass(&mut desk, 33).await;
        let seen = overview(&desk, &key).await;
        assert_eq!(last(&seen, 4, "earned_sat"), [2160, 3240, 12_240, 1530], "{seen}");
        adds_up(&desk, &seen).await;
        pass(&mut desk, 22).await;
        pass(&mut desk, 11).await;
        let seen = overview(&desk, &key).await;
        assert_eq!(last(&seen, 6, "earned_sat"), [0, 2160, 3240, 12_240, 12_240, 1120], "{seen}");
        assert_eq!(last(&seen, 6, "received_sat"), [0, 32_400, 0, 0, 0, 0]);
        // To the end of its grace; two units since the shop began; today until noon.
        let leased = [0, 16 * HOUR, 24 * HOUR, 24 * HOUR, 24 * HOUR, 2 * HOUR + 600];
        assert_eq!(last(&seen, 6, "leased_s"), leased);
        let there = [0, 32 * HOUR, 48 * HOUR, 48 * HOUR, 48 * HOUR, 24 * HOUR];
        assert_eq!(last(&seen, 6, "capacity_s"), there);
        let names = ["resource", "units", "running", "earned_sat", "leased_s"];
        let of = |place: usize| names.map(|name| seen["resources"][place][name].clone());
        let leased_s: i64 = leased.iter().sum();
        assert_eq!(of(0), [json!("gpu-small"), json!(2), json!(0), json!(30_000), json!(leased_s)]);
        assert_eq!(of(1), [json!("wiki"), Value::Null, json!(1), json!(1000), json!(0)]);
        adds_up(&desk, &seen).await;
    });
}

#[test]
fn of_money_that_came_before_the_days_they_have_what_elapsed_in_them() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read", 2).await;
        rent(&mut desk, "gpu-small", 480_000).await;
        desk.rig.clock.advance_s(35 * 24 * HOUR);
        for settled in [false, true] {
            let seen = overview(&desk, &key).await;
            assert_eq!(last(&seen, 30, "earned_sat"), [[12_000; 29].as_slice(), &[4000]].concat());
            assert_eq!(seen["money"]["earned_sat"], 35 * 12_000, "{settled}");
            assert_eq!(sum(&seen, "received_sat"), 0);
            assert_eq!(seen["resources"][0]["leased_s"], (29 * 24 + 8) * HOUR);
            assert_eq!(seen["resources"][0]["capacity_s"], (29 * 24 + 8) * 2 * HOUR);
            desk.rig.round().await;
        }
    });
}

#[test]
fn a_reversal_takes_back_on_its_own_day() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read", 2).await;
        let created = desk.lease().await;
        let id = InvoiceId::parse(text(&created, "/invoice/id")).unwrap();
        let script = desk.rig.invoice(&id).await.script_pubkey;
        let paid = desk.rig.pay(&[(script, 15_000)]);
        desk.rig.chain.mine_pending();
        desk.rig.round().await;
        pass(&mut desk, 20).await;
        assert_eq!(last(&overview(&desk, &key).await, 2, "earned_sat"), [8000, 2000]);
        desk.rig.chain.fork(1, Vec::new());
        let thief = spend(&[paid.input[0].previous_output], &[]);
        desk.rig.chain.mine(vec![thief]);
        desk.rig.chain.mine_empty(1);
        pass(&mut desk, 1).await;
        let seen = overview(&desk, &key).await;
        assert_eq!(last(&seen, 2, "earned_sat"), [8000, -8000], "{seen}");
        assert_eq!(last(&seen, 2, "received_sat"), [15_000, -15_000]);
        adds_up(&desk, &seen).await;
    });
}

#[test]
fn a_lease_on_a_unit_that_is_no_longer_offered_is_told_apart() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        for _ in 0..2 {
            rent(&mut desk, "gpu-small", 12_000).await;
        }
        let mut one = gpu();
        let gone = one.units.remove(0);
        offer(&desk, vec![one]).await;
        let seen = overview(&desk, &key).await;
        let used = &seen["resources"][0];
        let counts = ["units", "running", "running_unoffered"].map(|name| used[name].clone());
        assert_eq!(counts, [json!(1), json!(2), json!(1)], "{used}");
        let html = page(&desk, &cookie, "/operator").await.must(200).text;
        assert!(html.contains("2 leased, 1 of them on units no longer offered"), "{html}");
        // So it is on the resource's page, and in the API.
        let path = "/operator/catalog/gpu-small";
        let html = page(&desk, &cookie, path).await.must(200).text;
        assert!(html.contains(&format!("{gone} (no longer offered)")), "{html}");
        let call = desk.call("GET", "/v1/admin/resources/gpu-small").bearer(&key);
        let body = call.send().await.must(200).body;
        assert_eq!((text(&body, "/id"), text(&body, "/terms/title")), ("gpu-small", &*gpu().title));
        let units: Vec<_> = body["units"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| (&it["unit"], &it["offered"]))
            .collect();
        assert_eq!(units, [(&json!(gpu().units[1]), &json!(true)), (&json!(gone), &json!(false))]);
        for unit in body["units"].as_array().unwrap() {
            assert!(
                text(unit, "/lease").starts_with("lse_") && unit["state"] == "leased",
                "{unit}"
            );
        }
        let call = desk.call("GET", "/v1/admin/resources/nothing").bearer(&key);
        call.send().await.problem(404, "unknown_resource");
    });
}

#[test]
fn the_page_shows_the_same_numbers_in_its_plots_tables_and_words() {
    at_desk(async |mut desk| {
        let mut other = gpu();
        other.id = "gpu-large".into();
        offer(&desk, vec![wiki()]).await;
        let cookie = signed_in(&desk, "read manage", 3).await;
        let seen = page(&desk, &cookie, "/operator").await.must(200).text;
        assert!(!seen.contains("Occupancy:") && seen.contains("Revenue:"), "{seen}");
        offer(&desk, vec![gpu(), wiki()]).await;
        rent(&mut desk, "gpu-small", 12_000).await;
        rent(&mut desk, "wiki", 240).await;
        pass(&mut desk, 16).await;
        // A session lasts for half a day.
        let cookie = signed_in(&desk, "read manage", 1).await;
        let seen = page(&desk, &cookie, "/operator").await.must(200).text;
        for words in [
            "8,160 sat earned in 30 days, as time elapsed; 12,240 sat received.",
            "50 % in 30 days, of the units that are offered now.",
            "1 leased",
            "1 user",
            "16 hours",
            "1 day 8 hours",
        ] {
            assert!(seen.contains(words), "{words}: {seen}");
        }
        assert!(!seen.contains("The occupancy of each"), "there is one with units");
        offer(&desk, vec![gpu(), other, wiki()]).await;
        desk.rig.clock.advance_s(5);
        let seen = page(&desk, &cookie, "/operator").await.must(200).text;
        assert!(seen.contains("The occupancy of each"), "{seen}");
        assert_eq!(seen.matches("<svg ").count(), 4);
    });
}

#[test]
fn an_overview_is_kept_for_a_moment_but_what_operators_do_shows_at_once() {
    at_desk(async |mut desk| {
        let (key, _) = desk.operator("read manage", 2).await;
        let first = rent(&mut desk, "gpu-small", 1000).await;
        let active = async |desk: &Desk| overview(desk, &key).await["leases"]["active"].clone();
        assert_eq!(active(&desk).await, 1);
        rent(&mut desk, "gpu-small", 1000).await;
        assert_eq!(active(&desk).await, 1);
        desk.rig.clock.advance_s(5);
        assert_eq!(active(&desk).await, 2);
        assert_eq!(act(&desk, &key, &first, "suspend").await, 200);
        assert_eq!(active(&desk).await, 1);
    });
}

#[test]
fn an_overview_is_of_one_moment_while_money_comes() {
    at_desk(async |mut desk| {
        let created = rent(&mut desk, "gpu-small", 1000).await;
        let (db, now) = (desk.rig.db.clone(), desk.rig.clock.now());
        let over = Cell::new(false);
        let pays = async {
            for _ in 0..20 {
                desk.pay(&created, 1000).await;
            }
            over.set(true);
        };
        let looks = async {
            let mut sums = BTreeSet::new();
            while !over.get() {
                let node = (&Readiness::default(), &WalletState::default());
                let seen = json!(look::overview(&db, now, 1, node).await.unwrap());
                assert_eq!(sum(&seen, "received_sat"), seen["money"]["received_sat"], "{seen}");
                sums.insert(sum(&seen, "received_sat"));
            }
            assert!(sums.len() > 2, "nothing came between two looks: {sums:?}");
        };
        tokio::join!(pays, looks);
    });
}

#[derive(Clone, Debug)]
enum Op {
    Rent { wiki: bool, sat: u64 },
    More { of: usize, sat: u64 },
    Act { of: usize, act: &'static str },
    Pass { minutes: i64 },
}

fn op() -> impl Strategy<Value = Op> {
    let of = 0usize..100;
    let acts = vec!["suspend", "resume", "resume", "revoke"];
    prop_oneof![
        2 => (any::<bool>(), 400u64..30_000).prop_map(|(wiki, sat)| Op::Rent { wiki, sat }),
        2 => (of.clone(), 1u64..9000).prop_map(|(of, sat)| Op::More { of, sat }),
        3 => (of, prop::sample::select(acts)).prop_map(|(of, act)| Op::Act { of, act }),
        4 => (1i64..1800).prop_map(|minutes| Op::Pass { minutes }),
    ]
}

fn config() -> Config {
    Config {
        cases: 6,
        rng_seed: RngSeed::Fixed(8_719_131),
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_days_add_up_to_what_is_booked_and_accrued(ops in vec(op(), 5..24)) {
        at_desk(async |mut desk| {
            let (key, _) = desk.operator("read manage", 2).await;
            offer(&desk, vec![gpu(), wiki()]).await;
            let mut leases = Vec::new();
            for op in &ops {
                match op {
                    Op::Rent { wiki, sat } => {
                        let resource = if *wiki { "wiki" } else { "gpu-small" };
                        let body = json!({ "resource": resource, "duration_s": 7200 });
                        let answer = desk.post("/v1/leases", body).await;
                        if answer.status == 201 {
                            desk.pay(&answer.body, *sat).await;
                            leases.push(answer.body);
                        }
                    }
                    Op::More { of, sat } if !leases.is_empty() => {
                        let lease = leases[of % leases.len()].clone();
                        desk.pay(&lease, *sat).await;
                    }
                    Op::Act { of, act: what } if !leases.is_empty() => {
                        act(&desk, &key, &leases[of % leases.len()], what).await;
                    }
                    Op::Pass { minutes } => {
                        desk.rig.clock.advance_s(minutes * 60);
                        adds_up(&desk, &overview(&desk, &key).await).await;
                        desk.rig.round().await;
                    }
                    _ => {}
                }
            }
            pass(&mut desk, 1).await;
            adds_up(&desk, &overview(&desk, &key).await).await;
        });
    }
}
