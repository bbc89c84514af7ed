//! A walk past every page of ours in every state that it has. Whoever looks is called at each stop.

use crate::harness::browser::Browser;
use crate::harness::daemon::Shop;

use super::closed::stop_selling;
use super::{ask, due, lease_of, send};

/// Goes everywhere; `look` gets the name of each stop.
pub(super) fn tour(shop: &Shop, browser: &Browser, look: &mut dyn FnMut(&Browser, &str)) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    go("/");
    look(browser, "catalogue");
    go("/resources/box");
    look(browser, "resource");
    browser.fill("time", "999");
    browser.fill("param-ssh_public_key", "no key");
    browser.fill("refund_address", "no address");
    browser.click("//button[@id='ask']");
    browser.shows("This must be one line");
    look(browser, "resource-mistakes");
    let invoice = ask(browser, shop, "box", "5");
    look(browser, "checkout");
    let lease = lease_of(shop, &invoice);
    go(&format!("/leases/{lease}"));
    look(browser, "lease-unpaid");
    pay_in_parts(shop, browser, &invoice, look);
    of_the_holder(shop, browser, &lease, look);
    past_the_end(shop, browser, &lease, look);
    in_doubt(shop, browser, look);
    paused(shop, browser, look);
    go("/claim/lost");
    look(browser, "lost");
    go("/no/such/page");
    look(browser, "not-found");
}

fn pay_in_parts(
    shop: &Shop,
    browser: &Browser,
    invoice: &str,
    look: &mut dyn FnMut(&Browser, &str),
) {
    browser.go(&format!("{}/checkout/{invoice}", shop.url()));
    let (address, sat) = due(shop, invoice);
    shop.node.send(&address, sat / 3);
    browser.shows("Some of it came");
    look(browser, "checkout-partial");
    send(shop, invoice);
    browser.shows("On its way");
    shop.node.mine(1);
    browser.shows("1 of 3 confirmations");
    look(browser, "checkout-confirming");
    shop.node.mine(2);
    browser.shows("Paid");
    look(browser, "checkout-paid");
}

fn of_the_holder(
    shop: &Shop,
    browser: &Browser,
    lease: &str,
    look: &mut dyn FnMut(&Browser, &str),
) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    shop.lease_until("it to run", lease, |lease| lease["state"] == "active");
    go(&format!("/leases/{lease}"));
    browser.shows("kite-amber-lotus");
    look(browser, "lease");
    browser.fill("time", "soon");
    browser.click("//button[@id='more']");
    browser.shows("Give a number");
    look(browser, "more-mistakes");
    browser.fill("refund_address", "nonsense");
    browser.click("//button[@id='set-refund']");
    browser.shows("This is not a bitcoin address.");
    look(browser, "refund-mistakes");
    go(&format!("/leases/{lease}/params"));
    look(browser, "params");
    go("/claim");
    browser.click("//button[text()='Forget them here']");
    browser.shows("Lose the claim token of this browser?");
    look(browser, "forget");
    go(&format!("/leases/{lease}/claim"));
    look(browser, "claim-before");
    browser.click("//button[@id='show']");
    browser.shows("It is shown this once");
    look(browser, "claim-shown");
    go(&format!("/leases/{lease}/claim"));
    look(browser, "claim-after");
    go(&format!("/leases/{lease}/rotate"));
    look(browser, "claim-replace");
    go(&format!("/leases/{lease}/return"));
    look(browser, "return");
    go(&format!("/leases/{lease}/receipt"));
    look(browser, "receipt");
    go("/claim");
    look(browser, "claims");
    go("/resources/box");
    look(browser, "resource-mine");
}

fn past_the_end(shop: &Shop, browser: &Browser, lease: &str, look: &mut dyn FnMut(&Browser, &str)) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    let given_up = ask(browser, shop, "shared", "1");
    go(&format!("/checkout/{given_up}/cancel"));
    look(browser, "cancel");
    browser.click("//main//button");
    browser.shows("Given up");
    look(browser, "checkout-given-up");
    let expired = ask(browser, shop, "shared", "1");
    shop.shift_clock(1860);
    shop.invoice_until("the quote to end", &expired, |invoice| invoice["status"] == "expired");
    go(&format!("/checkout/{expired}"));
    look(browser, "checkout-expired");
    shop.shift_clock(5 * 3600 + 60);
    shop.lease_until("its grace", lease, |lease| lease["state"] == "grace");
    go(&format!("/leases/{lease}"));
    look(browser, "lease-grace");
    shop.shift_clock(5 * 3600 + 1200);
    shop.lease_until("its end", lease, |lease| lease["state"] == "ended");
    go(&format!("/leases/{lease}"));
    look(browser, "lease-over");
    browser.click("//a[text()='Your leases']");
    browser.click("//button[text()='Forget them here']");
    browser.shows("This browser has no claim token");
    look(browser, "claims-none");
    go(&format!("/leases/{lease}"));
    look(browser, "lease-stranger");
}

/// Money that waits, is in conflict, or buys nothing; a lease that the operator stopped.
fn in_doubt(shop: &Shop, browser: &Browser, look: &mut dyn FnMut(&Browser, &str)) {
    let go = |path: &str| browser.go(&format!("{}{path}", shop.url()));
    let invoice = ask(browser, shop, "shared", "1");
    let lease = lease_of(shop, &invoice);
    let (address, sat) = due(shop, &invoice);
    shop.node.send(&address, 300);
    shop.node.mine(2);
    browser.shows("it is kept until more comes");
    look(browser, "checkout-held");
    go(&format!("/leases/{lease}"));
    browser.shows("Money waits");
    look(browser, "lease-held");
    let first = shop.node.send(&address, sat);
    shop.invoice_until("it to be seen", &invoice, |found| found["status"] == "confirming");
    shop.node.bump(&first);
    go(&format!("/checkout/{invoice}"));
    browser.shows("In conflict");
    look(browser, "checkout-conflict");
    shop.node.mine(2);
    shop.lease_until("it to run", &lease, |found| found["state"] == "active");
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let act = |what: &str| {
        let path = format!("/v1/admin/leases/{lease}/{what}");
        shop.post(&path, Some(key.trim()), &serde_json::json!({}));
    };
    act("suspend");
    go(&format!("/leases/{lease}"));
    browser.shows("Stopped by the operator");
    look(browser, "lease-suspended");
    act("revoke");
    go(&format!("/checkout/{invoice}"));
    browser.shows("the lease is over by now");
    look(browser, "checkout-over");
}

/// A request whose resource takes no money for a while.
fn paused(shop: &Shop, browser: &Browser, look: &mut dyn FnMut(&Browser, &str)) {
    let invoice = ask(browser, shop, "shared", "1");
    let lease = lease_of(shop, &invoice);
    stop_selling(shop, "shared", "pause");
    let pages = [
        ("checkout-paused", format!("/checkout/{invoice}"), "Paused: do not pay now"),
        ("lease-paused", format!("/leases/{lease}"), "do not pay now"),
        ("resource-paused", "/resources/shared".into(), "takes no money for this"),
        ("catalogue-paused", "/".into(), "Paused"),
    ];
    for (stop, path, part) in pages {
        browser.go(&format!("{}{path}", shop.url()));
        browser.shows(part);
        look(browser, stop);
    }
    stop_selling(shop, "shared", "resume");
}
