//! What a provisioner could not do is put right on operators' pages.

use reqwest::Method;

use crate::harness::daemon::{Shop, each};
use crate::harness::desk::items;
use crate::harness::wait::until;

fn stuck(shop: &Shop) -> usize {
    items(shop, "actions?state=stuck").len()
}

fn free(shop: &Shop) -> serde_json::Value {
    shop.get("/v1/resources/box").1["availability"]["free"].clone()
}

#[test]
fn a_release_is_tried_again_and_forced_on_the_page_of_its_lease_once_however_often_one_clicks() {
    each(|shop| {
        shop.with_hook("20s");
        shop.hook_does("release", "exit 3");
        let rented = shop.paid_box();
        shop.lease_in(&rented, "active");
        let desk = shop.desk("desk", &["read", "manage"]);
        let weak = shop.desk("weak", &["read", "payout"]);
        let page = format!("/operator/leases/{}", rented.lease);
        let [revoke, retry, force] =
            ["revoke", "retry", "force-release"].map(|act| format!("{page}/{act}"));
        assert_eq!(desk.clicks_twice(&revoke, &[]).to, page);
        assert_eq!(shop.acts("lease.revoke"), 1);
        until("it to be stuck", || if stuck(shop) == 1 { Ok(()) } else { Err(stuck(shop)) });
        for act in [&retry, &force] {
            assert!(desk.page(&page).html.contains(act), "{act}");
            assert!(!weak.page(&page).html.contains(act), "{act}");
            weak.refused_here(act, "manage", &[]);
            desk.refused_elsewhere(act, &[]);
        }
        shop.called_for(&rented, &["provision", "release"]);
        shop.hook_does("release", "while [ ! -e go ]; do sleep 0.05; done; exit 3");
        assert_eq!(desk.clicks_twice(&retry, &[]).to, page);
        shop.called_for(&rented, &["provision", "release", "release"]);
        // It is being tried: from a fresh page nothing more is done, either.
        assert_eq!(desk.does(&retry, &[]).to, page);
        assert_eq!(shop.acts("lease.retry"), 1);
        std::fs::write(shop.folder().join("go"), "").unwrap();
        until("it to be stuck again", || {
            let events = shop.count_events(&rented.lease, "lease.stuck");
            if events == 2 { Ok(()) } else { Err(events) }
        });
        assert_eq!(shop.called(&rented), ["provision", "release", "release"]);
        assert_eq!(shop.acts("lease.retry"), 1);
        assert_eq!(free(shop), 1);
        assert_eq!(desk.clicks_twice(&force, &[]).to, page);
        assert_eq!((shop.acts("lease.force-release"), free(shop)), (1, 2.into()));
        // Nothing of it is left: another question is answered with how it is.
        let again = desk.does(&force, &[]);
        assert!(again.status == 409 && again.html.contains("No release waits"), "{}", again.html);
        let (_, lease) = shop.operate(Method::GET, &format!("leases/{}", rented.lease), None);
        assert_eq!(lease["end_reason"], "revoked", "{lease}");
    });
}
