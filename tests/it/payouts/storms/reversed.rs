//! Money that was paid back and whose payment was reversed afterwards: it is lost, and everybody
//! who has to hear of it does.

use super::*;

/// What a resource's books say of lost money.
fn lost_sat(shop: &Shop, holder: &Holder) -> u64 {
    shop.booked(&holder.rented.lease).lost_sat
}

fn wait_lost(shop: &Shop, holder: &Holder, sat: u64) {
    until("the loss to be booked", || {
        let lost = lost_sat(shop, holder);
        if lost == sat { Ok(()) } else { Err(lost) }
    });
}

/// The batch is paid with other coins, so that it stands when the payment is gone.
fn reversed(shop: &mut Shop, signer: &Signer) {
    deposit(shop, 5_000_000);
    let rented = shop.rent("shared", SAT);
    let paid = shop.node.send(&rented.address, rented.amount_sat);
    let other = shop.node.conflicting(&paid);
    let below = shop.node.height();
    shop.node.mine(1);
    shop.lease_until("the lease to run", &rented.lease, |it| it["state"] == "active");
    shop.give_back(&rented);
    let to = shop.node.new_address();
    shop.refund_to(&rented, &to);
    shop.node.mine(1);
    let due = shop.payout_in(&rented, "due");
    let (owed_sat, payout) = (number(&due["amount_sat"]), text(&due["id"]));
    let holder = Holder { rented, to, owed_sat, payout };
    let batch = shop.prepare(&json!({}));
    assert_eq!(coins(&batch).len(), 1, "the operator's coin");
    let raw = signed(shop, signer, &batch);
    shop.sign_and_submit(signer, &batch);
    shop.node.mine(1);
    all_in(shop, std::slice::from_ref(&holder), "confirmed");
    paid_once(shop, std::slice::from_ref(&holder));
    // The payer takes the payment back, below a batch that stands.
    let with = shop.node.invalidate(shop.node.height() - below);
    let without = shop.node.mine_only(&[other]);
    shop.node.mine_only(&[raw]);
    shop.node.mine_empty(2);
    wait_lost(shop, &holder, owed_sat);
    shop.batch_in(&batch["id"], "confirmed");
    let (status, claim) = shop.ask(Method::GET, "/v1/claims", Some(&holder.rented.claim), None);
    assert_eq!((status, &claim["refundable_sat"]), (200, &json!(0)), "{claim}");
    assert_eq!(shop.count_events(&holder.rented.lease, "payout.lost"), 1);
    let told = shop.log();
    let line = told.lines().find(|line| line.contains("reversed afterwards")).unwrap_or_default();
    assert!(line.contains("ERROR") && line.contains(&holder.rented.lease), "{line}");
    let (_, accounts) = shop.get("/v1/resources/shared/accounts");
    assert!(accounts.to_string().contains(&format!("\"lost_sat\":{owed_sat}")), "{accounts}");
    nothing_due(shop);
    shop.check_books();
    // The chain turns back: nothing was lost after all.
    shop.node.call("invalidateblock", json!([without]));
    shop.node.call("reconsiderblock", json!([with]));
    shop.node.mine(3);
    wait_lost(shop, &holder, 0);
    paid_once(shop, std::slice::from_ref(&holder));
    assert_eq!(shop.count_events(&holder.rented.lease, "payout.lost"), 1);
    assert_eq!(shop.count_events(&holder.rented.lease, "payment.restored"), 1);
}

#[test]
fn a_refund_whose_payment_is_reversed_is_lost_until_the_payment_comes_back() {
    each_signed(Kind::Wpkh, STORM, reversed);
}
