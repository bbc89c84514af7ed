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
fn two_tabs_both_change_by_themselves_and_share_one_claim() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let resource = format!("{}/resources/shared", shop.url());
        browser.go(&resource);
        let first = browser.open_tab();
        browser.go(&resource);
        browser.shows("Ask for it");
        let second = browser.open_tab();
        // Both forms are from before there was a cookie.
        browser.switch_to(&first);
        browser.click("//button[@id='ask']");
        let one = super::at_checkout(&browser);
        browser.switch_to(&second);
        browser.click("//button[@id='ask']");
        let two = super::at_checkout(&browser);
        browser.go(&format!("{}/claim", shop.url()));
        for invoice in [&one, &two] {
            let listed = format!("a[href='/leases/{}']", lease_of(shop, invoice));
            let found =
                browser.run(&format!("return document.querySelectorAll(\"{listed}\").length"));
            assert_eq!(found, 1, "one claim has both");
        }
        let lease = format!("{}/leases/{}", shop.url(), lease_of(shop, &one));
        for tab in [&first, &second] {
            browser.switch_to(tab);
            browser.go(&lease);
            browser.shows("Waits for payment");
            browser.run("window.same = true");
        }
        let see = |tab: &str, part: &str| {
            browser.switch_to(tab);
            browser.shows(part);
            assert_eq!(browser.run("return window.same"), true, "never loaded anew: {part}");
        };
        send(shop, &one);
        shop.node.mine(2);
        // Whoever holds it sees how to give it back.
        for tab in [&second, &first] {
            see(tab, "Running");
            see(tab, "Give the lease back");
        }
        browser.fill("refund_address", "half an addr");
        browser.switch_to(&second);
        browser.run("document.getElementById('return').click()");
        browser.click("//button[text()='Give it back']");
        browser.shows("It was given back.");
        see(&first, "It was given back.");
        let typed = browser.run("return document.getElementById('refund_address').value");
        assert_eq!(typed, "half an addr");
        let left = "return ['return', 'more-form'].filter(id => document.getElementById(id))";
        let none = serde_json::json!([]);
        assert_eq!(browser.run(left), none, "what cannot be done any more is gone");
    });
}

#[test]
fn what_is_wrong_with_a_form_of_a_lease_stays_beside_it_while_the_page_changes() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        send(shop, &invoice);
        shop.node.mine(2);
        browser.shows("Paid");
        let lease = lease_of(shop, &invoice);
        browser.go(&format!("{}/leases/{lease}", shop.url()));
        browser.fill("time", "soon");
        browser.click("//button[@id='more']");
        browser.shows("Give a number");
        let focus = "return [document.activeElement.id, document.activeElement.value]";
        assert_eq!(browser.run(focus), serde_json::json!(["time", "soon"]));
        // Nobody types any more; then the lease changes.
        browser.run("document.activeElement.blur(); window.same = true");
        let (address, _) = due(shop, &invoice);
        shop.node.send(&address, 3600);
        shop.node.mine(2);
        browser.shows("7,200 sat");
        let text = browser.shows("Give a number");
        assert!(text.contains("Running"), "{text}");
        let typed = "return [window.same, document.getElementById('time').value]";
        assert_eq!(browser.run(typed), serde_json::json!([true, "soon"]));
        browser.fill("refund_address", "nonsense");
        browser.click("//button[@id='set-refund']");
        browser.shows("This is not a bitcoin address.");
        browser.shows("Running");
        let typed = "return document.getElementById('refund_address').value";
        assert_eq!(browser.run(typed), "nonsense");
        browser.fill("time", "2");
        browser.click("//button[@id='more']");
        assert_ne!(super::at_checkout(&browser), invoice);
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
        let text = browser.shows("The price holds until");
        assert!(text.contains("(in 29 min)") || text.contains("(in 30 min)"), "{text}");
        // Near the end its seconds count; the page is asked for anew, since clocks have moved.
        shop.shift_clock(1800 - 120);
        until("the countdown", || {
            browser.reload();
            let text = browser.shows("The price holds until");
            if text.contains("(in 1 min") && text.contains(" s)") { Ok(()) } else { Err(text) }
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

#[test]
fn the_rate_of_the_operators_currency_is_a_hint_beside_satoshis() {
    customers(|shop| {
        let page = shop.ask_text("/resources/shared?time=10&unit=h");
        assert!(page.contains("36,000 sat") && page.contains("≈ 22.04 EUR"), "{page}");
        assert!(shop.ask_text("/").contains("≈ 2.20 EUR"));
    });
}
