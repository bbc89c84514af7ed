//! The pages of operators in a real browser: each of them looked at, and what is done there, by
//! keyboard alone and without scripts.

use serde_json::json;

use crate::harness::browser::Browser;
use crate::harness::daemon::{Rented, Shop};
use crate::harness::desk::items;
use crate::harness::payouts::text;
use crate::harness::peers::left_out;
use crate::harness::wait::until;

use super::quality::mistakes;
use super::way::{ENTER, reach};
use super::{KEY, customers};

fn admin_key(shop: &Shop) -> String {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it was written");
    key.trim().to_owned()
}

fn sign_in(shop: &Shop, browser: &Browser) {
    browser.go(&format!("{}/operator", shop.url()));
    browser.fill("key", &admin_key(shop));
    browser.click("//button[text()='Sign in']");
    browser.shows("Revenue");
}

/// A lease that runs.
fn running(shop: &Shop) -> Rented {
    let rented = shop.rent("shared", 36_000);
    shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(2);
    shop.lease_until("it to run", &rented.lease, |lease| lease["state"] == "active");
    rented
}

/// Past every page; where there is one thing to look at, at the first of it.
pub(super) fn desk_tour(shop: &Shop, browser: &Browser, look: &mut dyn FnMut(&Browser, &str)) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    go("/operator/leases");
    look(browser, "operator-sign-in");
    browser.fill("key", "key_none");
    browser.click("//button[text()='Sign in']");
    browser.shows("An API key begins with key_");
    look(browser, "operator-sign-in-wrong");
    sign_in(shop, browser);
    look(browser, "operator-overview");
    for (list, detail) in [
        ("leases", "leases/lse_"),
        ("invoices", "invoices/inv_"),
        ("payments", "payments/pay_"),
        ("payouts", "payouts/pyt_"),
        ("actions", "leases/lse_"),
        ("catalog", "catalog/"),
        ("events", "events/evt_"),
        ("webhooks", "webhooks/whk_"),
        ("deliveries", "deliveries/dlv_"),
        ("ledger", ""),
        ("audit-log", ""),
        ("keys", "keys/akey_"),
        ("batches", "batches/bat_"),
        ("session", ""),
    ] {
        go(&format!("/operator/{list}"));
        look(browser, &format!("operator-{list}"));
        if !detail.is_empty() {
            browser.click(&format!("//td//a[starts-with(@href, '/operator/{detail}')]"));
            browser.shows(if list == "catalog" { "Its terms" } else { "" });
            look(browser, &format!("operator-{list}-one"));
        }
    }
    questions(shop, browser, look);
    browser.fill("q", "nothing");
    browser.click("//form[@role='search']//button");
    browser.shows("Nothing has this id");
    look(browser, "operator-search");
    go("/operator/leases/lse_none");
    look(browser, "operator-not-found");
}

/// The id of the newest of a list of the API.
fn newest(shop: &Shop, list: &str) -> String {
    text(&items(shop, list)[0]["id"])
}

/// What is asked before something is changed, and a form with mistakes.
fn questions(shop: &Shop, browser: &Browser, look: &mut dyn FnMut(&Browser, &str)) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    let (batch, hook) = (newest(shop, "payouts/batches"), newest(shop, "webhooks"));
    let (lease, payment) = (newest(shop, "leases"), newest(shop, "payments"));
    let delivery = newest(shop, "deliveries");
    for (form, stop) in [
        ("keys/new", "keys-new"),
        ("webhooks/new", "webhooks-new"),
        ("catalog/box/pause", "catalog-box-pause"),
        ("catalog/-/apply", "catalog-apply"),
        (&format!("leases/{lease}/retry"), "lease-retry"),
        (&format!("leases/{lease}/force-release"), "lease-force-release"),
        (&format!("payments/{payment}/assign"), "payment-assign"),
        (&format!("deliveries/{delivery}/redeliver"), "delivery-redeliver"),
        (&format!("webhooks/{hook}"), "webhook"),
        (&format!("webhooks/{hook}/rotate"), "webhook-rotate"),
        (&format!("batches/{batch}/approve"), "batch-approve"),
        (&format!("batches/{batch}/submit"), "batch-submit"),
        (&format!("batches/{batch}/bump"), "batch-bump"),
        (&format!("batches/{batch}/abandon"), "batch-abandon"),
        ("batches/new", "batches-new"),
    ] {
        go(&format!("/operator/{form}"));
        look(browser, &format!("operator-{stop}"));
    }
    browser.fill("feerate", "2");
    browser.click("//main//button[starts-with(text(), 'Look')]");
    browser.shows("Prepare this batch?");
    look(browser, "operator-batch-preview");
    go("/operator/keys/new");
    browser.fill("name", "Desk");
    browser.click("//button[text()='Make it']");
    browser.shows("Give some of read");
    look(browser, "operator-mistakes");
}

/// A box whose provisioner fails.
fn broken(shop: &Shop) {
    std::fs::write(shop.folder().join("hook"), "#!/bin/sh\necho no room >&2\nexit 3\n").unwrap();
    let body =
        json!({ "resource": "box", "duration_s": 3600, "params": { "ssh_public_key": KEY } });
    let rented = Shop::rented(&shop.post("/v1/leases", None, &body));
    shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(1);
    until("its failure", || {
        let failed = items(shop, "actions?state=failed");
        if failed.is_empty() { Err(shop.lease(&rented.lease)) } else { Ok(()) }
    });
}

