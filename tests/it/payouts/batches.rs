//! Batches: what one holds, what it spends, what a preview is worth, and what is refused.

use reqwest::Method;
use serde_json::{Value, json};

use super::owed::{change_of, coins_of, output_to};
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::Shop;
use crate::harness::signer::{Kind, Signer};
use crate::harness::wait::until;

/// Ten leases with ten top-ups each, every one with an address of its own, all given up; what each
/// address is owed.
fn hundred(shop: &Shop) -> Vec<(String, u64)> {
    let far = Signer::new(Kind::Tr).descriptor().replace("<0;1>", "0");
    let checked = shop.node.call("getdescriptorinfo", json!([far]))["descriptor"].clone();
    let list = shop.node.call("deriveaddresses", json!([checked, [0, 99]]));
    let to: Vec<String> = list.as_array().unwrap().iter().map(text).collect();
    let (mut pay, mut debts) = (Vec::new(), Vec::new());
    for (n, ten) in to.chunks(10).enumerate() {
        let rented = shop.rent("shared", 3600);
        let path = format!("/v1/leases/{}/invoices", rented.lease);
        for (m, address) in ten.iter().enumerate() {
            let body = json!({ "duration_s": 600, "refund_address": address });
            let topup = shop.post(&path, None, &body);
            let sat = u64::try_from(5000 + 70 * n + 7 * m).unwrap();
            pay.push((text(&topup["invoice"]["address"]), sat));
            debts.push((address.clone(), sat));
        }
        shop.give_back(&rented);
    }
    let pay: Vec<_> = pay.iter().map(|(address, sat)| (address.as_str(), *sat)).collect();
    shop.node.send_many(&pay);
    shop.node.mine(2);
    debts
}

/// Waits until a hundred payouts are in a state.
fn all_in(shop: &Shop, state: &str) -> Vec<Value> {
    until(&format!("all to be {state}"), || {
        let path = format!("payouts?limit=200&state={state}");
        let (_, list) = shop.operate(Method::GET, &path, None);
        let items = list["items"].as_array().unwrap().clone();
        if items.len() == 100 { Ok(items) } else { Err(items.len()) }
    })
}

#[test]
fn a_hundred_refunds_leave_in_one_transaction() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let debts = hundred(shop);
        all_in(shop, "due");
        let batch = shop.prepare(&json!({}));
        let total: u64 = debts.iter().map(|(_, sat)| sat).sum();
        assert_eq!(number(&batch["pays"]["total_sat"]), total);
        let signed = signer.sign(&text(&batch["psbt"]));
        assert!(signed.len() > 64 * 1024, "larger than other requests may be");
        assert_eq!(shop.try_submit(&signed).0, 200);
        let block = shop.node.mine(1).remove(0);
        let done = all_in(shop, "confirmed");
        assert!(done.iter().all(|payout| payout["txid"] == batch["txid"]));
        let mined = shop.node.call("getblock", json!([block, 2]))["tx"][1]["vout"].clone();
        let mined = mined.as_array().unwrap();
        for (to, sat) in &debts {
            let output = output_to(&batch["pays"], to);
            let left = sat - number(&output["payouts"][0]["fee_sat"]);
            let here = |it: &&Value| it["scriptPubKey"]["address"] == to.as_str();
            let found = mined.iter().find(here).unwrap();
            let arrived = format!("{:.8}", found["value"].as_f64().unwrap());
            assert_eq!(arrived, format!("0.{left:08}"), "{found}");
            assert_eq!(number(&output["amount_sat"]), left);
        }
        let accounts = shop.accounts();
        assert_eq!(
            (&accounts["refunded_sat"], &accounts["refundable_sat"]),
            (&json!(total), &json!(0))
        );
    });
}

