//! Open pages when answers fail, when the stream breaks, and of what changes with no event.

use std::fs;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::browser::Browser;
use crate::harness::daemon::Shop;
use crate::harness::peers::left_out;
use crate::harness::wait::until;

use super::closed::{listens, stop_selling};
use super::{ask, customers, lease_of, send};

/// The claim token of a browser.
fn token(browser: &Browser, shop: &Shop) -> String {
    let cookies = browser.tell("Network.getCookies", &json!({ "urls": [shop.url()] }));
    let found = cookies["cookies"].as_array().expect("a list").iter();
    let mut values = found.filter_map(|cookie| cookie["value"].as_str());
    values.find(|value| value.starts_with("clm_")).expect("it has a claim").to_owned()
}

fn offline(browser: &Browser, offline: bool) {
    let how = json!({ "offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1 });
    browser.tell("Network.emulateNetworkConditions", &how);
}

#[test]
fn however_often_a_page_cannot_be_fetched_one_try_is_to_come_and_not_before_the_server_wants_it() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.shows("Pay with bitcoin");
        browser.go(&format!("{}/checkout/{invoice}", shop.url()));
        listens(&browser);
        let found = browser.run_async(
            "const done = arguments[arguments.length - 1], timers = new Map(), found = [];\
             const set = window.setTimeout, clear = window.clearTimeout;\
             window.setTimeout = (act, ms) => { const id = set(() => { timers.delete(id); act(); }, ms);\
                 timers.set(id, ms); return id; };\
             window.clearTimeout = id => { timers.delete(id); clear(id); };\
             let asked = 0, answer = () => Promise.reject(new Error('away'));\
             window.fetch = () => { asked += 1; return answer(); };\
             const open = () => found.push([asked, [...timers.values()].filter(ms => ms >= 2000 && ms < 1e6)]);\
             const try_it = async n => { while (n--) { leasehold.refresh(); leasehold.refresh();\
                 await new Promise(next => set(next, 0)); } };\
             (async () => {\
                 await try_it(4); open();\
                 answer = () => Promise.resolve(new Response('<p></p>'));\
                 asked = 0; await try_it(1); await new Promise(next => set(next, 50)); open();\
                 answer = () => Promise.resolve(new Response('',\
                     { status: 429, headers: { 'retry-after': '120' } }));\
                 asked = 0; await try_it(4); open(); done(found); })();",
        );
        // Above are the timers of the driver. A failure doubles the wait; what was asked meanwhile waits, too. Then all is well, and
        // asked for twice. Then the server names a time: it is asked once.
        let right = json!([[4, [16_000]], [2, []], [1, [120_000]]]);
        assert_eq!(found, right);
    });
}

#[test]
fn a_page_whose_stream_broke_shows_new_access_details_when_it_heals() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "box", "1");
        let lease = lease_of(shop, &invoice);
        send(shop, &invoice);
        shop.node.mine(1);
        shop.lease_until("it to run", &lease, |lease| lease["state"] == "active");
        browser.go(&format!("{}/leases/{lease}", shop.url()));
        browser.shows("kite-amber-lotus");
        listens(&browser);
        let claim = token(&browser, shop);
        offline(&browser, true);
        shop.stop();
        let hook = shop.folder().join("hook");
        let text = fs::read_to_string(&hook).expect("it is there");
        fs::write(&hook, text.replace("kite-amber-lotus", "plum-river-stone")).expect("it is ours");
        shop.start();
        let path = format!("/v1/leases/{lease}");
        let body = json!({ "params": { "ssh_public_key": super::KEY.replace(" me", " you") } });
        let (status, answer) = shop.ask(Method::PATCH, &path, Some(&claim), Some(&body));
        assert_eq!(status, 200, "{answer}");
        until("the new password", || {
            let view = shop.ask(Method::GET, &path, Some(&claim), None).1;
            if view["access"]["password"] == "plum-river-stone" { Ok(()) } else { Err(view) }
        });
        offline(&browser, false);
        browser.shows("plum-river-stone");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
    });
}

