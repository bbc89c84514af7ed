//! nginx and Caddy before a site: who has no lease pays and comes back in, who has one is in for
//! as long as it runs, and nobody is in while Leasehold is away.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::bitcoind::free_port;
use crate::harness::daemon::{CATALOG, Rented, Shop, each_with, once_with};
use crate::harness::guarded::{Places, Proxy, Visitor, caddy, host, nginx, site};
use crate::harness::peers::left_out;
use crate::harness::wait::{until, within};

const BEHIND: &str = "trusted_proxy_header = \"x-forwarded-for\"";
/// How soon a change must hold.
const SOON: Duration = Duration::from_secs(1);

/// A shop that guards a site with a proxy.
pub(super) fn guarded(start: fn(&Places<'_>) -> Proxy, body: impl Fn(&mut Shop, &Proxy) + Sync) {
    once_with(BEHIND, |shop| behind(shop, start, &body));
}

fn behind(shop: &mut Shop, start: fn(&Places<'_>) -> Proxy, body: impl Fn(&mut Shop, &Proxy)) {
    shop.stop();
    let port = free_port();
    let own = format!("id = \"shared\"\nsite = \"http://127.0.0.1:{port}\"");
    shop.write_catalog(&CATALOG.replace("id = \"shared\"", &own));
    shop.start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let site = site();
    let places = Places { port, server: shop.url(), site: &site, folder: folder.path() };
    let proxy = start(&places);
    body(shop, &proxy);
}

fn paid(shop: &Shop) -> Rented {
    let rented = shop.rent("shared", 7200);
    pay(shop, &rented.address, rented.amount_sat, &rented.lease);
    rented
}

/// Pays an invoice and waits for its lease.
pub(super) fn pay(shop: &Shop, address: &str, sat: u64, lease: &str) {
    shop.node.send(address, sat);
    shop.node.mine(1);
    shop.lease_until("the lease to be active", lease, |lease| lease["state"] == "active");
}

fn token(shop: &Shop, rented: &Rented) -> String {
    let path = format!("/v1/leases/{}/token", rented.lease);
    let answer = shop.post(&path, Some(&rented.claim), &json!({}));
    format!("Bearer {}", answer["token"].as_str().expect("a token"))
}

/// A browser that has come in with a code.
fn inside(shop: &Shop, rented: &Rented) -> Visitor {
    let path = format!("/v1/leases/{}/gate-code", rented.lease);
    let made = shop.post(&path, Some(&rented.claim), &json!({}));
    let mut browser = Visitor::browser();
    let seen = browser.get(made["url"].as_str().expect("a URL"), &[]);
    assert_eq!((seen.status, seen.location.as_str()), (303, "/"), "{seen:?}");
    browser
}

/// From the site to the checkout, through the pages, and back to where the visitor wanted to go.
fn pays_and_comes_back_in(shop: &mut Shop, proxy: &Proxy) {
    let mut browser = Visitor::browser();
    let seen = browser.get(&format!("{}/in/side?a=1&b=%20", proxy.url), &[]);
    let to = "to=%2Fin%2Fside%3Fa%3D1%26b%3D%2520";
    let resource = format!("{}/resources/shared?{to}", shop.url());
    assert_eq!((seen.status, &seen.location), (303, &resource), "{seen:?}");
    assert_eq!(browser.get(&resource, &[]).status, 200);
    let form = format!("time=2&unit=h&{to}");
    let asked = browser.submit(&format!("{}/resources/shared", shop.url()), &form);
    let (invoice, query) = asked.location.split_once('?').expect("the way back");
    assert_eq!(query, to, "{asked:?}");
    let invoice = shop.invoice(invoice.trim_start_matches("/checkout/"));
    let word = |name: &str| invoice[name].as_str().expect("text").to_owned();
    let lease = word("lease");
    let page = format!("{}/leases/{lease}", shop.url());
    let checkout = browser.get(&format!("{}{}", shop.url(), asked.location), &[]);
    assert!(checkout.text.contains(&format!("href=\"/leases/{lease}?{to}\"")), "{checkout:?}");
    pay(shop, &word("address"), invoice["amount_sat"].as_u64().expect("a number"), &lease);
    let opens = browser.get(&format!("{page}?{to}"), &[]);
    assert!(opens.text.contains("Open it"), "{opens:?}");
    let enter = browser.submit(&format!("{page}/open"), to).location;
    assert_eq!(host(&enter), proxy.url);
    let back = until("the gate to hear of it", || {
        let seen = browser.get(&enter, &[]);
        if seen.status == 303 { Ok(seen.location) } else { Err(seen) }
    });
    assert_eq!(back, "/in/side?a=1&b=%20");
    let seen = browser.get(&format!("{}{back}", proxy.url), &[]);
    assert_eq!((seen.status, seen.text.lines().next()), (200, Some("inside /in/side?a=1&b=%20")));
    assert_eq!(browser.get(&enter, &[]).status, 401, "a code works once");
}

/// What only the gate may say, and what a site may take for it.
const FORGED: [&str; 7] = [
    "x-leasehold-lease",
    "x-leasehold_lease",
    "x_leasehold-lease",
    "x_leasehold_lease",
    "x-leasehold-expires",
    "x-leasehold_expires",
    "x_leasehold_expires",
];

/// What programs get, what reaches the site, and what does not get in.
fn programs_and_forgeries(shop: &mut Shop, proxy: &Proxy) {
    let rented = paid(shop);
    let mut program = Visitor::program();
    let inside_it = format!("{}/x", proxy.url);
    let refused = program.get(&inside_it, &[]);
    let body: Value = serde_json::from_str(&refused.text).expect("JSON");
    assert_eq!((refused.status, refused.kind.as_str()), (402, "application/problem+json"));
    assert_eq!((&body["code"], &body["resource"]), (&json!("payment_required"), &json!("shared")));
    let bearer = token(shop, &rented);
    let forged = FORGED.map(|name| (name, "lse_forged"));
    let with_token = [&forged[..], &[("authorization", bearer.as_str())]].concat();
    let seen = program.get(&inside_it, &with_token);
    let mine = format!("x-leasehold-lease: {}", rented.lease);
    let of_lease: Vec<&str> =
        seen.text.lines().filter(|line| line.starts_with("x-leasehold-lease")).collect();
    assert_eq!((seen.status, of_lease), (200, vec![mine.as_str()]), "{seen:?}");
    assert!(!seen.text.contains("forged"), "{seen:?}");

    let mut browser = inside(shop, &rented);
    browser.cookies(&proxy.url).insert("theme".into(), "dark".into());
    let seen = browser.get(&inside_it, &forged);
    assert!(seen.status == 200 && seen.text.contains(&mine), "{seen:?}");
    assert!(!seen.text.contains("forged"), "{seen:?}");
    let good = browser.cookies(&proxy.url)["leasehold"].clone();
    for wrong in ["x", "a.b.c", &good[1..], &format!("{}x", &good[..good.len() - 1])] {
        browser.cookies(&proxy.url).insert("leasehold".into(), wrong.into());
        assert_eq!(browser.get(&inside_it, &[]).status, 303, "a forged cookie");
    }
    browser.cookies(&proxy.url).insert("leasehold".into(), good);
    assert_eq!(browser.get(&inside_it, &[]).status, 200);
}

/// Whose lease is over is out within a second, and everybody is while Leasehold is away.
fn out_when_it_is_over(shop: &mut Shop, proxy: &Proxy) {
    let (expiring, revoked) = (paid(shop), paid(shop));
    let inside_it = format!("{}/x", proxy.url);
    let bearer = token(shop, &revoked);
    let bearer = [("authorization", bearer.as_str())];
    let (mut first, mut second) = (inside(shop, &expiring), inside(shop, &revoked));
    let mut program = Visitor::program();
    let out = |visitor: &mut Visitor, headers: &[(&str, &str)], status: u16| {
        within(SOON, "the visitor to be out", || {
            let seen = visitor.get(&inside_it, headers);
            if seen.status == status { Ok(()) } else { Err(seen) }
        });
    };
    for visitor in [&mut first, &mut second] {
        assert_eq!(visitor.get(&inside_it, &[]).status, 200);
    }
    assert_eq!(program.get(&inside_it, &bearer).status, 200);
    let admin = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let revoke = format!("/v1/admin/leases/{}/revoke", revoked.lease);
    let (status, answer) = shop.ask(Method::POST, &revoke, Some(admin.trim()), None);
    assert_eq!(status, 200, "{answer}");
    out(&mut second, &[], 303);
    out(&mut program, &bearer, 402);
    assert_eq!(first.get(&inside_it, &[]).status, 200, "its own lease runs");
    shop.shift_clock(7200);
    out(&mut first, &[], 303);

    let last = paid(shop);
    let mut last = inside(shop, &last);
    assert_eq!(last.get(&inside_it, &[]).status, 200);
    shop.kill();
    for visitor in [&mut last, &mut Visitor::browser(), &mut program] {
        let seen = visitor.get(&inside_it, &[]);
        assert!(matches!(seen.status, 502 | 503), "closed while Leasehold is away: {seen:?}");
        assert!(!seen.text.contains("inside"), "{seen:?}");
    }
    shop.start();
}

fn all(shop: &mut Shop, proxy: &Proxy) {
    pays_and_comes_back_in(shop, proxy);
    programs_and_forgeries(shop, proxy);
    out_when_it_is_over(shop, proxy);
}

#[test]
fn behind_nginx_who_pays_is_in_for_as_long_as_the_lease_runs() {
    if !left_out("nginx") {
        guarded(nginx, all);
    }
}

#[test]
fn behind_caddy_who_pays_is_in_for_as_long_as_the_lease_runs() {
    if !left_out("caddy") {
        guarded(caddy, |shop, proxy| {
            let mut browser = inside(shop, &paid(shop));
            let forged = [("x-leasehold-other", "forged"), ("x_leasehold-other", "forged")];
            let seen = browser.get(&format!("{}/x", proxy.url), &forged);
            assert!(seen.status == 200 && !seen.text.contains("forged"), "{seen:?}");
            all(shop, proxy);
        });
    }
}

#[test]
fn a_gate_that_hears_nothing_of_its_database_tells_visitors_to_come_back_soon() {
    if left_out("nginx") {
        return;
    }
    let body = |shop: &mut Shop, proxy: &Proxy| {
        let rented = paid(shop);
        let (mut browser, inside_it) = (inside(shop, &rented), format!("{}/x", proxy.url));
        assert_eq!(browser.get(&inside_it, &[]).status, 200);
        let bearer = token(shop, &rented);
        let bearer = bearer.trim_start_matches("Bearer ");
        shop.cut_database(true);
        let (status, _) = shop.ask(Method::GET, "/v1/gate/shared", Some(bearer), None);
        assert_eq!(status, 204, "it is answered from memory");
        let refused = until("the gate to have no answer", || {
            let (status, body) = shop.ask(Method::GET, "/v1/gate/shared", Some(bearer), None);
            if status == 503 { Ok(body) } else { Err((status, body)) }
        });
        assert_eq!(refused["code"], "not_ready", "{refused}");
        let seen = browser.get(&inside_it, &[]);
        assert_eq!((seen.status, seen.kind.as_str()), (503, "text/plain"), "{seen:?}");
        assert!(seen.text.starts_with("It cannot be told at the moment"), "{seen:?}");
        assert_eq!(Visitor::program().get(&inside_it, &[]).status, 503);
        shop.cut_database(false);
        until("the gate to answer again", || {
            let seen = browser.get(&inside_it, &[]);
            if seen.status == 200 { Ok(()) } else { Err(seen) }
        });
    };
    each_with(BEHIND, |shop| {
        if shop.on_postgres() {
            shop.variables.push(("LEASEHOLD_GATE_MAX_STALENESS", "5s".into()));
            behind(shop, nginx, body);
        }
    });
}
