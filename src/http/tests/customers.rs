//! What the pages of customers say of money: when it is asked for, when it counts, waits or goes
//! back.

use std::sync::Arc;

use serde_json::{Value, json};

use super::desk::{Answer, Desk, at_desk, at_desk_with, text};
use super::pages::OWN;
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::operate::PauseResource;
use crate::chain::testing::spend;
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::payout::fee::FeePolicy;
use crate::domain::resource::tests::gpu;
use crate::http::HttpState;

/// An address of somebody else.
const OTHER: &str = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
const QR: &str = "class=\"qr\"";

/// A page as the holder of a lease sees it.
pub(super) async fn as_holder(desk: &Desk, created: &Value, path: &str) -> Answer {
    let cookie = format!("leasehold_claim={}", text(created, "/claim_token"));
    desk.call("GET", path).header(OWN.0, OWN.1).header("cookie", &cookie).send().await
}

pub(super) fn page_of(created: &Value) -> String {
    format!("/leases/{}", text(created, "/lease/id"))
}

pub(super) async fn checkout(desk: &Desk, created: &Value) -> String {
    desk.get(&format!("/checkout/{}", text(created, "/invoice/id"))).await.must(200).text
}

pub(super) async fn page(desk: &Desk, created: &Value) -> String {
    as_holder(desk, created, &page_of(created)).await.must(200).text
}

async fn confirmation(desk: &Desk, created: &Value) -> String {
    as_holder(desk, created, &format!("{}/return", page_of(created))).await.must(200).text
}

async fn act(desk: &Desk, created: &Value, action: Action) {
    let lease = LeaseId::parse(text(created, "/lease/id")).unwrap();
    let item = ActOnLease { ground: desk.rig.ground(), lease, action, actor: None };
    desk.rig.db.write(item).await.unwrap();
}

pub(super) async fn pause(desk: &Desk, pause: bool) {
    let (resource, actor) = ("gpu-small".to_owned(), "test".to_owned());
    let item = PauseResource { ground: desk.rig.ground(), resource, pause, actor };
    desk.rig.db.write(item).await.unwrap();
}

pub(super) async fn top_up(desk: &Desk, created: &Value, body: Value) -> Value {
    let path = format!("/v1/leases/{}/invoices", text(created, "/lease/id"));
    desk.post(&path, body).await.must(201).body
}

pub(super) fn has(page: &str, parts: &[&str]) {
    let page = page.replace('\n', " ");
    for part in parts {
        assert!(page.contains(part), "{part}: {page}");
    }
}

pub(super) fn has_not(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part}: {page}");
    }
}

#[test]
fn a_checkout_asks_for_no_money_once_its_lease_is_over() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        has(&checkout(&desk, &lease).await, &[QR, "Pay with bitcoin"]);
        act(&desk, &lease, Action::Revoke).await;
        let over = checkout(&desk, &lease).await;
        has(&over, &["This lease is over: do not pay", "Ask for it again", "content=\"60\""]);
        has_not(&over, &[QR, "Open in wallet", "The price holds until"]);
        desk.pay(&lease, 1000).await;
        let paid = checkout(&desk, &lease).await;
        has(&paid, &["<h1>Can be refunded</h1>", "warn\">Can be refunded</span>"]);
        has_not(&paid, &["Counts", "Your money counts"]);
        let proof = page(&desk, &lease).await;
        has(&proof, &["buys nothing, can be refunded", "no time"]);
        has_not(&proof, &["0 seconds", ">counts<"]);
    });
}

#[test]
fn a_checkout_asks_for_no_money_while_the_resource_takes_none() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let more = top_up(&desk, &lease, json!({ "duration_s": 3600 })).await;
        pause(&desk, true).await;
        let shut = checkout(&desk, &more).await;
        has(&shut, &["<h1>Paused: do not pay now</h1>"]);
        has_not(&shut, &[QR]);
        let shown = page(&desk, &lease).await;
        has(&shown, &["there is no more time to buy"]);
        has_not(&shown, &["Pay for more</button>"]);
        desk.rig.clock.advance_s(7300);
        desk.rig.round().await;
        let grace = page(&desk, &lease).await;
        has(&grace, &["Time has run out", "Access has ended.</p>"]);
        has_not(&grace, &["Pay for more now", "a while"]);
    });
}

