//! The built program on a real bitcoind, the whole way: request, pay, confirm, use, run out,
//! reorganise, kill.

use crate::harness::daemon::each;

#[test]
fn a_request_is_paid_and_becomes_a_lease() {
    each(|shop| {
        let rented = shop.rent("box", 7200);
        assert_eq!(rented.amount_sat, 7200);
        shop.node.send(&rented.address, 7200);
        let paid = shop.invoice_until("the payment to be seen", &rented.invoice, |invoice| {
            invoice["status"] == "confirming"
        });
        assert_eq!(paid["payments"][0]["state"], "mempool");
        shop.node.mine(1);
        let lease = shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        assert_eq!(lease["unit"], "box-1");
        assert_eq!(lease["credits"][0]["seconds"], 7200);
        let invoice = shop.invoice(&rented.invoice);
        assert_eq!(invoice["status"], "settled");
        assert_eq!(invoice["payments"][0]["confirmations"], 1);
    });
}

#[test]
fn a_credited_payment_survives_a_reorg_that_keeps_it() {
    each(|shop| {
        let rented = shop.rent("box", 7200);
        shop.node.send(&rented.address, 7200);
        shop.node.mine(1);
        let before = shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        shop.node.reorg_empty(3);
        shop.lease_until("the lease to be at risk", &rented.lease, |lease| {
            lease["flags"] == serde_json::json!(["at_risk"]) && lease["state"] == "active"
        });
        shop.node.mine(1);
        let after = shop.lease_until("the lease to be safe again", &rented.lease, |lease| {
            lease["flags"].as_array().is_some_and(Vec::is_empty)
        });
        assert_eq!(before["paid_until"], after["paid_until"]);
    });
}

#[test]
fn a_server_that_was_killed_finds_what_was_paid_meanwhile() {
    each(|shop| {
        let rented = shop.rent("shared", 3600);
        shop.kill();
        shop.node.send(&rented.address, 3600);
        shop.node.mine(2);
        shop.start();
        let lease = shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        assert_eq!(lease["credits"][0]["seconds"], 3600);
        shop.stop();
    });
}

#[test]
fn a_lease_runs_out_into_grace_and_ends() {
    each(|shop| {
        let rented = shop.rent("box", 600);
        shop.node.send(&rented.address, 600);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        shop.shift_clock(601);
        shop.lease_until("grace", &rented.lease, |lease| lease["state"] == "grace");
        shop.shift_clock(1202);
        let ended = shop.lease_until("the end", &rented.lease, |lease| lease["state"] == "ended");
        assert_eq!(ended["end_reason"], "expired");
    });
}
