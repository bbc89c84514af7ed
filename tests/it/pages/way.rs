//! The whole way of a customer: ask, pay, wait, get in, pay for more, give back. With and without
//! scripts, and by keyboard alone.

use std::time::Duration;

use crate::harness::browser::Browser;
use crate::harness::daemon::Shop;
use crate::harness::peers::left_out;
use crate::harness::wait::{until, within};

use super::{KEY, ask, at_checkout, customers, lease_of, send};

const TAB: char = '\u{E004}';
pub(super) const ENTER: char = '\u{E007}';
const RIGHT: char = '\u{E014}';
const SPACE: char = ' ';

/// What a page shows by itself; without scripts it is loaded again after some seconds.
fn sees(browser: &Browser, scripts: bool, part: &str) {
    if scripts {
        browser.shows(part);
        return;
    }
    // A page that waits for money loads itself again after half a minute.
    within(Duration::from_secs(60), part, || {
        let source = browser.source();
        if source.contains(part) { Ok(()) } else { Err(source) }
    });
}

fn whole_way(shop: &Shop, browser: &Browser, scripts: bool) {
    let sees = |part: &str| sees(browser, scripts, part);
    let invoice = ask(browser, shop, "box", "1.5");
    let lease = lease_of(shop, &invoice);
    sees("Pay with bitcoin");
    assert_eq!(shop.invoice(&invoice)["amount_sat"], 5400);
    send(shop, &invoice);
    sees("On its way");
    shop.node.mine(1);
    sees("Paid");
    browser.click("//a[@id='go']");
    sees("kite-amber-lotus");
    sees("Running");
    browser.fill("time", "2");
    browser.click("//button[@id='more']");
    let more = at_checkout(browser);
    assert_ne!(more, invoice);
    send(shop, &more);
    shop.node.mine(3);
    sees("Paid");
    browser.click("//a[@id='go']");
    let view = shop.lease_until("both to count", &lease, |lease| lease["paid_sat"] == 5400 + 7200);
    assert_eq!(view["credits"].as_array().map(Vec::len), Some(2), "{view}");
    sees("12,600 sat");
    let address = shop.node.new_address();
    browser.fill("refund_address", &address);
    browser.click("//button[@id='set-refund']");
    until("the address to be kept", || {
        let source = browser.source();
        if source.contains(&format!("value=\"{address}\"")) { Ok(()) } else { Err(source) }
    });
    browser.click("//a[@id='return']");
    sees("would go back to you, to");
    browser.click("//button[text()='Give it back']");
    sees("It was given back.");
    let ended = shop.lease(&lease);
    assert_eq!((&ended["state"], &ended["end_reason"]), (&"ended".into(), &"returned".into()));
    assert!(ended["refundable_sat"].as_u64() > Some(12_000), "{ended}");
}

#[test]
fn a_customer_goes_the_whole_way_and_pages_change_by_themselves() {
    if left_out("browser") {
        return;
    }
    customers(|shop| whole_way(shop, &Browser::start(), true));
}

#[test]
fn a_customer_goes_the_whole_way_without_scripts() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::without_scripts();
        whole_way(shop, &browser, false);
        // What only scripts can do is not shown; what they do instead is.
        browser.go(&format!("{}/resources/box", shop.url()));
        browser.fill("time", "3");
        browser.click("//button[@id='look']");
        until("the price", || {
            let source = browser.source();
            if source.contains("10,800 sat") { Ok(()) } else { Err(source) }
        });
        assert!(browser.url().ends_with("/resources/box/price"));
    });
}

/// Presses Tab until the element with this id has the focus.
pub(super) fn reach(browser: &Browser, id: &str) {
    for _ in 0..40 {
        if browser.run("return document.activeElement.id") == id {
            let outline = "return getComputedStyle(document.activeElement).outlineStyle";
            assert_ne!(browser.run(outline), "none", "the focus on {id} is seen");
            return;
        }
        browser.press(&TAB.to_string());
    }
    panic!("no way to {id} by Tab");
}

#[test]
fn enter_in_a_field_asks_for_it_and_the_price_is_of_what_was_typed() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/shared", shop.url()));
        browser.fill("time", "soon");
        browser.shows("Give a number");
        browser.fill("time", "3");
        browser.shows("10,800 sat for 3 hours");
        browser.press(&ENTER.to_string());
        let invoice = at_checkout(&browser);
        assert_eq!(shop.invoice(&invoice)["amount_sat"], 10_800);
    });
}

#[test]
fn a_holder_who_follows_a_link_on_another_site_is_known() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        let invoice = ask(&browser, shop, "shared", "1");
        let lease = format!("{}/leases/{}", shop.url(), lease_of(shop, &invoice));
        // To a browser this name of the machine is another site.
        browser.go(&shop.url().replace("127.0.0.1", "localhost"));
        browser.shows("For rent");
        browser.run(&format!("location.href = '{lease}'"));
        browser.shows("Give the lease back");
        assert!(browser.url().ends_with("here=1"), "{}", browser.url());
    });
}

#[test]
fn everything_can_be_done_by_keyboard_alone() {
    if left_out("browser") {
        return;
    }
    customers(|shop| {
        let browser = Browser::start();
        browser.go(&format!("{}/resources/box", shop.url()));
        reach(&browser, "slider");
        let before = browser.run("return document.getElementById('time').value");
        browser.press(&RIGHT.to_string());
        until("the field to follow the slider", || {
            let now = browser.run("return document.getElementById('time').value");
            if now == before { Err(now) } else { Ok(()) }
        });
        browser.shows("7,200 sat for 2 hours");
        reach(&browser, "param-ssh_public_key");
        browser.press(KEY);
        reach(&browser, "ask");
        browser.press(&ENTER.to_string());
        let invoice = at_checkout(&browser);
        // Copying needs no pointer, and says that it was done.
        reach(&browser, "copy-address");
        browser.press(&SPACE.to_string());
        until("the address to be copied", || {
            let said = browser.run("return document.getElementById('said').textContent");
            if said == "The address was copied" { Ok(()) } else { Err(said) }
        });
        reach(&browser, "wallet");
        send(shop, &invoice);
        shop.node.mine(1);
        browser.shows("Paid");
        browser.run("document.activeElement.blur()");
        reach(&browser, "go");
        browser.press(&ENTER.to_string());
        browser.shows("kite-amber-lotus");
        reach(&browser, "return");
        browser.press(&ENTER.to_string());
        browser.shows("Give the lease back?");
        browser.run("document.querySelector('main button').id = 'yes'");
        reach(&browser, "yes");
        browser.press(&ENTER.to_string());
        browser.shows("It was given back.");
    });
}