#[test]
fn nothing_is_prepared_when_nothing_is_due_or_coins_are_short() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let nothing = "nothing was prepared: there is nothing to pay";
        assert_eq!(shop.unprepared(&json!({})), nothing);
        let [a, b, c] = [0; 3].map(|_| shop.node.new_address());
        let list = shop.due(&[(&a, 30_000), (&b, 50_000)]);
        // It spends the larger coin, so that only the smaller one is left for the larger payout.
        let id = shop.payouts(&list[0])[0]["id"].clone();
        let first = shop.prepare(&json!({ "only": [id] }));
        let why = shop.unprepared(&json!({}));
        let figures = "50000 sat are needed, 30000 sat are in coins that can be spent now";
        assert!(why.contains(figures) && why.contains("those with 2 confirmations"), "{why}");
        assert!(why.contains("choose fewer payouts"), "{why}");
        // Beside a smaller one it waits.
        let small = shop.due(&[(&c, 10_000)]).remove(0);
        let (status, made) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!((status, &made["pays"]["total_sat"]), (201, &json!(10_000)), "{made}");
        assert_eq!(made["left_out"][0]["id"], shop.payouts(&list[1])[0]["id"]);
        assert!(text(&made["left_out"][0]["why"]).contains("not enough for all"), "{made}");
        shop.through(signer, &made["batch"]);
        shop.payout_in(&small, "confirmed");
        shop.through(signer, &first);
        let why = shop.unprepared(&json!({}));
        assert!(why.contains("50000 sat are needed"), "its change has one confirmation: {why}");
        shop.node.mine(1);
        shop.wait_for_tip();
        let second = shop.prepare(&json!({}));
        assert_eq!(coins_of(&second["pays"]).len(), 3, "{second}");
        shop.through(signer, &second);
        assert_eq!(shop.unprepared(&json!({})), nothing);
        let paid = number(&output_to(&second["pays"], &b)["amount_sat"]);
        assert_eq!(shop.arrived_sat(&b), paid);
    });
}

#[test]
fn a_preview_keeps_nothing_and_is_what_is_made_then() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        let preview = json!({ "feerate_msat_vb": 1234, "preview": true });
        let (status, shown) = shop.try_prepare(&preview);
        assert_eq!((status, &shown["batch"]), (200, &json!(null)), "{shown}");
        assert_eq!(shop.try_prepare(&preview).1, shown, "as often as one likes");
        shop.payout_in(&rented, "due");
        let (_, batches) = shop.operate(Method::GET, "payouts/batches", None);
        assert_eq!(batches["items"], json!([]));
        let other = json!({ "feerate_msat_vb": 2000, "expect_txid": shown["txid"] });
        assert!(shop.unprepared(&other).contains("changed since the preview; look again"));
        let same = json!({ "feerate_msat_vb": 1234, "expect_txid": shown["txid"] });
        let (status, made) = shop.try_prepare(&same);
        assert_eq!(status, 201, "{made}");
        for field in ["txid", "feerate_msat_vb", "pays", "left_out"] {
            assert_eq!(made[field], shown[field], "{field}");
        }
        assert_eq!(
            (&made["batch"]["pays"], &made["batch"]["txid"]),
            (&shown["pays"], &shown["txid"])
        );
        let garbage = json!({ "feerate_msat_vb": 1234, "expect_txid": "x" });
        let (status, answer) = shop.try_prepare(&garbage);
        assert_eq!((status, &answer["errors"][0]["pointer"]), (422, &json!("/expect_txid")));
    });
}

fn with_key(shop: &Shop, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let operator = std::fs::read_to_string(shop.folder().join("admin.key")).unwrap();
    let path = format!("/v1/admin/payouts/{path}");
    let headers = [("idempotency-key", key)];
    shop.ask_with(Method::POST, &path, &headers, Some(operator.trim()), Some(body))
}

