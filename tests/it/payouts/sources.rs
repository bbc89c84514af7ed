//! Where money that goes back comes from: every way in which a lease, or a payment without one,
//! comes to owe.

use reqwest::Method;
use serde_json::{Value, json};

use super::owed::output_to;
use super::{CONFIG, each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::Kind;
use crate::harness::wait::until;

/// Rents, pays and runs; refunds go to `to`.
fn running(shop: &Shop, sat: u64, to: &str) -> Rented {
    let rented = shop.rent("shared", sat);
    shop.node.send(&rented.address, sat);
    shop.node.mine(1);
    shop.lease_until("the lease to run", &rented.lease, |it| it["state"] == "active");
    shop.refund_to(&rented, to);
    rented
}

#[test]
fn what_is_unused_of_a_revoked_lease_goes_back() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = running(shop, 50_000, &to);
        let path = format!("leases/{}/revoke", rented.lease);
        let (status, revoked) = shop.operate(Method::POST, &path, Some(&json!({})));
        assert_eq!((status, &revoked["end_reason"]), (200, &json!("revoked")), "{revoked}");
        let back = number(&revoked["refundable_sat"]);
        assert!((49_900..=50_000).contains(&back), "{revoked}");
        shop.node.mine(1);
        assert_eq!(number(&shop.payout_in(&rented, "due")["amount_sat"]), back);
        let batch = shop.prepare(&json!({}));
        shop.through(signer, &batch);
        // The second that was used pays for a part of the fee: it is too little to come back.
        let fee = number(&output_to(&batch["pays"], &to)["payouts"][0]["fee_sat"]);
        assert_eq!(shop.arrived_sat(&to), back - fee);
        assert_eq!(shop.lease(&rented.lease)["refundable_sat"], 0);
    });
}

#[test]
fn money_to_a_dead_lease_goes_back_whole_and_more_of_it_again() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        let first = shop.prepare(&json!({}));
        shop.through(signer, &first);
        assert_eq!(shop.claim(&rented)["refunded_sat"], 20_000);
        shop.node.send(&rented.address, 7000);
        shop.node.mine(2);
        let list = shop.payouts_in(&rented, &["confirmed", "due"]);
        assert_eq!(
            (&list[0]["amount_sat"], &list[1]["amount_sat"]),
            (&json!(20_000), &json!(7000))
        );
        assert_ne!(list[0]["id"], list[1]["id"]);
        let second = shop.prepare(&json!({}));
        assert_eq!(second["pays"]["total_sat"], 7000, "the first is not in it again");
        shop.through(signer, &second);
        shop.payouts_in(&rented, &["confirmed", "confirmed"]);
        let fees = number(&first["pays"]["fee_sat"]) + number(&second["pays"]["fee_sat"]);
        assert_eq!(shop.arrived_sat(&to), 27_000 - fees);
        let claim = shop.claim(&rented);
        assert_eq!((&claim["refunded_sat"], &claim["refundable_sat"]), (&json!(27_000), &json!(0)));
    });
}

#[test]
fn money_too_little_for_the_shortest_lease_goes_back_when_it_is_given_up() {
    let config = format!("{CONFIG}min_payout_sat = 300\n");
    once_signed(Kind::Wpkh, &config, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.rent("shared", 3600);
        shop.node.send(&rented.address, 500);
        shop.node.mine(2);
        until("it to be held", || {
            let claim = shop.claim(&rented);
            if claim["held_sat"] == 500 { Ok(()) } else { Err(claim) }
        });
        assert_eq!(shop.claim(&rented)["payouts"], json!([]), "not yet");
        shop.give_back(&rented);
        shop.refund_to(&rented, &to);
        shop.payout_in(&rented, "due");
        let batch = shop.prepare(&json!({ "max_fee_pct": 30 }));
        shop.through(signer, &batch);
        assert_eq!(shop.arrived_sat(&to), 500 - number(&batch["pays"]["fee_sat"]));
        let claim = shop.claim(&rented);
        assert_eq!((&claim["held_sat"], &claim["refunded_sat"]), (&json!(0), &json!(500)));
    });
}

