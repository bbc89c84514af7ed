//! Open pages of a resource that the operator pauses or takes off the list; and what a shared one costs
//! to keep up.

use crate::harness::browser::Browser;
use crate::harness::daemon::Shop;
use crate::harness::peers::left_out;
use crate::harness::wait::until;

use super::{ask, customers, lease_of};

/// Pauses a resource by the API, or lets it go on.
pub(super) fn stop_selling(shop: &Shop, resource: &str, what: &str) {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let path = format!("/v1/admin/resources/{resource}/{what}");
    let (status, answer) = shop.ask(reqwest::Method::POST, &path, Some(key.trim()), None);
    assert_eq!(status, 204, "{answer}");
}

/// Takes the resource that is shared off the list while the server runs.
fn take_off_the_list(shop: &Shop) {
    let file = shop.folder().join("catalog.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let (first, _) = text.split_once("[[resource]]\nid = \"shared\"").expect("it is listed");
    std::fs::write(&file, first).expect("the folder is ours");
    let applied = shop.command(&["apply", "catalog.toml"]).output().expect("it starts");
    assert!(applied.status.success(), "{applied:?}");
}

/// Waits until the page has heard of its object once: from then on it is told of changes only.
pub(super) fn listens(browser: &Browser) {
    let script = "return performance.getEntriesByType('resource')\
        .some(one => one.initiatorType === 'fetch' && one.responseEnd > 0)";
    until("the first message", || {
        if browser.run(script) == true { Ok(()) } else { Err("nothing is fetched yet") }
    });
    browser.run("window.same = true");
}

#[test]
fn an_open_checkout_and_an_open_lease_follow_a_pause_and_the_end_of_their_resource() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        let checkout = format!("{}/checkout/{invoice}", shop.url());
        let lease = format!("{}/leases/{}", shop.url(), lease_of(shop, &invoice));
        let shows = |text: &str| {
            browser.shows(text);
            assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
        };
        let pays = || browser.run("return document.getElementById('wallet') !== null");
        for (page, paused, open) in [
            (&checkout, "Paused: do not pay now", "Pay with bitcoin"),
            (&lease, "no money for this at the moment: do not pay now", "Pay for it"),
        ] {
            browser.go(page);
            listens(&browser);
            stop_selling(shop, "shared", "pause");
            shows(paused);
            assert_eq!(pays(), false, "no link to pay");
            stop_selling(shop, "shared", "resume");
            shows(open);
        }
        browser.go(&checkout);
        listens(&browser);
        assert_eq!(pays(), true);
        take_off_the_list(shop);
        shows("Not offered any more: do not pay");
        assert_eq!(pays(), false, "no link to pay");
        browser.go(&lease);
        browser.shows("The operator has taken this off the list: do not pay.");
    });
}

#[test]
fn an_open_resource_page_follows_a_pause_keeps_what_is_typed_and_says_when_it_is_gone() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/shared", shop.url()));
        browser.shows("Open to everyone who pays");
        browser.fill("refund_address", "half an addr");
        browser.fill("time", "7");
        browser.run("window.same = true");
        stop_selling(shop, "shared", "pause");
        browser.shows("Paused: the operator takes no money for this at the moment.");
        let asks = "return document.getElementById('ask') !== null";
        assert_eq!(browser.run(asks), false, "nothing can be asked for");
        stop_selling(shop, "shared", "resume");
        let text = browser.shows("Ask for it");
        assert!(!text.contains("takes no money"), "{text}");
        let typed =
            "return ['refund_address', 'time'].map(id => document.getElementById(id).value)";
        assert_eq!(browser.run(typed), serde_json::json!(["half an addr", "7"]));
        browser.shows("25,200 sat");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
        take_off_the_list(shop);
        browser.shows("This is not for rent");
    });
}

#[test]
fn what_it_costs_to_keep_a_shared_resource_up_is_said_on_pages_and_in_the_api() {
    customers(|shop| {
        let said = "Keeping it up costs the operator 30,000 sat a month \
                    <span class=\"worth\" title=\"A hint: the price is in satoshis\">\
                    (≈ 18.37 EUR)</span>.</p>";
        for (path, times) in [("/", 1), ("/resources/shared", 1), ("/resources/box", 0)] {
            let page = shop.ask_text(path);
            assert_eq!(page.matches(said).count(), times, "{path}: {page}");
            assert_eq!(page.matches("Keeping it up").count(), times, "{path}: {page}");
        }
        let get = |path: &str| shop.ask(reqwest::Method::GET, path, None, None).1;
        let cost = serde_json::json!({ "running_cost": { "sat": 30_000, "per_s": 2_592_000 } });
        assert_eq!(get("/v1/resources/shared")["funding"], cost);
        let list = get("/v1/resources");
        let funding = ["box", "shared"].map(|id| {
            let items = list["items"].as_array().expect("a list");
            items.iter().find(|item| item["id"] == id).expect("it is offered")["funding"].clone()
        });
        assert_eq!(funding, [serde_json::Value::Null, cost]);
    });
}