#[test]
fn an_open_page_follows_the_refund_of_its_lease() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "5");
        let lease = lease_of(shop, &invoice);
        send(shop, &invoice);
        shop.node.mine(6);
        shop.lease_until("it to run", &lease, |lease| lease["state"] == "active");
        let claim = token(&browser, shop);
        shop.post(&format!("/v1/leases/{lease}/return"), Some(&claim), &json!({}));
        browser.go(&format!("{}/leases/{lease}", shop.url()));
        browser.shows("waits for your refund address");
        listens(&browser);
        // The lease is as it was; its refund is not.
        let before = shop.lease(&lease);
        let body = json!({ "refund_address": shop.node.new_address() });
        let (status, answer) = shop.ask(Method::PATCH, "/v1/claims", Some(&claim), Some(&body));
        assert_eq!(status, 200, "{answer}");
        browser.shows("will be sent with the operator's next batch");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
        assert_eq!(shop.lease(&lease), before);
    });
}

#[test]
fn an_open_catalogue_shows_what_is_when_somebody_looks_at_it_again() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(shop.url());
        browser.shows("Open to everyone who pays");
        browser.run("window.same = true");
        stop_selling(shop, "shared", "pause");
        browser.run("document.dispatchEvent(new Event('visibilitychange'))");
        browser.shows("Paused");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
    });
}

/// What is said of the field of the time.
fn said(browser: &Browser) -> Value {
    browser.run(
        "const time = document.getElementById('time');\
         return [time.getAttribute('aria-invalid'), time.getAttribute('aria-describedby')]",
    )
}

#[test]
fn a_mistake_in_the_time_is_said_of_its_field_while_it_stands_there() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/shared", shop.url()));
        browser.fill("time", "soon");
        browser.run("window.before = true");
        browser.click("//button[@id='ask']");
        until("the form to be refused", || {
            let new = browser.run("return [window.before, document.activeElement.id]");
            if new == json!([null, "time"]) { Ok(()) } else { Err(new) }
        });
        assert_eq!(said(&browser), json!(["true", "time-hint time-error"]));
        browser.shows("Give a number");
        browser.fill("time", "3");
        browser.shows("10,800 sat for 3 hours");
        assert_eq!(said(&browser), json!([null, "time-hint"]));
        browser.fill("time", "99999");
        browser.shows("From 10 minutes to 30 days.\n");
        until("the mistake to be said", || {
            let said = said(&browser);
            if said == json!(["true", "time-hint time-error"]) { Ok(()) } else { Err(said) }
        });
    });
}

#[test]
fn a_price_that_cannot_be_asked_for_is_said_and_asked_for_again() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/shared", shop.url()));
        browser.shows("3,600 sat for 1 hour");
        browser.run("window.kept = window.fetch; window.fetch = () => Promise.reject(new Error())");
        browser.fill("time", "3");
        browser.shows("The price cannot be asked for at the moment.");
        browser.run("window.fetch = window.kept");
        let text = browser.shows("10,800 sat for 3 hours");
        assert!(!text.contains("cannot be asked for"), "{text}");
    });
}

#[test]
fn an_open_resource_page_takes_what_the_offer_takes_by_now() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/shared", shop.url()));
        browser.shows("From 10 minutes to 30 days.");
        listens(&browser);
        let file = shop.folder().join("catalog.toml");
        let text = fs::read_to_string(&file).expect("it is there");
        let (first, last) =
            text.split_once("min_duration = \"10m\"\nmax_duration = \"30d\"").expect("so");
        let other = format!("{first}min_duration = \"2h\"\nmax_duration = \"5h\"{last}");
        fs::write(&file, other).expect("the folder is ours");
        let applied = shop.command(&["apply", "catalog.toml"]).output().expect("it starts");
        assert!(applied.status.success(), "{applied:?}");
        let text = browser.shows("From 2 hours to 5 hours.");
        assert!(text.contains("What lies beyond 5 hours is banked"), "{text}");
        browser.run(
            "const slider = document.getElementById('slider'); slider.value = slider.max;\
             slider.dispatchEvent(new Event('input'))",
        );
        browser.shows("18,000 sat for 5 hours");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
    });
}
