//! Who may do what: scopes, and batches that a second person must approve.

use reqwest::Method;
use serde_json::{Value, json};

use super::{each_signed, once_signed, text};
use crate::harness::daemon::Shop;
use crate::harness::signer::Kind;

const TWO_PERSONS: &str = "[payouts]\npayout_confirmations = 2\nrequire_approval = true\n";

/// Makes an API key; its token.
fn key(shop: &Shop, name: &str, scopes: &[&str]) -> String {
    let body = json!({ "name": name, "scopes": scopes });
    let (status, answer) = shop.operate(Method::POST, "keys", Some(&body));
    assert_eq!(status, 201, "{answer}");
    text(&answer["token"])
}

fn approve(shop: &Shop, key: &str, batch: &Value) -> (u16, Value) {
    let path = format!("payouts/batches/{}/approve", text(&batch["id"]));
    shop.operate_as(key, Method::POST, &path, Some(&json!({ "version": batch["version"] })))
}

/// The refusal of a batch that nobody approved.
fn waits_for_another(shop: &Shop, signed: &str, sat: u64) {
    let (status, answer) = shop.try_submit(signed);
    assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{answer}");
    let why = format!("pays {sat} sat: another API key with scope payout must approve it first");
    assert!(text(&answer["detail"]).ends_with(&why), "{answer}");
}

#[test]
fn a_batch_is_sent_once_a_second_person_has_approved_it_and_so_is_its_bump() {
    each_signed(Kind::Wpkh, TWO_PERSONS, |shop, signer| {
        let second = key(shop, "second", &["payout", "read"]);
        let first = std::fs::read_to_string(shop.folder().join("admin.key")).unwrap();
        let rented = shop.due(&[(&shop.node.new_address(), 20_000)]).remove(0);
        let batch = shop.prepare(&json!({}));
        assert_eq!(batch["needs_approval"], true);
        let signed = signer.sign(&text(&batch["psbt"]));
        waits_for_another(shop, &signed, 20_000);
        let (status, answer) = approve(shop, first.trim(), &batch);
        assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{answer}");
        assert!(text(&answer["detail"]).contains("cannot approve it; another one must"));
        let (status, answer) = approve(shop, &second, &json!({ "id": batch["id"], "version": 2 }));
        assert_eq!((status, &answer["code"]), (409, &json!("conflict")), "{answer}");
        for _ in 0..2 {
            let (status, approved) = approve(shop, &second, &batch);
            assert_eq!((status, &approved["needs_approval"]), (200, &json!(false)), "{approved}");
            let by = text(&approved["versions"][0]["approved_by"]);
            assert_ne!(by, text(&approved["versions"][0]["created_by"]));
        }
        shop.sign_and_submit(signer, &batch);
        shop.payout_in(&rented, "broadcast");
        // The approval was for that fee.
        let bumped = shop.bump(&batch, 5000);
        assert_eq!((&bumped["version"], &bumped["needs_approval"]), (&json!(2), &json!(true)));
        let signed = signer.sign(&text(&bumped["psbt"]));
        waits_for_another(shop, &signed, 20_000);
        assert_eq!(approve(shop, first.trim(), &bumped).0, 403);
        assert_eq!(approve(shop, &second, &bumped).0, 200);
        let done = shop.through(signer, &bumped);
        assert_eq!((&done["version"], &done["needs_approval"]), (&json!(2), &json!(false)));
        let (_, log) = shop.operate(Method::GET, "audit-log", None);
        let actions: Vec<_> = log["items"].as_array().unwrap().iter().rev().collect();
        let actions = actions.iter().map(|it| text(&it["action"]));
        let payouts: Vec<_> = actions.filter(|it| it.starts_with("payout.")).collect();
        let expected = ["prepare", "approve", "submit", "bump", "approve", "submit"];
        assert_eq!(payouts, expected.map(|action| format!("payout.{action}")));
    });
}

#[test]
fn small_batches_need_no_second_person() {
    let config = format!("{TWO_PERSONS}approval_above_sat = 20000\n");
    once_signed(Kind::Wpkh, &config, |shop, signer| {
        let to = shop.node.new_address();
        shop.due(&[(&to, 20_000)]);
        let small = shop.prepare(&json!({}));
        assert_eq!(small["needs_approval"], false, "up to the limit");
        shop.through(signer, &small);
        shop.due(&[(&to, 20_001)]);
        let large = shop.prepare(&json!({}));
        assert_eq!(large["needs_approval"], true);
        waits_for_another(shop, &signer.sign(&text(&large["psbt"])), 20_001);
        let second = key(shop, "second", &["payout"]);
        assert_eq!(approve(shop, &second, &large).0, 200);
        shop.through(signer, &large);
    });
}

#[test]
fn without_the_scope_payout_nothing_of_it_is_written() {
    once_signed(Kind::Wpkh, TWO_PERSONS, |shop, signer| {
        let rented = shop.due(&[(&shop.node.new_address(), 20_000)]).remove(0);
        let batch = shop.prepare(&json!({}));
        let signed = signer.sign(&text(&batch["psbt"]));
        let id = text(&batch["id"]);
        let weak = key(shop, "desk", &["read", "manage", "admin"]);
        let claim = rented.claim.as_str();
        let writes = [
            ("payouts/prepare".to_owned(), json!({ "preview": true, "feerate_msat_vb": 1000 })),
            ("payouts/prepare".to_owned(), json!({ "feerate_msat_vb": 1000 })),
            ("payouts/submit".to_owned(), json!({ "psbt": signed })),
            (format!("payouts/batches/{id}/bump"), json!({ "feerate_msat_vb": 5000 })),
            (format!("payouts/batches/{id}/approve"), json!({ "version": 1 })),
            (format!("payouts/batches/{id}/abandon"), json!({})),
        ];
        for (path, body) in &writes {
            let (status, answer) = shop.operate_as(&weak, Method::POST, path, Some(body));
            assert_eq!((status, &answer["code"]), (403, &json!("forbidden")), "{path}: {answer}");
            assert!(text(&answer["detail"]).contains("lacks the scope payout"), "{answer}");
            for nobody in [claim, "key_x"] {
                let (status, answer) = shop.operate_as(nobody, Method::POST, path, Some(body));
                assert!(status == 401 || status == 403, "{path}: {status} {answer}");
            }
        }
        assert_eq!(shop.batch(&batch["id"]), batch);
        let blind = key(shop, "signer", &["payout"]);
        let payout = text(&shop.payouts(&rented)[0]["id"]);
        for path in [
            "payouts",
            "payouts/batches",
            &format!("payouts/{payout}"),
            &format!("payouts/batches/{id}"),
        ] {
            assert_eq!(shop.operate_as(&weak, Method::GET, path, None).0, 200, "{path}");
            assert_eq!(shop.operate_as(&blind, Method::GET, path, None).0, 403, "{path}");
        }
    });
}
