//! Where a payment's money is, and what is offered for it: the same on pages and in the API.

use super::desk::{Desk, at_desk};
use super::operators::{page, signed_in};
use crate::app::look;
use crate::db::payment::PaymentRow;
use crate::domain::keychain::Branch;
use crate::domain::lease::books::Books;
use crate::domain::payment::PaymentState;

const INBOX: &str = "/operator/payments?inbox=only+money+that+found+no+lease";

/// Pays an address that was never given out, and one of our own for change; mined once.
async fn stray_and_change(desk: &mut Desk) -> [PaymentRow; 2] {
    let at = |branch| desk.rig.shop.keychain.script(branch, 5);
    let (stray, change) = (at(Branch::External), at(Branch::Internal));
    desk.rig.pay(&[(stray.clone(), 1000), (change.clone(), 2000)]);
    desk.rig.chain.mine_pending();
    desk.rig.round().await;
    [paid(desk, 1000).await, paid(desk, 2000).await]
}

async fn paid(desk: &Desk, sat: u64) -> PaymentRow {
    let part = look::Part::new(10, None);
    let all = look::payments(&desk.rig.db, look::PaymentFilter::default(), &part).await.unwrap();
    all.rows.into_iter().find(|row| row.facts.amount_sat == sat).unwrap()
}

#[test]
fn our_own_change_is_called_so_and_waits_for_nobody() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        let [stray, change] = stray_and_change(&mut desk).await;
        for (row, disposition) in [(&stray, "unallocated"), (&change, "change")] {
            let path = format!("/v1/admin/payments/{}", row.facts.id);
            let body = desk.call("GET", &path).bearer(&key).send().await.must(200).body;
            assert_eq!(
                (&body["disposition"], &body["state"]),
                (&disposition.into(), &"credited".into())
            );
        }
        let path = format!("/operator/payments/{}", change.facts.id);
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(html.contains(">change<") && !html.contains("/refund\""), "{html}");
        assert!(!html.contains("unallocated"), "{html}");
        let events = desk.rig.events(change.facts.id.as_str()).await;
        assert!(events.is_empty(), "{events:?}");
        desk.rig.chain.mine_empty(120);
        desk.rig.round().await;
        assert_eq!(paid(&desk, 2000).await.state, PaymentState::Final);
    });
}

#[test]
fn money_that_is_gone_is_nowhere_and_nothing_is_offered_for_it() {
    at_desk(async |mut desk| {
        let cookie = signed_in(&desk, "read manage", 1).await;
        let (key, _) = desk.operator("read", 2).await;
        let inbox = async |desk: &Desk| {
            let html = page(desk, &cookie, INBOX).await.must(200).text;
            let call = desk.call("GET", "/v1/admin/payments?unallocated=true").bearer(&key);
            let body = call.send().await.must(200).body;
            (
                html.matches("href=\"/operator/payments/pay_").count(),
                body["items"].as_array().unwrap().len(),
            )
        };
        let [stray, _] = stray_and_change(&mut desk).await;
        assert_eq!(inbox(&desk).await, (1, 1));
        let path = format!("/operator/payments/{}", stray.facts.id);
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(html.contains("/assign\"") && html.contains("/refund\""), "{html}");

        desk.rig.chain.fork(1, vec![vec![], vec![]]);
        desk.rig.chain.clear_mempool();
        desk.rig.round().await;
        let gone = paid(&desk, 1000).await;
        assert_eq!((gone.state, look::disposition(&gone)), (PaymentState::Gone, None));
        assert_eq!(inbox(&desk).await, (0, 0));
        let html = page(&desk, &cookie, &path).await.must(200).text;
        assert!(!html.contains("/assign\"") && !html.contains("/refund\""), "{html}");
        assert!(!html.contains(">unallocated<"), "{html}");
        let call = desk.call("GET", &format!("/v1/admin/payments/{}", gone.facts.id)).bearer(&key);
        assert!(call.send().await.must(200).body["disposition"].is_null());
    });
}

#[test]
fn what_an_operator_sends_back_is_where_the_books_have_it() {
    at_desk(async |mut desk| {
        let [mut row, _] = stray_and_change(&mut desk).await;
        row.refund_address = Some("somewhere".into());
        let none = Books::default();
        for (books, says, loose) in [
            (none, "refundable", true),
            (Books { refundable_sat: 1000, ..none }, "refundable", true),
            (Books { refunded_sat: 400, refundable_sat: 600, ..none }, "refundable", true),
            (Books { dust_sat: 1000, ..none }, "dust", true),
            (Books { refunded_sat: 1000, ..none }, "refunded", false),
        ] {
            row.loose.books = books;
            assert_eq!((look::disposition(&row), look::is_loose(&row)), (Some(says), loose));
        }
        row.state = PaymentState::Replaced;
        row.loose.books = Books { refunded_sat: 1000, lost_sat: 1000, ..none };
        assert_eq!((look::disposition(&row), look::is_loose(&row)), (Some("lost"), false));
    });
}
