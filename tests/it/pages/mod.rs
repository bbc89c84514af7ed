//! The pages in a real browser, as customers see and touch them.

mod breaks;
mod closed;
mod hooks;
mod live;
mod operators;
mod quality;
mod shots;
mod times;
mod tour;
mod way;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use crate::harness::bitcoind::free_port;
use crate::harness::browser::Browser;
use crate::harness::daemon::{Shop, once_with};
use crate::harness::wait::until;

/// A key that anybody may have.
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f me";

/// A shop with a name of its own, whose leases come with access details, at one address for good.
fn customers(body: impl Fn(&mut Shop) + Sync) {
    let brand = "[brand]\nname = \"Hour House\"\naccent = \"#7a1f5c\"\n\
                 footer = \"Hour House, a shop for tests\"\ncontact = \"help@hours.example\"\n\
                 [fiat_hint]\ncurrency = \"EUR\"\nrate_file = \"eur.rate\"";
    once_with(brand, |shop| {
        shop.stop();
        let hook = shop.folder().join("hook");
        let access = "{\"host\": \"box-1.example.org\", \"password\": \"kite-amber-lotus\"}";
        std::fs::write(&hook, format!("#!/bin/sh\necho '{access}'\n")).expect("the folder is ours");
        std::fs::set_permissions(&hook, Permissions::from_mode(0o755)).expect("it is ours");
        std::fs::write(shop.folder().join("eur.rate"), "61234.50\n").expect("the folder is ours");
        shop.write_catalog(&catalog(&hook.display().to_string()));
        shop.variables.push(("LEASEHOLD_LISTEN", format!("127.0.0.1:{}", free_port())));
        shop.start();
        body(shop);
    });
}

fn catalog(hook: &str) -> String {
    format!(
        "[[resource]]\nid = \"box\"\ntitle = \"A small box\"\n\
         description = \"Two cores and a disk, reached by ssh with your key.\"\n\
         access = \"exclusive\"\nunits = [\"box-1\", \"box-2\", \"box-3\"]\n\
         price = {{ sat = 3600, per = \"1h\" }}\nmax_unpaid_holds = 3\n\
         confirmations = [{{ up_to_sat = 10000, n = 1 }}, {{ n = 3 }}]\n\
         params = {{ ssh_public_key = {{ required = true, format = \"ssh-public-key\" }} }}\n\
         provisioner = {{ kind = \"exec\", command = [\"{hook}\"], timeout = \"10s\" }}\n\
         [[resource]]\nid = \"shared\"\ntitle = \"A mirror\"\naccess = \"shared\"\n\
         description = \"Package archives, for everyone who pays.\"\n\
         price = {{ sat = 3600, per = \"1h\" }}\nrunning_cost = {{ sat = 30000, per = \"30d\" }}\nmin_duration = \"10m\"\nmax_duration = \"30d\"\n\
         confirmations = [{{ n = 2 }}]\n"
    )
}

/// Asks for time by the form on a resource's page; the invoice.
fn ask(browser: &Browser, shop: &Shop, resource: &str, hours: &str) -> String {
    browser.go(&format!("{}/resources/{resource}", shop.url()));
    browser.fill("time", hours);
    if resource == "box" {
        browser.fill("param-ssh_public_key", KEY);
    }
    browser.click("//button[@id='ask']");
    at_checkout(browser)
}

/// The invoice whose checkout is shown, once one is.
fn at_checkout(browser: &Browser) -> String {
    until("the checkout", || {
        let url = browser.url();
        let id = url.split_once("/checkout/").map(|(_, id)| id.to_owned());
        id.map(|id| id.split(['?', '#']).next().unwrap_or_default().to_owned()).ok_or(url)
    })
}

/// Where an invoice is paid, and what is due.
fn due(shop: &Shop, invoice: &str) -> (String, u64) {
    let found = shop.invoice(invoice);
    let address = found["address"].as_str().expect("an address").to_owned();
    (address, found["received"]["due_sat"].as_u64().expect("a number"))
}

/// Its lease.
fn lease_of(shop: &Shop, invoice: &str) -> String {
    shop.invoice(invoice)["lease"].as_str().expect("an id").to_owned()
}

/// Pays what is due, in no block yet.
fn send(shop: &Shop, invoice: &str) {
    let (address, sat) = due(shop, invoice);
    shop.node.send(&address, sat);
}
