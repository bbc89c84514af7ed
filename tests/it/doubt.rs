//! The node is away, starts anew or is not the right one: the server says so, keeps what it has,
//! and goes on by itself. And how soon it hears from the node.

use serde_json::json;

use crate::harness::daemon::{Shop, each, once};
use crate::harness::wait::until;

/// Waits until `/readyz` says no, with a reason that contains `why`.
fn not_ready(shop: &Shop, why: &str) {
    until("the server to say what is wrong", || {
        let (status, ready) = shop.get("/readyz");
        let detail = ready["node"]["detail"].as_str().unwrap_or_default().to_owned();
        (status == 503 && detail.contains(why)).then_some(()).ok_or(ready)
    });
}

#[test]
fn while_the_node_is_away_nothing_ends_and_afterwards_all_is_found() {
    each(|shop| {
        let rented = shop.rent("box", 600);
        let topped = shop.rent("box", 3600);
        for order in [&rented, &topped] {
            shop.node.send(&order.address, order.amount_sat);
        }
        shop.node.mine(1);
        for order in [&rented, &topped] {
            shop.lease_until("it to be active", &order.lease, |it| it["state"] == "active");
        }
        // On its way when the node stops, mined when it is back under another cookie.
        shop.node.send(&topped.address, 3600);
        shop.node.stop();
        not_ready(shop, "no connection to bitcoind");
        shop.shift_clock(600 + 600 + 60);
        assert_eq!(shop.get("/healthz").0, 200);
        let asked = shop.rent("shared", 3600);
        until("the clock to be noticed", || {
            let lease = shop.lease(&rented.lease);
            (lease["state"] == "grace" && lease["remaining_s"] == 0).then_some(()).ok_or(lease)
        });
        assert_eq!(shop.lease(&rented.lease)["unit"], "box-1", "nothing is given back");

        shop.node.start_again();
        shop.node.mine(1);
        shop.lease_until("it to end", &rented.lease, |it| it["state"] == "ended");
        shop.lease_until("the top-up", &topped.lease, |it| it["paid_sat"] == 7200);
        shop.node.send(&asked.address, 3600);
        shop.node.mine(1);
        shop.lease_until("it to be active", &asked.lease, |it| it["state"] == "active");
        assert_eq!(shop.get("/readyz").0, 200);
    });
}

#[test]
fn a_node_of_another_network_ends_the_server_with_the_reason() {
    once(|shop| {
        shop.stop();
        let file = shop.folder().join("leasehold.toml");
        let right = std::fs::read_to_string(&file).expect("the folder is ours");
        let wrong = right
            .replace("network = \"regtest\"", "network = \"signet\"")
            .replace("leasehold.db", "other.db");
        std::fs::write(&file, wrong).expect("the folder is ours");
        let mut command = shop.command(&["serve"]);
        let output = command.env_remove("LEASEHOLD_TEST_CLOCK").output().expect("it starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains("on regtest, but bitcoind.network is signet"), "{told}");
        std::fs::write(&file, right).expect("the folder is ours");
        shop.start();
        assert_eq!(shop.get("/v1/resources").1["items"][0]["id"], json!("box"));
    });
}

#[test]
fn a_payment_is_heard_of_over_zmq_long_before_the_timer() {
    once(|shop| {
        shop.stop();
        let endpoint = shop.node.publish();
        shop.node.restart();
        shop.write_config("");
        let file = shop.folder().join("leasehold.toml");
        let config = std::fs::read_to_string(&file).expect("the folder is ours");
        let zmq = format!("poll_interval = \"10m\"\nzmq = \"{endpoint}\"");
        let config = config.replace("poll_interval = \"100ms\"", &zmq);
        std::fs::write(&file, config).expect("the folder is ours");
        shop.start();
        let rented = shop.rent("box", 3600);
        // The subscription may come up after the first of these; each is a payment of its own.
        until("a payment to be seen", || {
            shop.node.send(&rented.address, 1000);
            let invoice = shop.invoice(&rented.invoice);
            let seen = invoice["received"]["unconfirmed_sat"].as_u64() > Some(0);
            seen.then_some(()).ok_or(invoice)
        });
        shop.node.mine(1);
        shop.invoice_until("them to count", &rented.invoice, |invoice| {
            invoice["received"]["credited_sat"].as_u64() > Some(0)
        });
        shop.wait_for_tip();
    });
}
