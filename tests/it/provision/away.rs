//! A provisioner that is away for an hour, while people pay, pay late, and leave.

use reqwest::Method;
use serde_json::json;

use super::has;
use crate::harness::daemon::each;
use crate::harness::wait::until;

const HOUR: i64 = 3600;
/// Three hours of a box, in seconds and in satoshis.
const LONG: u64 = 3 * 3600;

#[test]
fn a_provisioner_that_was_away_for_an_hour_hears_everything_in_order_and_no_paid_second_is_lost() {
    each(|shop| {
        shop.with_boxes("20s", 4);
        let extended = shop.paid_box_for(LONG);
        let lapsed = shop.paid_box();
        let returned = shop.paid_box_for(LONG);
        for rented in [&extended, &lapsed, &returned] {
            shop.lease_in(rented, "active");
        }
        shop.hook_does("all", "exit 75");
        let new = shop.paid_box_for(LONG);
        shop.node.send(&extended.address, LONG);
        shop.node.mine(1);
        let path = format!("/v1/leases/{}/return", returned.lease);
        shop.post(&path, Some(&returned.claim), &json!({}));
        for rented in [&new, &extended, &returned] {
            shop.lease_until("the failure", &rented.lease, |it| has(it, "provisioner_error"));
        }
        assert_eq!(shop.lease(&new.lease)["state"], "provisioning");

        // Time passes in steps, as the waits between two tries do.
        for passed in [60, 600, HOUR + 30] {
            shop.shift_clock(passed);
            shop.operate(Method::GET, "actions?state=failing", None);
        }
        shop.lease_in(&lapsed, "grace");
        shop.lease_until("the failure", &lapsed.lease, |it| has(it, "provisioner_error"));
        shop.node.send(&lapsed.address, LONG);
        shop.node.mine(1);
        let lease = shop.lease_in(&lapsed, "active");
        assert!(lease["remaining_s"].as_u64().unwrap() > LONG - 60, "it waits for nobody: {lease}");
        assert_eq!(shop.done(&lapsed), ["provision"]);

        shop.hook_does("all", "");
        // The longest wait between two tries is an hour and a quarter.
        shop.shift_clock(HOUR + 30 + HOUR * 5 / 4);
        let lease = shop.lease_in(&new, "active");
        assert!(
            lease["remaining_s"].as_u64().unwrap() > LONG - 60,
            "its clock begins now: {lease}"
        );
        shop.done_for(&extended, &["provision", "extend"]);
        shop.done_for(&lapsed, &["provision", "suspend", "extend", "resume"]);
        shop.done_for(&returned, &["provision", "release"]);
        // It was told another end when it was first asked for.
        shop.done_for(&new, &["provision", "extend"]);
        let lease = shop.lease_in(&extended, "active");
        let left = 2 * LONG - u64::try_from(2 * HOUR + HOUR / 4 + 30).unwrap();
        let remaining = lease["remaining_s"].as_u64().unwrap();
        assert!(remaining <= left && remaining > left - 120, "{lease}");
        until("nothing to be open", || {
            let (_, list) = shop.operate(Method::GET, "actions?state=open", None);
            if list["items"] == json!([]) { Ok(()) } else { Err(list) }
        });
        for rented in [&extended, &lapsed, &returned, &new] {
            assert!(!has(&shop.lease(&rented.lease), "provisioner_error"));
        }
    });
}
