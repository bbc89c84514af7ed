//! Pages that stay open: while the server restarts, in two tabs, after going back, beyond the quote.

use crate::harness::browser::Browser;
use crate::harness::peers::left_out;
use crate::harness::wait::until;

use super::{ask, customers, due, lease_of, send};

#[test]
fn an_open_page_goes_on_when_the_server_has_restarted() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.shows("Pay with bitcoin");
        browser.run("window.same = true");
        shop.stop();
        send_later(shop, &invoice, &browser);
        browser.shows("On its way");
        shop.kill();
        shop.start();
        shop.node.mine(2);
        browser.shows("Paid");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
    });
}

/// Pays while nobody is there to see it, then starts the server.
fn send_later(shop: &mut crate::harness::daemon::Shop, invoice: &str, browser: &Browser) {
    let text = "return document.getElementById('address').dataset.text";
    let address = browser.run(text).as_str().expect("an address").to_owned();
    shop.node.send(&address, 3600);
    shop.start();
    shop.invoice_until("the payment to be seen", invoice, |it| it["status"] == "confirming");
}

#[test]
fn two_tabs_show_the_same_and_what_is_typed_in_one_stays() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        send(shop, &invoice);
        shop.node.mine(2);
        browser.shows("Paid");
        let lease = format!("{}/leases/{}", shop.url(), lease_of(shop, &invoice));
        browser.go(&lease);
        browser.shows("Running");
        browser.fill("refund_address", "half an addr");
        let first = browser.open_tab();
        browser.go(&lease);
        browser.shows("Running");
        browser.click("//a[@id='return']");
        browser.click("//button[text()='Give it back']");
        browser.shows("It was given back.");
        browser.switch_to(&first);
        browser.shows("It was given back.");
        let typed = browser.run("return document.getElementById('refund_address').value");
        assert_eq!(typed, "half an addr");
        let left = "return ['return', 'more-form'].filter(id => document.getElementById(id))";
        assert_eq!(
            browser.run(left),
            serde_json::json!([]),
            "what cannot be done any more is gone"
        );
    });
}

#[test]
fn an_open_page_of_an_unpaid_lease_gets_what_a_running_one_has() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        let lease = lease_of(shop, &invoice);
        browser.go(&format!("{}/leases/{lease}", shop.url()));
        browser.shows("Waits for payment");
        browser.run("window.same = true");
        send(shop, &invoice);
        shop.node.mine(2);
        browser.shows("More time");
        browser.shows("Remind me (calendar)");
        assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
        browser.fill("time", "2");
        browser.click("//button[@id='more']");
        assert_ne!(super::at_checkout(&browser), invoice);
    });
}

#[test]
fn a_moment_that_stays_past_is_asked_about_once() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.go(&format!("{}/checkout/{invoice}", shop.url()));
        // Whatever is asked, the answer counts down to a moment that is over.
        let asked = browser.run_async(
            "const done = arguments[arguments.length - 1]; let asked = 0, frames = 0;\
             window.fetch = () => { asked += 1; return Promise.resolve(new Response(\
                 `<div id=\"state\" data-live>${asked}<i data-until=\"1000\"></i></div>`)); };\
             leasehold.refresh();\
             const next = () => (frames += 1) > 90 ? done(asked) : requestAnimationFrame(next);\
             next();",
        );
        let asked = asked.as_u64().expect("a number");
        assert!((2..5).contains(&asked), "asked {asked} times");
    });
}

#[test]
fn a_page_whose_stream_is_refused_is_fetched_all_the_same() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.go(&format!("{}/checkout/{invoice}", shop.url()));
        // The tab is hidden, streams are refused from then on, and it is looked at again.
        browser.run(
            "const seen = hidden => {\
                 Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });\
                 document.dispatchEvent(new Event('visibilitychange')); };\
             seen(true);\
             window.EventSource = function () {\
                 this.readyState = 2; this.close = () => {}; setTimeout(() => this.onerror()); };\
             window.EventSource.CLOSED = 2;\
             window.asked = 0; const fetched = window.fetch;\
             window.fetch = (...all) => { window.asked += 1; return fetched(...all); };\
             seen(false);",
        );
        until("two looks", || {
            let asked = browser.run("return window.asked");
            if asked.as_u64() >= Some(2) { Ok(()) } else { Err(asked) }
        });
        send(shop, &invoice);
        browser.shows("On its way");
    });
}

#[test]
fn going_back_shows_what_is_and_asks_for_nothing_twice() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.back();
        browser.shows("Ask for it");
        browser.click("//button[@id='ask']");
        let second = super::at_checkout(&browser);
        assert_ne!(second, invoice, "another request, as asked");
        browser.go(&format!("{}/checkout/{invoice}", shop.url()));
        browser.click("//a[text()='The lease']");
        browser.shows("Waits for payment");
        send(shop, &invoice);
        shop.node.mine(2);
        browser.shows("Running");
        browser.back();
        browser.shows("Paid");
        browser.go(&format!("{}/claim", shop.url()));
        browser.shows("Waits for payment");
        let listed = "return document.querySelectorAll('.cards > li').length";
        assert_eq!(browser.run(listed), 2, "the two that were asked for");
    });
}

