//! Several servers at the gate: a code of one works at the other, once over both; a session is good
//! at both, outlives restarts and a new signing key, and is out within a second everywhere.

use std::time::Duration;

use serde_json::json;

use crate::harness::daemon::{Rented, Shop, once};
use crate::harness::guarded::Visitor;
use crate::harness::pair::pair;
use crate::harness::wait::{until, within};

/// How soon a server acts on what the other did.
const SOON: Duration = Duration::from_secs(1);

fn code(shop: &Shop, rented: &Rented) -> String {
    let path = format!("/v1/leases/{}/gate-code", rented.lease);
    let made = shop.post(&path, Some(&rented.claim), &json!({}));
    made["code"].as_str().expect("a code").to_owned()
}

fn enter(browser: &mut Visitor, shop: &Shop, code: &str) -> u16 {
    browser.get(&format!("{}/v1/gate/shared/enter?code={code}", shop.url()), &[]).status
}

/// What the gate of a server answers to a session that came from anywhere.
fn gate(shop: &Shop, session: &str) -> u16 {
    let cookie = format!("leasehold={session}");
    let seen = Visitor::program()
        .get(&format!("{}/v1/gate/shared", shop.url()), &[("cookie", cookie.as_str())]);
    seen.status
}

#[test]
fn a_code_of_one_server_works_once_over_both_and_a_session_until_either_ends_the_lease() {
    pair(|pair| {
        let rented = pair.a.rent("shared", 7200);
        pair.a.node.send(&rented.address, rented.amount_sat);
        pair.mine(1);
        pair.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        let made = code(&pair.a, &rented);
        let mut browser = Visitor::browser();
        assert_eq!(enter(&mut browser, &pair.b, &made), 303);
        for shop in pair.each() {
            assert_eq!(enter(&mut Visitor::browser(), shop, &made), 401, "it was used");
        }
        let session = browser.cookies(pair.b.url())["leasehold"].clone();
        for shop in pair.each() {
            until("the gate to hear of the lease", || match gate(shop, &session) {
                204 => Ok(()),
                other => Err(other),
            });
        }
        let back = format!("/v1/leases/{}/return", rented.lease);
        pair.a.post(&back, Some(&rented.claim), &json!({}));
        assert_eq!(gate(&pair.a, &session), 401, "at once where it was done");
        within(SOON, "the other server to hear of it", || match gate(&pair.b, &session) {
            401 => Ok(()),
            other => Err(other),
        });
    });
}

#[test]
fn what_the_operator_or_a_new_claim_token_ends_on_one_server_is_out_on_the_other() {
    pair(|pair| {
        let mut sessions = Vec::new();
        for _ in 0..2 {
            let rented = pair.a.rent("shared", 7200);
            pair.a.node.send(&rented.address, rented.amount_sat);
            pair.mine(1);
            pair.lease_until("the lease to be active", &rented.lease, |lease| {
                lease["state"] == "active"
            });
            let mut browser = Visitor::browser();
            assert_eq!(enter(&mut browser, &pair.b, &code(&pair.a, &rented)), 303);
            let session = browser.cookies(pair.b.url())["leasehold"].clone();
            until("the gate to hear of the lease", || match gate(&pair.b, &session) {
                204 => Ok(()),
                other => Err(other),
            });
            sessions.push((rented, session));
        }
        let [(revoked, first), (handed_on, second)] = sessions.as_slice() else { panic!("two") };
        let out = |session: &str| {
            within(SOON, "the other server to hear of it", || match gate(&pair.b, session) {
                401 => Ok(()),
                other => Err(other),
            });
        };
        let admin = std::fs::read_to_string(pair.a.folder().join("admin.key")).expect("there");
        let path = format!("/v1/admin/leases/{}/revoke", revoked.lease);
        pair.a.post(&path, Some(admin.trim()), &json!({}));
        out(first);
        assert_eq!(gate(&pair.b, second), 204, "its own lease runs");
        let unused = code(&pair.a, handed_on);
        let path = format!("/v1/leases/{}/rotate-claim", handed_on.lease);
        pair.a.post(&path, Some(&handed_on.claim), &json!({}));
        assert_eq!(gate(&pair.a, second), 401, "at once where it was done");
        out(second);
        assert_eq!(enter(&mut Visitor::browser(), &pair.b, &unused), 401);
    });
}

#[test]
fn a_session_outlives_restarts_and_a_new_signing_key_but_not_one_that_is_out_of_use() {
    once(|shop| {
        let rented = shop.rent("shared", 7200);
        shop.node.send(&rented.address, rented.amount_sat);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        let mut browser = Visitor::browser();
        let made = code(shop, &rented);
        assert_eq!(enter(&mut browser, shop, &made), 303);
        let session = browser.cookies(shop.url())["leasehold"].clone();
        for passes in [204, 401] {
            shop.stop();
            let rotated = shop.command(&["token", "rotate-key"]).output().expect("it starts");
            assert!(rotated.status.success());
            shop.start();
            let opens = || match gate(shop, &session) {
                503 => Err(503),
                found => Ok(found),
            };
            assert_eq!(until("the gate to answer", opens), passes, "one old key stays published");
        }
    });
}