#[test]
fn a_top_up_that_named_an_address_gets_its_own_money_there_and_the_claim_the_rest() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let [mine, friends] = [shop.node.new_address(), shop.node.new_address()];
        let rented = running(shop, 10_000, &mine);
        let path = format!("/v1/leases/{}/invoices", rented.lease);
        let body = json!({ "amount_sat": 20_000, "refund_address": friends });
        let topup = text(&shop.post(&path, None, &body)["invoice"]["address"]);
        shop.node.send(&topup, 20_000);
        shop.node.mine(1);
        shop.lease_until("the top-up", &rented.lease, |lease| lease["paid_sat"] == 30_000);
        shop.give_back(&rented);
        let back = number(&shop.lease(&rented.lease)["refundable_sat"]);
        // The first money is used first, so the friend's is untouched. Then both pay once more.
        shop.node.send_many(&[(&topup, 5000), (&rented.address, 4000)]);
        shop.node.mine(2);
        shop.count_due(2);
        // What is the friend's is none of the holder's business.
        let own = back - 20_000 + 4000;
        let claim = until("all to be owed", || {
            let claim = shop.claim(&rented);
            let all = claim["refundable_sat"] == own && claim["payouts"][0]["ready_sat"] == own;
            if all { Ok(claim) } else { Err(claim) }
        });
        assert_eq!(claim["payouts"].as_array().unwrap().len(), 1, "{claim}");
        assert_eq!(shop.lease(&rented.lease)["refundable_sat"], back + 9000);
        let batch = shop.prepare(&json!({}));
        for (address, owed) in [(&friends, 25_000), (&mine, back - 20_000 + 4000)] {
            let output = output_to(&batch["pays"], address);
            assert_eq!(output["payouts"][0]["amount_sat"], owed, "{batch}");
        }
        shop.through(signer, &batch);
        assert_eq!(shop.claim(&rented)["refunded_sat"], own);
        let arrived = shop.arrived_sat(&friends);
        assert_eq!(arrived, number(&output_to(&batch["pays"], &friends)["amount_sat"]));
    });
}

#[test]
fn leases_of_one_claim_to_one_address_leave_in_one_output() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let first = shop.given_up(&to);
        let mut pay = vec![(first.address.clone(), 10_001)];
        for sat in [10_002, 10_003] {
            let body = json!({ "resource": "shared", "duration_s": 3600 });
            let answer = shop.post("/v1/leases", Some(&first.claim), &body);
            assert!(answer["claim_token"].is_null(), "{answer}");
            let joined = Rented { claim: first.claim.clone(), ..Shop::rented(&answer) };
            shop.give_back(&joined);
            pay.push((joined.address, sat));
        }
        let pay: Vec<_> = pay.iter().map(|(address, sat)| (address.as_str(), *sat)).collect();
        shop.node.send_many(&pay);
        shop.node.mine(2);
        shop.payouts_in(&first, &["due", "due", "due"]);
        let batch = shop.prepare(&json!({}));
        let output = output_to(&batch["pays"], &to);
        let shares = output["payouts"].as_array().unwrap();
        assert_eq!((shares.len(), &batch["pays"]["total_sat"]), (3, &json!(30_006)), "{batch}");
        let fees: u64 = shares.iter().map(|share| number(&share["fee_sat"])).sum();
        assert_eq!(fees, number(&batch["pays"]["fee_sat"]));
        assert_eq!(number(&output["amount_sat"]), 30_006 - fees);
        shop.through(signer, &batch);
        let list = shop.payouts_in(&first, &["confirmed", "confirmed", "confirmed"]);
        assert!(list.iter().all(|payout| payout["txid"] == batch["txid"]), "{list:?}");
        assert_eq!(shop.claim(&first)["refunded_sat"], 30_006);
    });
}

