//! Payouts on operators' pages alone: prepared, approved by a second person, signed elsewhere, handed
//! in, with a higher fee, given up. Whatever is clicked twice is done once.

use serde_json::{Value, json};

use super::{each_signed, number, text};
use crate::harness::daemon::Shop;
use crate::harness::desk::{Desk, items};
use crate::harness::signer::{Kind, Signer};

const TWO_PERSONS: &str = "[payouts]\npayout_confirmations = 2\nrequire_approval = true\n";
const NEW: &str = "/operator/batches/new";

/// Prepares everything that is due; the path of the batch's page.
fn prepared(shop: &Shop, desk: &Desk<'_>, feerate: &str, shows: &[&str]) -> String {
    shop.wait_for_wallet();
    let preview = desk.does(NEW, &[("feerate", feerate)]);
    assert_eq!(preview.status, 200, "{}", preview.html);
    for part in shows {
        assert!(preview.html.contains(part), "{part}: {}", preview.html);
    }
    let before = items(shop, "payouts/batches").len();
    let made = desk.sends_twice(NEW, &Desk::filled(&preview.html, &[]));
    assert_eq!(made.status, 303, "{}", made.html);
    assert_eq!(items(shop, "payouts/batches").len(), before + 1);
    made.to
}

fn batch_at(shop: &Shop, page: &str) -> Value {
    shop.batch(&json!(page.rsplit('/').next()))
}

/// Downloads the file, signs it and hands it in twice.
fn signed(desk: &Desk<'_>, signer: &Signer, page: &str) {
    let file = desk.page(&format!("{page}/psbt"));
    let psbt = signer.sign(&file.html);
    let sent = desk.clicks_twice(&format!("{page}/submit"), &[("psbt", &psbt)]);
    assert_eq!((sent.status, sent.to.as_str()), (303, page), "{}", sent.html);
}

#[test]
fn two_persons_pay_on_pages_alone_and_only_signing_is_done_elsewhere() {
    each_signed(Kind::Wpkh, TWO_PERSONS, |shop, signer| {
        let first = shop.desk("first", &["read", "payout"]);
        let second = shop.desk("second", &["read", "payout"]);
        let weak = shop.desk("weak", &["read", "manage", "admin"]);
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        weak.refused_here(NEW, "payout", &[("feerate", "1")]);
        first.refused_elsewhere(NEW, &[("feerate", "1")]);
        let wrong = first.does(NEW, &[("feerate", "0.01")]);
        assert!(wrong.status == 422 && wrong.html.contains("id=\"error-feerate\">Give satoshis"));
        let page = prepared(
            shop,
            &first,
            "1.5",
            &[&to, "20,000 sat of what is owed", "fee at 1.5 sat/vB"],
        );
        let batch = batch_at(shop, &page);
        assert_eq!((&batch["state"], &batch["needs_approval"]), (&json!("prepared"), &json!(true)));

        // Only somebody else approves, and nothing leaves before.
        let approve = format!("{page}/approve");
        assert!(!first.page(&page).html.contains(&approve));
        assert!(second.page(&page).html.contains(&approve));
        assert!(!weak.page(&page).html.contains(&approve));
        for own in [first.page(&approve), first.send(&approve, &[("version", "1")])] {
            assert!(own.status == 403 && own.html.contains("another one must"), "{}", own.html);
            assert!(!own.html.contains("You are the second person"), "{}", own.html);
        }
        let psbt = signer.sign(&first.page(&format!("{page}/psbt")).html);
        let submit = format!("{page}/submit");
        assert!(first.page(&submit).html.contains("It waits for approval"));
        let early = first.does(&submit, &[("psbt", &psbt)]);
        assert!(early.status == 403 && early.html.contains("must approve it first"));
        weak.refused_here(&approve, "payout", &[("version", "1")]);
        second.refused_elsewhere(&approve, &[]);
        assert!(second.page(&approve).html.contains(&to), "what is paid to whom");
        assert_eq!(batch_at(shop, &page)["needs_approval"], true);
        assert_eq!(second.clicks_twice(&approve, &[]).to, page);
        assert_eq!(shop.acts("payout.approve"), 1);
        let done = second.page(&approve);
        assert!(done.status == 409 && done.html.contains("nobody&#39;s approval"), "{}", done.html);
        assert!(!first.page(&submit).html.contains("It waits for approval"));

        // Signed elsewhere and handed in, exactly as it was prepared.
        let bare = first.does(&submit, &[("psbt", &text(&batch["psbt"]))]);
        assert!(bare.status == 422 && bare.html.contains("id=\"error-psbt\""), "{}", bare.html);
        weak.refused_here(&submit, "payout", &[("psbt", &psbt)]);
        first.refused_elsewhere(&submit, &[("psbt", &psbt)]);
        assert_eq!(shop.acts("payout.submit"), 0);
        signed(&first, signer, &page);
        assert_eq!(shop.acts("payout.submit"), 1);
        shop.payout_in(&rented, "broadcast");

        // A higher fee is another version, to be approved again.
        let bump = format!("{page}/bump");
        weak.refused_here(&bump, "payout", &[("feerate", "5")]);
        let low = first.does(&bump, &[("feerate", "1.6")]);
        assert!(low.status == 422 && low.html.contains("id=\"error-feerate\""), "{}", low.html);
        let least = low.html.split("which takes ").nth(1).expect("a rate");
        let (least, _) = least.split_once(" sat/vB (feerate_msat_vb ").expect("a rate");
        let preview = first.does(&bump, &[("feerate", least)]);
        assert_eq!(preview.status, 200, "what it says is enough: {}", preview.html);
        assert!(preview.html.contains(&format!("at {least} sat/vB; version 1 has")));
        let after = |html: &str, words: &str| -> u64 {
            let rest = html.split(words).nth(1).unwrap_or_default();
            rest.split(' ').next().unwrap_or_default().parse().expect("satoshis")
        };
        let [least, new] = [(&low, "it must be at least "), (&preview, "The fee becomes ")]
            .map(|(page, words)| after(&page.html, words));
        assert!((least..=least + 1).contains(&new), "{least} {new}");
        assert_eq!(batch_at(shop, &page)["versions"].as_array().map(Vec::len), Some(1));
        let wrong = first.does(&bump, &[("feerate", "5"), ("max_fee_pct", "none")]);
        assert!(wrong.html.contains("id=\"error-max_fee_pct\">Give a whole number from 1 to 100"));
        let high = first.does(&bump, &[("feerate", "50"), ("max_fee_pct", "1")]);
        assert!(high.status == 409 && high.html.contains("name=\"max_fee_pct\""), "{}", high.html);
        // What was looked at is what is made.
        let seen = first.does(&bump, &[("feerate", "5")]);
        let mut other = Desk::filled(&seen.html, &[]);
        other.iter_mut().filter(|it| it.0 == "feerate").for_each(|it| it.1 = "6");
        let changed = first.send(&bump, &other);
        assert!(changed.status == 409 && changed.html.contains("look again"), "{}", changed.html);
        assert_eq!(first.sends_twice(&bump, &Desk::filled(&seen.html, &[])).to, page);
        let bumped = batch_at(shop, &page);
        assert_eq!(bumped["versions"].as_array().map(Vec::len), Some(2));
        let fee = format!("The fee becomes {} sat", number(&bumped["pays"]["fee_sat"]));
        assert!(seen.html.contains(&fee), "{fee}: {}", seen.html);
        assert_eq!(second.does(&approve, &[]).status, 303);
        signed(&first, signer, &page);
        shop.batch_in(&batch["id"], "broadcast");
        shop.node.mine(1);
        shop.batch_in(&batch["id"], "confirmed");
        assert!(shop.arrived_sat(&to) > 19_000);
        let abandon = format!("{page}/abandon");
        for late in [first.page(&abandon), first.send(&abandon, &[])] {
            assert!(late.status == 409 && late.html.contains("it has paid"), "{}", late.html);
        }
    });
}

