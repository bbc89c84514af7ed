//! What an operator decides: leases taken back, money that found no lease, resources that are
//! taken out of the catalogue; and money of a kind that waits long.

use reqwest::Method;
use serde_json::{Value, json};

use super::{has, in_state, paid_s, payment, payment_in, running, top_up_in_flight};
use crate::harness::daemon::{CATALOG, Shop, each, once};
use crate::harness::wait::until;

fn operate(shop: &Shop, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    shop.ask(method, &format!("/v1/admin/{path}"), Some(key.trim()), body)
}

/// Pays an address of the shop's that it never gave out; waits for it in the inbox.
fn stray_money(shop: &Shop, index: u32, sat: u64) -> String {
    let address = shop.address(index);
    shop.node.send(&address, sat);
    shop.node.mine(1);
    until("the money to be found", || {
        let (_, list) = operate(shop, Method::GET, "payments?unallocated=true", None);
        let items = list["items"].as_array().expect("a list");
        let found = items.iter().find(|item| item["amount_sat"] == sat);
        let counts = found.filter(|item| item["state"] == "credited");
        counts.map(|item| item["id"].as_str().expect("an id").to_owned()).ok_or(list.clone())
    })
}

#[test]
fn a_top_up_in_flight_when_the_lease_is_revoked_is_refundable() {
    each(|shop| {
        let (rented, _) = running(shop, "box", 3600);
        let (topup, more) = top_up_in_flight(shop, &rented);
        let path = format!("leases/{}/revoke", rented.lease);
        let (status, revoked) = operate(shop, Method::POST, &path, Some(&json!({})));
        assert_eq!((status, &revoked["end_reason"]), (200, &json!("revoked")), "{revoked}");
        let back = revoked["refundable_sat"].as_u64().unwrap();
        shop.node.mine(1);
        let invoice = payment_in(shop, &topup, &more, "credited");
        assert!(has(&payment(&invoice, &more), "refundable"));
        let lease = shop.lease(&rented.lease);
        assert_eq!((&lease["state"], &lease["end_reason"]), (&json!("ended"), &json!("revoked")));
        assert_eq!(lease["refundable_sat"], back + 7200);
    });
}

#[test]
fn money_that_found_no_lease_is_given_to_one_or_goes_back() {
    each(|shop| {
        let (rented, _) = running(shop, "shared", 3600);
        let first = stray_money(shop, 40, 7200);
        let body = json!({ "lease": rented.lease });
        let path = format!("payments/{first}/assign");
        let (status, answer) = operate(shop, Method::POST, &path, Some(&body));
        assert_eq!(status, 200, "{answer}");
        shop.lease_until("the money to be time", &rented.lease, |it| paid_s(it) == 10_800);
        let (status, again) = operate(shop, Method::POST, &path, Some(&body));
        assert_eq!((status, &again["lease"]), (200, &json!(rented.lease)), "{again}");
        let other = json!({ "lease": shop.rent("shared", 3600).lease });
        let (status, _) = operate(shop, Method::POST, &path, Some(&other));
        assert_eq!(status, 422, "once");
        assert_eq!(paid_s(&shop.lease(&rented.lease)), 10_800);

        let second = stray_money(shop, 50, 5000);
        let path = format!("payments/{second}/refund");
        let body = json!({ "address": shop.node.new_address() });
        let (status, answer) = operate(shop, Method::POST, &path, Some(&body));
        assert_eq!(status, 200, "{answer}");
        let (_, ledger) = operate(shop, Method::GET, "ledger", None);
        let of = |account: &str| -> i64 {
            let items = ledger["items"].as_array().expect("a list").iter();
            let own = items.filter(|item| item["account"] == account);
            own.map(|item| item["amount_sat"].as_i64().expect("a number")).sum()
        };
        assert_eq!((of("unallocated"), of("refundable")), (0, -5000), "{ledger}");
        assert_eq!(of("received"), 3600 + 7200 + 5000);
    });
}

#[test]
fn a_resource_that_left_the_catalogue_sells_nothing_and_its_leases_go_on() {
    each(|shop| {
        let (rented, _) = running(shop, "box", 3600);
        shop.stop();
        let (_, shared) = CATALOG.split_at(CATALOG.rfind("[[resource]]").expect("it has two"));
        shop.write_catalog(shared);
        shop.start();
        let body = json!({ "resource": "box", "duration_s": 3600 });
        let (status, refused) = shop.ask(Method::POST, "/v1/leases", None, Some(&body));
        assert_eq!((status, &refused["code"]), (404, &json!("unknown_resource")));
        assert_eq!(shop.lease(&rented.lease)["state"], "active");
        let more = shop.node.send(&rented.address, 5000);
        shop.node.mine(1);
        let invoice = payment_in(shop, &rented, &more, "credited");
        assert!(has(&payment(&invoice, &more), "refundable"), "{invoice}");
        let lease = shop.lease(&rented.lease);
        assert_eq!((paid_s(&lease), &lease["refundable_sat"]), (3600, &json!(5000)));
    });
}

#[test]
fn what_a_holder_gives_back_is_kept_where_the_terms_say_so() {
    once(|shop| {
        shop.stop();
        shop.write_catalog(
            &CATALOG.replace("grace = \"10m\"", "grace = \"10m\"\nrefund_unused = false"),
        );
        shop.start();
        let (rented, _) = running(shop, "box", 3600);
        let path = format!("/v1/leases/{}/return", rented.lease);
        let lease = shop.post(&path, Some(&rented.claim), &json!({}));
        assert_eq!(
            (&lease["end_reason"], &lease["refundable_sat"]),
            (&json!("returned"), &json!(0))
        );
        assert_eq!(shop.booked(&rented.lease).earned_sat, 3600);
    });
}

#[test]
fn newly_created_coins_count_at_a_hundred_confirmations() {
    once(|shop| {
        let rented = shop.rent("shared", 3600);
        shop.node.mine_to(&rented.address, 1);
        shop.node.mine(98);
        shop.wait_for_tip();
        let invoice = shop.invoice_until("it to be seen", &rented.invoice, |invoice| {
            invoice["payments"][0]["confirmations"] == 99
        });
        assert_eq!(invoice["payments"][0]["state"], "confirming");
        assert_eq!(shop.lease(&rented.lease)["state"], "unfunded");
        shop.node.mine(1);
        in_state(shop, &rented, "active");
    });
}

#[test]
fn money_on_its_way_keeps_a_lease_in_grace() {
    once(|shop| {
        let (rented, _) = running(shop, "box", 600);
        shop.shift_clock(900);
        in_state(shop, &rented, "grace");
        let more = shop.node.send(&rented.address, 3600);
        payment_in(shop, &rented, &more, "mempool");
        // Its grace is over, but what was seen within it is still on its way.
        shop.shift_clock(600 + 600 + 300);
        shop.look_after(super::time(&shop.lease(&rented.lease)["grace_until"]).plus_s(60));
        assert_eq!(shop.lease(&rented.lease)["state"], "grace");
        shop.node.mine(1);
        let lease = in_state(shop, &rented, "active");
        assert_eq!((&lease["generation"], &lease["unit"]), (&json!(1), &json!("box-1")));
    });
}