#[test]
fn a_batch_asked_for_twice_with_one_key_is_made_once_and_answered_twice() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        shop.wait_for_wallet();
        let body = json!({ "feerate_msat_vb": 1000 });
        let key = "a-key-of-the-operator";
        let (status, made) = with_key(shop, "prepare", key, &body);
        assert_eq!(status, 201, "{made}");
        assert_eq!(with_key(shop, "prepare", key, &body), (201, made.clone()));
        let other = json!({ "feerate_msat_vb": 2000 });
        let (status, refused) = with_key(shop, "prepare", key, &other);
        assert_eq!((status, &refused["code"]), (422, &json!("idempotency_key_reused")));
        let batch = made["batch"].clone();
        let bump = format!("batches/{}/bump", text(&batch["id"]));
        let key = "another-key-of-the-operator";
        let (status, bumped) = with_key(shop, &bump, key, &json!({ "feerate_msat_vb": 3000 }));
        assert_eq!((status, &bumped["batch"]["version"]), (201, &json!(2)), "{bumped}");
        let again = with_key(shop, &bump, key, &json!({ "feerate_msat_vb": 3000 }));
        assert_eq!(again, (201, bumped.clone()));
        shop.through(signer, &bumped["batch"]);
        shop.payout_in(&rented, "confirmed");
        let (status, late) = with_key(shop, &bump, key, &json!({ "feerate_msat_vb": 3000 }));
        assert_eq!((status, &late["batch"]["state"]), (201, &json!("confirmed")), "as it is now");
        let (_, batches) = shop.operate(Method::GET, "payouts/batches", None);
        assert_eq!(batches["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn of_two_that_prepare_at_the_same_moment_one_pays_and_the_other_hears_why() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000), (&to, 30_000)]).remove(0);
        shop.wait_for_wallet();
        let body = json!({ "feerate_msat_vb": 1000 });
        let ask = || shop.try_prepare(&body);
        let answers = std::thread::scope(|scope| {
            let asked = [0; 4].map(|_| scope.spawn(ask));
            asked.map(|it| it.join().unwrap())
        });
        let (made, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|it| it.0 == 201);
        assert_eq!(made.len(), 1, "{answers:?}");
        for (status, answer) in refused {
            assert_eq!((*status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        }
        shop.through(signer, &made[0].1["batch"]);
        shop.payout_in(&rented, "confirmed");
        assert_eq!(shop.accounts()["refunded_sat"], 50_000);
    });
}

#[test]
fn what_is_in_one_batch_is_in_no_other_neither_payouts_nor_coins() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [a, b] = [shop.node.new_address(), shop.node.new_address()];
        shop.due(&[(&a, 20_000)]);
        let first = shop.prepare(&json!({}));
        shop.due(&[(&b, 30_000)]);
        let second = shop.prepare(&json!({}));
        assert_eq!(
            (&first["pays"]["total_sat"], &second["pays"]["total_sat"]),
            (&json!(20_000), &json!(30_000))
        );
        let [one, other] = [&first, &second].map(|batch| coins_of(&batch["pays"]));
        assert!(one.iter().all(|coin| !other.contains(coin)), "{one:?} {other:?}");
        // In any order.
        shop.sign_and_submit(signer, &second);
        shop.sign_and_submit(signer, &first);
        shop.node.mine(1);
        for batch in [&first, &second] {
            shop.all_confirmed(&batch["id"]);
        }
        assert_eq!(number(&shop.accounts()["refunded_sat"]), 50_000);
    });
}

