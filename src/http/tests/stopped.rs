//! A resource that is paused or taken off the list: what pages say of money then, and that open
//! ones hear of it although no event tells.

use futures_util::StreamExt;
use serde_json::{Value, json};

use super::access::{followed, message, stream};
use super::customers::{checkout, has, has_not, page, page_of, pause, top_up};
use super::desk::{Desk, at_desk, text};
use crate::app::apply_catalog::ApplyCatalog;
use crate::clock::Clock as _;
use crate::domain::ids::InvoiceId;

const QR: &str = "class=\"qr\"";

pub(super) async fn retire(desk: &Desk) {
    let now = desk.rig.clock.now();
    let item = ApplyCatalog { catalog: Vec::new(), now, actor: None, dry_run: false, expect: None };
    desk.rig.db.write(item).await.unwrap();
}

/// Sends money that is in no block yet.
async fn send(desk: &mut Desk, created: &Value, sat: u64) {
    let id = InvoiceId::parse(text(created, "/invoice/id")).unwrap();
    let script = desk.rig.invoice(&id).await.script_pubkey;
    desk.rig.pay(&[(script, sat)]);
    desk.rig.round().await;
}

async fn mine(desk: &mut Desk) {
    desk.rig.chain.mine_pending();
    desk.rig.round().await;
}

#[test]
fn an_unpaid_request_is_not_to_be_paid_while_paused_and_can_be_paid_when_it_goes_on() {
    at_desk(async |desk| {
        let lease = desk.lease().await;
        pause(&desk, true).await;
        let shut = checkout(&desk, &lease).await;
        has(&shut, &["Paused: do not pay now", "only be refunded", "content=\"60\""]);
        has_not(&shut, &[QR, "on its way", "goes on counting", "What came before"]);
        let shown = page(&desk, &lease).await;
        has(&shown, &[">Paused</span>", "no money for this at the moment: do not pay now."]);
        has_not(&shown, &["Waits for payment", "Pay for it"]);
        pause(&desk, false).await;
        has(
            &checkout(&desk, &lease).await,
            &["Pay with bitcoin", QR, "content=\"30\"", "Look again"],
        );
        has(&page(&desk, &lease).await, &["Waits for payment", "Pay for it"]);
        retire(&desk).await;
        let gone = checkout(&desk, &lease).await;
        has(&gone, &["Not offered any more: do not pay", "taken this off the list", "only be"]);
        has_not(&gone, &[QR, "at the moment"]);
        has(&page(&desk, &lease).await, &[">Not offered any more</span>", "do not pay."]);
    });
}

#[test]
fn money_on_its_way_into_a_pause_counts_only_if_that_ends_in_time() {
    at_desk(async |mut desk| {
        let (early, late) = (desk.lease().await, desk.lease().await);
        send(&mut desk, &early, 1000).await;
        has(&checkout(&desk, &early).await, &["On its way", "counts by itself", "content=\"10\""]);
        pause(&desk, true).await;
        let shut = checkout(&desk, &early).await;
        has(&shut, &["Paused: do not pay now", "buys time only if this goes on before"]);
        has_not(&shut, &["it counts by itself"]);
        pause(&desk, false).await;
        mine(&mut desk).await;
        has(&page(&desk, &early).await, &["Running"]);
        send(&mut desk, &late, 1000).await;
        pause(&desk, true).await;
        mine(&mut desk).await;
        let paid = checkout(&desk, &late).await;
        has(&paid, &["<h1>Can be refunded</h1>"]);
        let shown = page(&desk, &late).await;
        has(&shown, &[">Paused</span>", "1,000 sat can go back."]);
        has_not(&shown, &["Money waits"]);
        // What came too early stays refundable when it goes on.
        pause(&desk, false).await;
        has(&checkout(&desk, &late).await, &["<h1>Can be refunded</h1>"]);
        retire(&desk).await;
        let more = checkout(&desk, &early).await;
        has(&more, &["<h1>Paid</h1>", "the lease has its time"]);
    });
}

#[test]
fn money_that_counted_before_a_pause_is_said_to_count_or_to_wait() {
    at_desk(async |mut desk| {
        let (short, little) = (desk.lease().await, desk.lease().await);
        desk.pay(&short, 500).await;
        desk.pay(&little, 10).await;
        pause(&desk, true).await;
        let part = checkout(&desk, &short).await;
        has(&part, &["Paused: do not pay now", "What counted before goes on counting."]);
        has_not(&part, &["What came before waits"]);
        let held = checkout(&desk, &little).await;
        has(&held, &["What came before waits until the operator lets this go on"]);
        has_not(&held, &["goes on counting"]);
        has(&page(&desk, &little).await, &["Money waits", "until the operator, who has stopped"]);
        let shown = desk.get("/resources/gpu-small").await.must(200).text;
        has(&shown, &["Paused: the operator takes no money", "http-equiv=\"refresh\""]);
        has_not(&shown, &["id=\"ask\""]);
        pause(&desk, false).await;
        let shown = desk.get("/resources/gpu-small").await.must(200).text;
        has(&shown, &["id=\"ask\""]);
        has_not(&shown, &["takes no money", "http-equiv=\"refresh\""]);
    });
}

#[test]
fn streams_tell_of_a_pause_and_of_its_end_though_nothing_in_the_object_changes() {
    at_desk(async |mut desk| {
        let lease = desk.lease().await;
        desk.pay(&lease, 1000).await;
        let more = top_up(&desk, &lease, json!({ "duration_s": 3600 })).await;
        let invoice = format!("/v1/invoices/{}/events", text(&more, "/invoice/id"));
        let paths = [invoice, format!("/v1{}/events", page_of(&lease))];
        followed(&desk, async {
            for path in &paths {
                let mut frames = stream(&desk, path, None).await;
                let (number, before) = message(&mut frames).await;
                pause(&desk, true).await;
                let (none, paused) = message(&mut frames).await;
                assert_eq!((none.as_str(), &paused), ("", &before), "{path}");
                // Who was away meanwhile is shown what is.
                let mut away = stream(&desk, path, Some(&number)).await;
                assert_eq!(message(&mut away).await.0, "", "{path}");
                pause(&desk, false).await;
                let (again, resumed) = message(&mut frames).await;
                assert_eq!((again, &resumed), (number, &before), "{path}");
            }
        })
        .await;
    });
}

#[test]
fn the_stream_of_a_resource_tells_of_a_pause_and_ends_with_it() {
    at_desk(async |desk| {
        followed(&desk, async {
            let path = "/v1/resources/gpu-small/events";
            let mut frames = stream(&desk, path, None).await;
            assert_eq!(message(&mut frames).await.1["paused"], false);
            pause(&desk, true).await;
            assert_eq!(message(&mut frames).await.1["paused"], true);
            retire(&desk).await;
            assert!(frames.next().await.is_none(), "it is offered no more");
            desk.get(path).await.problem(404, "unknown_resource");
        })
        .await;
    });
}
