//! A database restored from a backup that is older than a payout: nobody is paid twice.

use std::path::Path;

use reqwest::Method;
use serde_json::json;

use super::{CONFIG, each_signed, number, text};
use crate::harness::daemon::Shop;
use crate::harness::desk::Desk;
use crate::harness::signer::Kind;
use crate::restore::{back_up, set_wallet};

/// Restores, without leaving out so many indexes that the node's wallet needs long for them.
fn go_back(shop: &mut Shop, copy: &Path) {
    set_wallet(shop, "recover_lookahead = 100\nrecover_skip = 100");
    crate::restore::restore(shop, copy);
}

const RESUME: &str = "/operator/batches/resume";

/// Whether overview and pages say that payouts are held, and offer to prepare a batch only else.
fn says_held(shop: &Shop, desk: &Desk<'_>, held: bool) {
    let (status, seen) = shop.operate(Method::GET, "overview", None);
    assert_eq!((status, seen["payouts_held_since"].is_string()), (200, held), "{seen}");
    let home = desk.page("/operator").html;
    assert_eq!(home.contains("notice alarm"), held, "{home}");
    assert_eq!(home.contains("leasehold payouts resume"), held, "{home}");
    for list in ["/operator/payouts", "/operator/batches"] {
        let html = desk.page(list).html;
        assert_eq!(html.contains("/operator/batches/new"), !held, "{html}");
        assert_eq!(html.contains(RESUME), held, "{html}");
    }
}

#[test]
fn what_was_paid_back_after_the_backup_is_found_before_anything_is_prepared() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let (paid_to, waits_to) = (shop.node.new_address(), shop.node.new_address());
        let paid = shop.returned(50_000, Some(&paid_to));
        let waits = shop.returned(40_000, Some(&waits_to));
        shop.node.mine(1);
        let payout = shop.payout_in(&paid, "due");
        shop.payout_in(&waits, "due");
        let copy = shop.folder().join("copy.db");
        back_up(shop, &copy);

        let batch = shop.prepare(&json!({ "only": [payout["id"]] }));
        shop.sign_and_submit(signer, &batch);
        shop.node.mine(1);
        shop.payout_in(&paid, "confirmed");
        let arrived = shop.arrived_sat(&paid_to);
        go_back(shop, &copy);

        // It is due as far as this database knows.
        shop.payout_in(&paid, "due");
        let (status, refused) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!((status, &refused["code"]), (409, &json!("conflict")), "{refused}");
        assert!(text(&refused["detail"]).contains("payouts resume"), "{refused}");
        let desk = shop.desk("desk", &["read", "payout"]);
        says_held(shop, &desk, true);
        let resume = shop.command(&["--json", "payouts", "resume", "--server", shop.url()]);
        let output = { resume }.output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said} {}", String::from_utf8_lossy(&output.stderr));
        let found: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(found["found"].as_array().map(Vec::len), Some(1), "{found}");
        let known = shop.batch_in(&found["found"][0], "confirmed");
        assert_eq!(known["txid"], batch["txid"]);
        shop.payout_in(&paid, "confirmed");
        says_held(shop, &desk, false);
        assert_eq!(desk.page(RESUME).to, "/operator/batches", "nothing is held any more");

        let next = shop.prepare(&json!({}));
        assert_eq!(next["pays"]["total_sat"], shop.payout_in(&waits, "prepared")["amount_sat"]);
        shop.sign_and_submit(signer, &next);
        shop.node.mine(1);
        shop.payout_in(&waits, "confirmed");
        assert_eq!(shop.arrived_sat(&paid_to), arrived, "once");
        assert!(shop.arrived_sat(&waits_to) > 39_000);
    });
}

#[test]
fn an_amount_that_nobody_can_explain_holds_payouts_until_the_operator_says_so() {
    each_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        let to = shop.node.new_address();
        let rented = shop.returned(50_000, Some(&to));
        shop.node.mine(1);
        shop.payout_in(&rented, "due");
        let copy = shop.folder().join("copy.db");
        back_up(shop, &copy);
        // Paid by hand from the same wallet, and so little that it is no fee that is missing.
        let batch = shop.prepare(&json!({}));
        let raw = shop.spend_otherwise(signer, &batch, &[(&to, 9000)]);
        shop.node.call("sendrawtransaction", json!([raw, 0]));
        shop.node.mine(1);
        shop.batch_in(&batch["id"], "conflicted");
        go_back(shop, &copy);

        let resume = |shop: &Shop, force: bool| {
            shop.wait_for_wallet();
            let body = json!({ "force": force });
            shop.operate(Method::POST, "payouts/resume", Some(&body))
        };
        let (status, found) = resume(shop, false);
        assert_eq!((status, &found["resumed"]), (200, &json!(false)), "{found}");
        assert!(text(&found["unclear"][0]).contains("9000 sat"), "{found}");
        assert_eq!(shop.try_prepare(&json!({})).0, 409);
        let desk = shop.desk("desk", &["read", "payout"]);
        shop.desk("weak", &["read", "manage", "admin"]).refused_here(RESUME, "payout", &[]);
        desk.refused_elsewhere(RESUME, &[]);
        let looked = desk.does(RESUME, &[]);
        assert_eq!(looked.status, 200, "{}", looked.html);
        for what in ["9000 sat", "Go on anyway?", "may be paid again"] {
            assert!(looked.html.contains(what), "{what}: {}", looked.html);
        }
        says_held(shop, &desk, true);
        assert_eq!(shop.acts("payout.resume"), 0);
        let done = desk.sends_twice(RESUME, &Desk::filled(&looked.html, &[]));
        assert_eq!((done.status, done.to.as_str()), (303, "/operator/batches"), "{}", done.html);
        says_held(shop, &desk, false);
        assert_eq!(resume(shop, false).1["resumed"], true);
        let (status, answer) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
        assert_eq!(status, 409, "the only coin is spent: {answer}");
        assert!(text(&answer["detail"]).contains("are needed"), "{answer}");
        assert_eq!(number(&shop.claim(&rented)["refunded_sat"]), 0);
    });
}