#[test]
fn a_quote_that_ends_on_an_open_page_still_takes_late_money() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.shows("The price holds until");
        let hidden = "return document.querySelector('[data-within]').hidden";
        assert_eq!(browser.run(hidden), true, "no countdown at the beginning");
        // Near the end it is counted down; the page is asked for anew, since clocks have moved.
        shop.shift_clock(1800 - 120);
        until("the countdown", || {
            browser.reload();
            let text = browser.shows("The price holds until");
            if text.contains("minute") && text.contains("left.") { Ok(()) } else { Err(text) }
        });
        shop.shift_clock(1801);
        shop.invoice_until("the quote to end", &invoice, |it| it["status"] == "expired");
        browser.shows("The quote has ended");
        let (address, sat) = due(shop, &invoice);
        assert_eq!(sat, 3600);
        shop.node.send(&address, sat);
        browser.shows("On its way");
        shop.node.mine(2);
        browser.shows("Paid");
        browser.shows("A payment came after the quote");
        let lease = lease_of(shop, &invoice);
        shop.lease_until("it to run", &lease, |lease| lease["state"] == "active");
    });
}

#[test]
fn a_payment_that_is_replaced_is_explained_and_the_other_counts() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        let (address, sat) = due(shop, &invoice);
        let first = shop.node.send(&address, sat);
        browser.shows("On its way");
        let second = shop.node.bump(&first);
        browser.shows(&second.to_string());
        shop.node.mine(2);
        browser.shows("Paid");
        let text = browser.shows("Replaced");
        assert!(text.contains("This one never counts"), "{text}");
        assert!(text.contains("A payment was replaced by another transaction"), "{text}");
    });
}

/// Pauses a resource by the API, or lets it go on.
fn stop_selling(shop: &crate::harness::daemon::Shop, resource: &str, what: &str) {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let path = format!("/v1/admin/resources/{resource}/{what}");
    let (status, answer) = shop.ask(reqwest::Method::POST, &path, Some(key.trim()), None);
    assert_eq!(status, 204, "{answer}");
}

/// Takes the resource that is shared off the list while the server runs.
fn take_off_the_list(shop: &crate::harness::daemon::Shop) {
    let file = shop.folder().join("catalog.toml");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let (first, _) = text.split_once("[[resource]]\nid = \"shared\"").expect("it is listed");
    std::fs::write(&file, first).expect("the folder is ours");
    let applied = shop.command(&["apply", "catalog.toml"]).output().expect("it starts");
    assert!(applied.status.success(), "{applied:?}");
}

#[test]
fn an_open_checkout_and_an_open_lease_follow_a_pause_and_the_end_of_their_resource() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        browser.shows("Pay with bitcoin");
        browser.run("window.same = true");
        let checkout = browser.open_tab();
        browser.go(&format!("{}/leases/{}", shop.url(), lease_of(shop, &invoice)));
        browser.shows("Pay for it");
        browser.run("window.same = true");
        let lease = browser.open_tab();
        let see = |tab: &str, text: &str| {
            browser.switch_to(tab);
            browser.shows(text);
            assert_eq!(browser.run("return window.same"), true, "the page was never loaded anew");
            browser.run("return document.getElementById('wallet') !== null")
        };
        stop_selling(shop, "shared", "pause");
        assert_eq!(see(&checkout, "Paused: do not pay now"), false, "no link to pay");
        see(&lease, "no money for this at the moment: do not pay now");
        stop_selling(shop, "shared", "resume");
        assert_eq!(see(&checkout, "Pay with bitcoin"), true);
        see(&lease, "Pay for it");
        take_off_the_list(shop);
        assert_eq!(see(&checkout, "Not offered any more: do not pay"), false);
        see(&lease, "The operator has taken this off the list: do not pay.");
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
        let said = "It costs 30,000 sat a month \
                    <span class=\"quiet worth\" title=\"A hint: the price is in satoshis\">\
                    ≈ 18.37 EUR</span> to keep it up.";
        for (path, times) in [("/", 1), ("/resources/shared", 1), ("/resources/box", 0)] {
            let page = shop.ask_text(path);
            assert_eq!(page.matches(said).count(), times, "{path}: {page}");
            assert_eq!(page.matches("keep it up").count(), times, "{path}: {page}");
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

#[test]
fn the_rate_of_the_operators_currency_is_a_hint_beside_satoshis() {
    customers(|shop| {
        let page = shop.ask_text("/resources/shared?time=10&unit=h");
        assert!(page.contains("36,000 sat") && page.contains("≈ 22.04 EUR"), "{page}");
        assert!(shop.ask_text("/").contains("≈ 2.20 EUR"));
    });
}