#[test]
fn money_that_finds_no_unit_waits_and_can_be_given_back() {
    at_desk(async |mut desk| {
        let (one, two, late) = (desk.lease().await, desk.lease().await, desk.lease().await);
        desk.pay(&one, 1000).await;
        desk.pay(&two, 1000).await;
        desk.pay(&late, 1000).await;
        let paid = checkout(&desk, &late).await;
        has(&paid, &["<h1>Money waits</h1>", "no unit is free", "warn\">Waits</span>"]);
        let shown = page(&desk, &late).await;
        has(&shown, &["<dt>Waits</dt><dd class=\"number\">1,000 sat", ">waits<", "The payment"]);
        has(&shown, &["1,000 sat wait for a unit", "Give the lease back"]);
        has_not(&shown, &["Pay for it", "Banked", "Pay for more</button>"]);
        has(
            &confirmation(&desk, &late).await,
            &["does not begin", "1,000 sat would go back to you"],
        );
    });
}

#[test]
fn money_below_the_shortest_lease_waits_before_and_after_a_lease() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 10).await;
        let part = checkout(&desk, &lease).await;
        has(&part, &["990 sat are missing", "it is kept until more comes", QR]);
        has_not(&part, &["use the time that it buys"]);
        has(&page(&desk, &lease).await, &["less than the shortest lease", "Pay for it"]);
        desk.pay(&lease, 500).await;
        has(&checkout(&desk, &lease).await, &["use the time that it buys"]);
        desk.rig.clock.advance_s(3672 + 600);
        desk.rig.round().await;
        has(&page(&desk, &lease).await, &["Its time was used up.", "10 minutes or more starts"]);
        let back = as_holder(&desk, &lease, &format!("{}/return", page_of(&lease))).await;
        assert_eq!(back.must(303).header("location"), page_of(&lease), "nothing is left");
        desk.pay(&lease, 20).await;
        let late = checkout(&desk, &lease).await;
        has(&late, &["470 sat are missing", "at the price when it is seen", "content=\"60\""]);
        let over = page(&desk, &lease).await;
        has(&over, &["20 sat wait for more", "<dt>Waits</dt>", "Give the lease back"]);
        let asked = confirmation(&desk, &lease).await;
        has(&asked, &["The lease does not start again.", "20 sat would go back to you"]);
        has(&asked, &["Less than 1,000 sat is not sent by itself"]);
    });
}

#[test]
fn what_is_missing_within_the_tolerance_is_not_asked_for() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        let id = InvoiceId::parse(text(&lease, "/invoice/id")).unwrap();
        let script = desk.rig.invoice(&id).await.script_pubkey;
        desk.rig.pay(&[(script, 996)]);
        desk.rig.round().await;
        let seen = checkout(&desk, &lease).await;
        has(&seen, &["On its way"]);
        has_not(&seen, &[QR]);
    });
}

#[test]
fn a_quote_is_said_to_hold_for_a_time_without_scripts_too() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        desk.rig.clock.advance_s(1500);
        has(&checkout(&desk, &lease).await, &[">(in 5 min)</span>"]);
    });
}

#[test]
fn a_receipt_leaves_out_what_was_lost_and_says_what_waits_or_goes_back() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let id = InvoiceId::parse(text(&lease, "/invoice/id")).unwrap();
        let script = desk.rig.invoice(&id).await.script_pubkey;
        let lost = desk.rig.pay(&[(script, 500)]);
        desk.rig.chain.mine_pending();
        desk.rig.round().await;
        let receipt = format!("{}/receipt", page_of(&lease));
        let before = desk.get(&receipt).await.must(200).text;
        has(&before, &["<dt>Time bought</dt><dd>3 hours</dd>", ">counts<"]);
        let rival = spend(&[lost.input[0].previous_output], &[(bitcoin::ScriptBuf::new(), 400)]);
        desk.rig.chain.fork(1, vec![vec![rival], vec![]]);
        desk.rig.round().await;
        let after = desk.get(&receipt).await.must(200).text;
        has(&after, &["<dt>Time bought</dt><dd>2 hours</dd>", ">lost again<"]);
        act(&desk, &lease, Action::Return).await;
        has(&desk.get(&receipt).await.must(200).text, &["<dt>Can go back</dt>"]);
    });
}