#[test]
fn change_comes_back_as_our_own_coin_and_a_later_batch_spends_it() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let rich = shop.rent("shared", 100_000);
        shop.node.send(&rich.address, 100_000);
        let [a, b] = [shop.node.new_address(), shop.node.new_address()];
        shop.due(&[(&a, 20_000)]);
        let first = shop.prepare(&json!({}));
        let change = change_of(&first["pays"]).unwrap();
        assert_eq!(change["amount_sat"], 80_000, "{first}");
        shop.through(signer, &first);
        let branch = shop.descriptor.replace("<0;1>", "1");
        let checked = shop.node.call("getdescriptorinfo", json!([branch]))["descriptor"].clone();
        let internal = shop.node.call("deriveaddresses", json!([checked, [0, 1]]));
        assert_eq!(change["address"], internal[0]);
        let payment = until("the change to be found", || {
            let (_, list) = shop.operate(Method::GET, "payments", None);
            let items = list["items"].as_array().unwrap();
            let found = items.iter().find(|item| item["amount_sat"] == 80_000);
            found.filter(|item| item["state"] == "credited").cloned().ok_or(list.clone())
        });
        assert_eq!(payment["disposition"], "change", "{payment}");
        let (_, inbox) = shop.operate(Method::GET, "payments?unallocated=true", None);
        assert_eq!(inbox["items"], json!([]), "it belongs to nobody else");
        let path = format!("payments/{}/refund", text(&payment["id"]));
        let (status, refused) = shop.operate(Method::POST, &path, Some(&json!({ "address": a })));
        assert_eq!(status, 422, "{refused}");
        shop.due(&[(&b, 30_000)]);
        let second = shop.prepare(&json!({}));
        let coin = format!("{}:{}", text(&payment["txid"]), payment["vout"]);
        assert_eq!(coins_of(&second["pays"]), [coin], "the largest");
        assert_eq!(change_of(&second["pays"]).unwrap()["address"], internal[1], "a fresh one");
        shop.through(signer, &second);
        assert_eq!(shop.accounts()["received_sat"], 100_000 + 20_000 + 30_000, "no change in it");
    });
}

#[test]
fn a_batch_that_was_sent_is_bumped_and_the_new_version_is_signed_and_mined() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        let batch = shop.prepare(&json!({}));
        shop.sign_and_submit(signer, &batch);
        shop.payout_in(&rented, "broadcast");
        let path = format!("payouts/batches/{}/bump", text(&batch["id"]));
        let low = json!({ "feerate_msat_vb": 1500 });
        let (status, refused) = shop.operate(Method::POST, &path, Some(&low));
        assert_eq!((status, &refused["errors"][0]["pointer"]), (422, &json!("/feerate_msat_vb")));
        assert!(text(&refused["detail"]).contains("to replace version 1"), "{refused}");
        let ask = |body: Value| shop.operate(Method::POST, &path, Some(&body));
        let (status, seen) = ask(json!({ "feerate_msat_vb": 4000, "preview": true }));
        assert_eq!((status, &seen["batch"]), (200, &Value::Null), "{seen}");
        let (status, changed) =
            ask(json!({ "feerate_msat_vb": 5000, "expect_txid": seen["txid"] }));
        assert_eq!((status, &changed["code"]), (409, &json!("conflict")), "{changed}");
        assert_eq!(shop.batch(&batch["id"])["version"], 1, "nothing was made");
        let bumped = shop.bump(&batch, 4000);
        assert_eq!(bumped["pays"], seen["pays"]);
        assert_eq!((&bumped["version"], &bumped["state"]), (&json!(2), &json!("broadcast")));
        assert_ne!((&bumped["psbt"], &bumped["txid"]), (&batch["psbt"], &batch["txid"]));
        assert_eq!(shop.payouts(&rented)[0]["txid"], batch["txid"], "the one in the mempool");
        let sent = shop.sign_and_submit(signer, &bumped);
        assert_eq!(sent["txid"], bumped["txid"]);
        let done = shop.through(signer, &bumped);
        assert_eq!((&done["txid"], &done["version"]), (&bumped["txid"], &json!(2)));
        assert_eq!(shop.payout_in(&rented, "confirmed")["txid"], bumped["txid"]);
        assert_eq!(shop.arrived_sat(&to), 20_000 - number(&bumped["pays"]["fee_sat"]));
        let (status, refused) =
            shop.operate(Method::POST, &path, Some(&json!({ "feerate_msat_vb": 9000 })));
        assert_eq!(status, 409, "{refused}");
        assert!(
            text(&refused["detail"]).contains("is confirmed; it cannot be bumped"),
            "{refused}"
        );
    });
}