#[test]
fn a_batch_is_given_up_on_its_page_once_and_its_payouts_leave_with_another() {
    each_signed(Kind::Wpkh, super::CONFIG, |shop, signer| {
        let desk = shop.desk("desk", &["read", "payout"]);
        let weak = shop.desk("weak", &["read", "manage", "admin"]);
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        let page = prepared(shop, &desk, "1.5", &[&to]);
        let abandon = format!("{page}/abandon");
        weak.refused_here(&abandon, "payout", &[]);
        desk.refused_elsewhere(&abandon, &[]);
        assert_eq!(batch_at(shop, &page)["state"], "prepared");
        assert!(desk.page(&abandon).html.contains(&to), "what is paid to whom");
        assert_eq!(desk.clicks_twice(&abandon, &[]).to, page);
        assert_eq!(batch_at(shop, &page)["state"], "abandoned");
        assert_eq!(shop.acts("payout.abandon"), 1);
        shop.payout_in(&rented, "due");
        let other = prepared(shop, &desk, "2", &[&to]);
        assert_ne!(other, page);
        // Its file is not taken on the page of another one.
        let psbt = signer.sign(&desk.page(&format!("{other}/psbt")).html);
        let submit = format!("{page}/submit");
        let gone = desk.page(&submit);
        assert!(gone.status == 409 && gone.html.contains("nothing of it"), "{}", gone.html);
        let there = desk.send(&submit, &[("psbt", &psbt)]);
        assert!(there.status == 422 && there.html.contains("not of this one"), "{}", there.html);
        signed(&desk, signer, &other);
        shop.node.mine(1);
        shop.batch_in(&json!(other.rsplit('/').next()), "confirmed");
        shop.payout_in(&rented, "confirmed");
    });
}

#[test]
fn signatures_of_several_signers_are_handed_in_on_a_page_one_after_the_other() {
    super::once_signed(Kind::Wsh2of3, super::CONFIG, |shop, signer| {
        let desk = shop.desk("desk", &["read", "payout"]);
        let to = shop.node.new_address();
        shop.due(&[(&to, 20_000)]);
        let page = prepared(shop, &desk, "1.5", &[&to]);
        let submit = format!("{page}/submit");
        let bare = desk.page(&format!("{page}/psbt")).html;
        for _ in 0..2 {
            let one = desk.does(&submit, &[("psbt", &signer.sign_with(&bare, 0))]);
            assert_eq!(one.status, 200, "{}", one.html);
            let said = one.html.split("role=\"status\">").nth(1).unwrap_or_default();
            assert!(said.starts_with("The signatures are kept: 1 signature(s)"), "{}", one.html);
        }
        assert_eq!(batch_at(shop, &page)["state"], "prepared");
        let both = desk.does(&submit, &[("psbt", &signer.sign_with(&bare, 2))]);
        assert_eq!((both.status, both.to.as_str()), (303, page.as_str()), "{}", both.html);
        shop.batch_in(&json!(page.rsplit('/').next()), "broadcast");
        shop.node.mine(1);
        shop.batch_in(&json!(page.rsplit('/').next()), "confirmed");
    });
}