/// The only payout of a subject, as the operator sees it, in a state.
fn payout_of(shop: &Shop, subject: &str, state: &str) -> Value {
    until(&format!("{subject} to be {state}"), || {
        let (_, list) = shop.operate(Method::GET, "payouts", None);
        let items = list["items"].as_array().unwrap();
        let found = items.iter().find(|it| it["subject"] == subject && it["state"] == state);
        found.cloned().ok_or(list.clone())
    })
}

/// 30,000 sat on an address that was never given out; the payment's id.
fn stray(shop: &Shop) -> String {
    shop.node.send(&shop.address(40), 30_000);
    shop.node.mine(1);
    until("the money to be found", || {
        let (_, list) = shop.operate(Method::GET, "payments?unallocated=true", None);
        list["items"][0]["id"].as_str().map(str::to_owned).ok_or(list)
    })
}

#[test]
fn money_in_a_batch_goes_where_that_pays_it_and_nobody_is_told_otherwise() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let id = stray(shop);
        let [to, other] = [shop.node.new_address(), shop.node.new_address()];
        let path = format!("payments/{id}/refund");
        let refund = |address: &str| {
            let (status, answer) =
                shop.operate(Method::POST, &path, Some(&json!({ "address": address })));
            (status, answer["refund_address"] == address, answer["detail"].clone())
        };
        let told = |why: &str| {
            let (status, _, detail) = refund(&other);
            assert_eq!((status, text(&detail).as_str()), (409, why));
            assert_eq!(refund(&to).0, 200, "as it is already");
            let page = shop.operate(Method::GET, &format!("payments/{id}"), None).1;
            assert_eq!(page["refund_address"], to);
        };
        let desk = shop.desk("desk", &["read", "manage"]);
        let form = format!("/operator/payments/{id}/refund");
        let offered = || desk.page(&format!("/operator/payments/{id}")).html.contains(&form);
        assert_eq!(refund(&other).0, 200);
        assert_eq!(refund(&to).0, 200, "until it is in a batch");
        shop.node.mine(1);
        payout_of(shop, &id, "due");
        assert!(offered());
        let given_up = shop.prepare(&json!({}));
        let batch = text(&given_up["id"]);
        told(&format!("it is in {batch}; abandon that first"));
        assert!(!offered());
        let wrong = desk.does(&form, &[("address", &other)]);
        assert!(wrong.status == 409 && wrong.html.contains("abandon that first"), "{}", wrong.html);
        let already = format!("go back to {to} already");
        for part in [id.as_str(), "30,000 sat", &already, &other] {
            assert!(wrong.html.contains(part), "{part}: {}", wrong.html);
        }
        let abandon = format!("payouts/batches/{batch}/abandon");
        assert_eq!(shop.operate(Method::POST, &abandon, Some(&json!({}))).0, 200);
        assert!(offered());
        assert_eq!((refund(&other).0, refund(&to).0), (200, 200), "it is in none");

        let made = shop.prepare(&json!({ "feerate_msat_vb": 2000 }));
        let batch = text(&made["id"]);
        shop.sign_and_submit(signer, &made);
        payout_of(shop, &id, "broadcast");
        told(&format!("it is in {batch}; abandon that first"));
        shop.node.mine(1);
        payout_of(shop, &id, "confirmed");
        told(&format!("it was paid back by {batch}"));
        assert!(!offered());
        assert_eq!(shop.acts("payment.refund"), 4);
        assert_eq!(shop.arrived_sat(&other), 0);
    });
}