#[test]
fn giving_a_request_up_says_what_it_means_for_its_lease() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        let cancel = |invoice: &Value| format!("/checkout/{}/cancel", text(invoice, "/invoice/id"));
        let first = as_holder(&desk, &lease, &cancel(&lease)).await.must(200).text;
        has(&first, &["The unit is free for others again"]);
        desk.pay(&lease, 1000).await;
        let more = top_up(&desk, &lease, json!({ "duration_s": 3600 })).await;
        let asked = as_holder(&desk, &lease, &cancel(&more)).await.must(200).text;
        has(&asked, &["The lease goes on as it is."]);
        has_not(&asked, &["free for others"]);
    });
}

#[test]
fn what_goes_back_is_promised_to_whom_it_goes() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 5000).await;
        let body = json!({ "duration_s": 7200, "refund_address": OTHER });
        let more = top_up(&desk, &lease, body).await;
        desk.pay(&more, 1000).await;
        let script = {
            let id = InvoiceId::parse(text(&lease, "/invoice/id")).unwrap();
            desk.rig.invoice(&id).await.script_pubkey
        };
        desk.rig.pay(&[(script, 700)]);
        desk.rig.round().await;
        let asked = confirmation(&desk, &lease).await;
        has(&asked, &["5,000 sat would go back to you, less the fee of the network"]);
        has(&asked, &["1,000 sat would go back to others who paid for more"]);
        has(&asked, &["700 sat on the way would buy no time any more"]);
        has_not(&asked, &["is not sent by itself"]);
    });
}

#[test]
fn no_fee_is_named_where_the_operator_pays_it() {
    let sender = |state: &mut HttpState| {
        Arc::get_mut(&mut state.batcher).unwrap().rules.fee_policy = FeePolicy::Sender;
    };
    at_desk_with(gpu(), sender, async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 5000).await;
        let asked = confirmation(&desk, &lease).await;
        has(&asked, &["5,000 sat would go back to you, once you name a refund address"]);
        has_not(&asked, &["less the fee"]);
    });
}

#[test]
fn the_end_of_a_lease_is_the_end_of_what_is_paid() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        // 40 days, of which 30 can be used ahead.
        desk.pay(&lease, 480_000).await;
        let shown = desk.get(&format!("/v1/leases/{}", text(&lease, "/lease/id"))).await.body;
        assert_ne!(shown["paid_until"], shown["expires_at"]);
        let second = &text(&shown, "/paid_until")[..19];
        let file = desk.get(&format!("{}/calendar.ics", page_of(&lease))).await.must(200).text;
        has(&file, &[&format!("DTSTART:{}Z", second.replace(['-', ':'], ""))]);
        has_not(&file, &["DTEND"]);
        let until = format!("datetime=\"{second}Z\"");
        has(&page(&desk, &lease).await, &[&until, "<dt>Banked</dt><dd>10 days", "40 days"]);
        act(&desk, &lease, Action::Suspend).await;
        let stopped = page(&desk, &lease).await;
        has(&stopped, &["Stopped by the operator", "40 days left"]);
        has_not(&stopped, &["<dt>Until</dt>"]);
    });
}

#[test]
fn a_page_with_a_form_is_not_taken_away_and_its_state_is_told_without_its_clock() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        let waits = page(&desk, &lease).await;
        has(&waits, &["Look again</a></p></noscript>"]);
        has_not(&waits, &["http-equiv=\"refresh\""]);
        let stranger = desk.get(&page_of(&lease)).await.must(200).text;
        has(&stranger, &["http-equiv=\"refresh\" content=\"10\""]);
        let part = |page: &str, id: &str| {
            let from = page.split_once(&format!("id=\"{id}\" data-live")).expect(id).1;
            from.split_once("</div>").unwrap().0.to_owned()
        };
        has_not(&part(&waits, "more-part"), &["<form"]);
        desk.pay(&lease, 1000).await;
        let runs = page(&desk, &lease).await;
        has(&part(&runs, "what"), &["role=\"status\"", "Running"]);
        has_not(&part(&runs, "what"), &["data-until"]);
        has(&part(&runs, "left"), &["data-until", "2 hours"]);
        has(&part(&runs, "more-part"), &["<form", "id=\"more-form\""]);
        has(&part(&runs, "giving"), &["id=\"return\""]);
        has(&part(&runs, "papers"), &["calendar.ics"]);
        act(&desk, &lease, Action::Return).await;
        let over = page(&desk, &lease).await;
        has_not(&over, &["id=\"more-form\"", "id=\"return\"", "calendar.ics"]);
    });
}