/// Money that goes back: some of it in a batch, some due.
fn owed(shop: &Shop) {
    for _ in 0..2 {
        let rented = running(shop);
        shop.give_back(&rented);
        shop.refund_to(&rented, &shop.node.new_address());
    }
    shop.node.mine(6);
    shop.count_due(2);
    let only = json!({ "only": [items(shop, "payouts?state=due")[0]["id"]] });
    shop.prepare(&only);
}

/// Something is in every list; nobody is signed in.
pub(super) fn lived_in(shop: &Shop, browser: &Browser) {
    let rented = running(shop);
    running(shop);
    sign_in(shop, browser);
    browser.go(&format!("{}/operator/leases/{}/revoke", shop.url(), rented.lease));
    browser.click("//main//button[text()='Revoke']");
    browser.shows("lease.ended");
    browser.go(&format!("{}/operator/webhooks/new", shop.url()));
    browser.fill("url", "https://hooks.example/x");
    browser.click("//button[text()='Make it']");
    browser.shows("whsec_");
    owed(shop);
    broken(shop);
    until("an attempt to deliver", || {
        let all = items(shop, "deliveries");
        if all.iter().any(|one| one["attempts"] != 0) { Ok(()) } else { Err(all) }
    });
    browser.go(&format!("{}/operator/session", shop.url()));
    browser.click("//button[text()='Sign out']");
    browser.shows("For operators");
}

#[test]
fn every_page_of_operators_is_readable_for_all_and_keeps_secrets_out_of_addresses_and_logs() {
    if left_out("browser") || left_out("tidy") {
        return;
    }
    customers(|shop| {
        shop.stop();
        shop.variables.push(("LEASEHOLD_LOG", "trace".into()));
        shop.start();
        let browser = Browser::start();
        lived_in(shop, &browser);
        browser.complaints();
        let (mut wrong, mut stops) = (Vec::new(), 0);
        desk_tour(shop, &browser, &mut |browser, stop| {
            stops += 1;
            wrong.extend(mistakes(browser, stop));
            // A wrong key, a page that is not there and an approval that nobody waits for are no 200.
            let told = browser.complaints().into_iter();
            let told = told.filter(|line| {
                !["/lse_none", "/sign-in", "/keys/new", "/approve"]
                    .iter()
                    .any(|it| line.contains(it))
            });
            wrong.extend(told.map(|line| format!("{stop}: {line}")));
        });
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(stops > 45, "{stops}");
        let key = admin_key(shop);
        for (url, _) in browser.requests() {
            assert!(
                !url.contains(&key) && !url.contains("ops_") && !url.contains("whsec_"),
                "{url}"
            );
        }
        let log = shop.log();
        assert!(
            !log.contains(&key) && !log.contains("ops_") && !log.contains("whsec_"),
            "a secret"
        );
    });
}

#[test]
fn a_lease_is_found_and_suspended_by_keyboard_alone() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let lease = running(shop).lease;
        let browser = Browser::start();
        let enter = || browser.press(&ENTER.to_string());
        browser.go(&format!("{}/operator", shop.url()));
        reach(&browser, "key");
        browser.press(&admin_key(shop));
        enter();
        browser.shows("Revenue");
        reach(&browser, "q");
        browser.press(&lease);
        enter();
        browser.shows("What happened");
        let name = |text: &str| {
            let all = "[...document.querySelectorAll('main a, main button')]";
            browser.run(&format!("{all}.find(one => one.textContent === '{text}').id = 'here'"));
        };
        name("Suspend");
        reach(&browser, "here");
        enter();
        browser.shows("Suspend this lease?");
        name("Suspend");
        reach(&browser, "here");
        enter();
        browser.shows("lease.suspended");
        shop.lease_until("it to stand still", &lease, |lease| lease["state"] == "suspended");
    });
}

#[test]
fn an_operator_works_without_scripts_and_signs_out_everywhere() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let rented = running(shop);
        let (browser, other) = (Browser::without_scripts(), Browser::start());
        sign_in(shop, &browser);
        sign_in(shop, &other);
        browser.fill("q", &rented.address);
        browser.click("//form[@role='search']//button");
        browser.shows("its lease of shared");
        browser.click("//td//a[starts-with(@href, '/operator/leases/')]");
        browser.shows("What happened");
        for (act, then) in
            [("Suspend", "lease.suspended"), ("Resume", "lease.resumed"), ("Revoke", "lease.ended")]
        {
            browser.click(&format!("//a[text()='{act}']"));
            browser.shows(&format!("{act} this lease?"));
            browser.click(&format!("//main//form[@action]//button[text()='{act}']"));
            browser.shows(then);
        }
        browser.go(&format!("{}/operator/session", shop.url()));
        browser.click("//button[starts-with(text(), 'Sign out in every browser')]");
        browser.shows("For operators");
        other.reload();
        other.shows("For operators");
    });
}