#[test]
fn of_more_than_a_batch_takes_the_smallest_stay_due_and_that_is_said_before() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let (stray, to) = (shop.address(40), shop.node.new_address());
        let pay: Vec<(&str, u64)> = (0..252).map(|n| (stray.as_str(), 3000 + n)).collect();
        for part in pay.chunks(84) {
            shop.node.send_many(part);
            shop.node.mine(1);
        }
        shop.node.mine(1);
        let inbox = |part: &str| {
            let path = format!("payments?unallocated=true&limit=200{part}");
            shop.operate(Method::GET, &path, None).1
        };
        let (first, rest) = until("all of it to be found", || {
            let first = inbox("");
            let cursor = first["next_cursor"].as_str().map(|it| format!("&cursor={it}"));
            let rest = inbox(&cursor.unwrap_or_default());
            let whole = rest["items"].as_array().is_some_and(|rest| rest.len() == 52);
            if whole { Ok((first, rest)) } else { Err(rest) }
        });
        for list in [&first, &rest] {
            for payment in list["items"].as_array().unwrap() {
                let path = format!("payments/{}/refund", text(&payment["id"]));
                let body = json!({ "address": to });
                assert_eq!(shop.operate(Method::POST, &path, Some(&body)).0, 200);
            }
        }
        let (status, made) = shop.try_prepare(&json!({ "preview": true, "feerate_msat_vb": 1000 }));
        assert_eq!((status, &made["more_due"]), (200, &json!(2)), "{made}");
        let largest: u64 = (2..252).map(|n| 3000 + n).sum();
        assert_eq!(made["pays"]["total_sat"], largest);
        let desk = shop.desk("desk", &["read", "payout"]);
        let form = desk.page("/operator/batches/new").html;
        assert!(form.contains("up to 250 payouts, the largest first; 2 more stay due"), "{form}");
        let shown = |sat: &str| form.contains(&format!(">{sat} sat<"));
        let ends = ["3,251", "3,002", "3,001", "3,000"].map(shown);
        assert_eq!(ends, [true, true, false, false], "{form}");
        let preview = desk.does("/operator/batches/new", &[("feerate", "1")]).html;
        assert!(preview.contains("2 more stay due"), "{preview}");
        let prepare =
            shop.command(&["payouts", "prepare", "--feerate", "1", "--server", shop.url()]);
        let said = { prepare }.output().expect("the program starts").stdout;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("2 more stay due"), "{said}");
    });
}

#[test]
fn money_on_an_index_never_issued_goes_back_where_the_operator_says() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let id = stray(shop);
        let [wrong, to] = [shop.node.new_address(), shop.node.new_address()];
        for address in [&wrong, &to] {
            let body = json!({ "address": address });
            let path = format!("payments/{id}/refund");
            let (status, answer) = shop.operate(Method::POST, &path, Some(&body));
            assert_eq!((status, &answer["refund_address"]), (200, &json!(address)), "{answer}");
            assert_eq!(answer["disposition"], "refundable");
        }
        let payout = payout_of(shop, &id, "waiting");
        assert_eq!(
            (&payout["waits_for"], &payout["address"]),
            (&json!("confirmations"), &json!(to))
        );
        assert_eq!(payout["resource"], json!(null));
        shop.node.mine(1);
        payout_of(shop, &id, "due");
        let batch = shop.prepare(&json!({}));
        shop.through(signer, &batch);
        payout_of(shop, &id, "confirmed");
        let (_, paid) = shop.operate(Method::GET, &format!("payments/{id}"), None);
        assert_eq!(paid["disposition"], "refunded", "{paid}");
        assert_eq!(shop.arrived_sat(&to), 30_000 - number(&batch["pays"]["fee_sat"]));
        assert_eq!(shop.arrived_sat(&wrong), 0);
        let (_, ledger) = shop.operate(Method::GET, "ledger", None);
        let of = |account: &str| -> i64 {
            let items = ledger["items"].as_array().unwrap().iter();
            let own = items.filter(|item| item["account"] == account);
            own.map(|item| item["amount_sat"].as_i64().unwrap()).sum()
        };
        let places = ["received", "unallocated", "refundable", "refunded"].map(of);
        assert_eq!(places, [30_000, 0, 0, -30_000], "{ledger}");
    });
}
