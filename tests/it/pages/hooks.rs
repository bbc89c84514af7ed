//! Endpoints on operators' pages: made, tried, with another secret, their messages sent again. The
//! receiver counts, and checks signatures with the reference library.

use serde_json::{Value, json};

use crate::harness::daemon::{Shop, each_with};
use crate::harness::desk::{Desk, items};
use crate::harness::payouts::{number, text};
use crate::harness::wait::until;
use crate::harness::webhook_sink::{Got, Sink};

const ALLOW: &str = "[webhooks]\nallow_private = true\n";

/// The secret that a page shows.
fn secret(html: &str) -> String {
    let at = html.find("whsec_").expect("a secret");
    html[at..].split('<').next().unwrap_or_default().to_owned()
}

/// So many messages came, and every delivery is done.
fn came(shop: &Shop, sink: &Sink, count: usize) -> Vec<Got> {
    until("all messages", || {
        let pending = items(shop, "deliveries?status=pending");
        let last = shop.events().last().map_or(0, |event| event.seq);
        let looked = items(shop, "webhooks")[0]["looked_at_seq"].as_i64();
        let got = sink.got();
        let all = pending.is_empty() && looked == Some(last) && got.len() >= count;
        if all { Ok(got) } else { Err((pending, got.len())) }
    })
}

#[test]
fn an_endpoint_is_tried_redelivered_to_and_rotated_on_pages_once_however_often_one_clicks() {
    each_with(ALLOW, |shop| {
        let sink = Sink::taking();
        let desk = shop.desk("desk", &["read", "manage", "admin"]);
        let weak = shop.desk("weak", &["read", "payout"]);
        let url = sink.url("/in");
        let new = "/operator/webhooks/new";
        let fields = [("url", url.as_str()), ("types", "lease.created")];
        weak.refused_here(new, "admin", &fields);
        let made = desk.clicks_twice(new, &fields);
        let hook = text(&items(shop, "webhooks")[0]["id"]);
        assert_eq!(items(shop, "webhooks").len(), 1);
        let page = format!("/operator/webhooks/{hook}");
        let [test, since, rotate] =
            ["test", "redeliver", "rotate"].map(|act| format!("{page}/{act}"));
        for (act, scope) in [(&test, "manage"), (&since, "manage"), (&rotate, "admin")] {
            weak.refused_here(act, scope, &[("since", "2026-01-01T00:00:00Z")]);
            desk.refused_elsewhere(act, &[("since", "2026-01-01T00:00:00Z")]);
        }
        shop.rent("shared", 3600);
        assert!(came(shop, &sink, 1)[0].is_signed_with(&secret(&made.html)));
        assert_eq!(desk.clicks_twice(&test, &[]).to, page);
        assert_eq!(came(shop, &sink, 2).len(), 2);
        assert_eq!(shop.acts("webhook.test"), 1);

        let first = delivery(shop, "lease.created");
        let one = format!("/operator/deliveries/{}", text(&first["id"]));
        let again = format!("{one}/redeliver");
        weak.refused_here(&again, "manage", &[]);
        desk.refused_elsewhere(&again, &[]);
        assert_eq!(desk.clicks_twice(&again, &[]).to, one);
        let all = came(shop, &sink, 3);
        assert_eq!((all.len(), shop.acts("delivery.redeliver")), (3, 1));
        assert_eq!(all[2].header("webhook-id"), text(&first["id"]));
        assert_eq!(number(&delivery(shop, "lease.created")["attempts"]), 2);

        let turned = desk.clicks_twice(&rotate, &[]);
        assert_eq!((turned.status, shop.acts("webhook.rotate")), (200, 1));
        let (old, fresh) = (secret(&made.html), secret(&turned.html));
        assert_ne!(old, fresh);
        shop.rent("shared", 3600);
        let all = came(shop, &sink, 4);
        assert!(all[3].is_signed_with(&old) && all[3].is_signed_with(&fresh));
        assert_eq!(Desk::filled(&desk.page(&rotate).html, &[]).len(), 1);

        let to = desk.clicks_twice(&since, &[("since", "2020-01-01T00:00:00Z")]).to;
        assert_eq!(to, format!("/operator/deliveries?webhook={hook}"));
        assert_eq!(shop.acts("webhook.redeliver"), 1);
        // Both leases and the test.
        assert_eq!(came(shop, &sink, 7).len(), 7);
    });
}

fn delivery(shop: &Shop, kind: &str) -> Value {
    let all = items(shop, "deliveries");
    all.into_iter().find(|one| one["type"] == json!(kind)).expect("it was made")
}
