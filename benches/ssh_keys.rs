//! How long sshd waits for `leasehold ssh-keys` at a login. Against a real server on a real bitcoind;
//! run it with `regtest/bench ssh_keys`, which sets both up and builds the release. In each round
//! one after the other, so that whatever else the machine does weighs on all alike:
//!
//! - the start of a process: `leasehold --version`;
//! - the server is asked, and its answer kept, with the arguments of `examples/ssh-box`;
//! - the server is away, and the kept answer counts.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::Command;

use serde_json::json;

use harness::daemon::{Shop, once};
use harness::sshd::write_api_key;
use harness::wait::now;

const ROUNDS: usize = 200;
const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const FINGERPRINT: &str = "SHA256:ZkAslGjFiUHdGf/WUL8rQvkib4PTvQatUV0OUQSncCA";
const CATALOG: &str = r#"
[[resource]]
id = "machine"
access = "exclusive"
units = ["unit-1"]
price = { sat = 3600, per = "1h" }
params = { ssh_public_key = { required = true, format = "ssh-public-key" } }
ssh = { user = "{unit}", options = ["pty"] }
"#;

/// A holder's key is good on the machine, and an API key lies there.
fn prepare(shop: &mut Shop) {
    shop.stop();
    shop.write_catalog(CATALOG);
    shop.start();
    let admin = std::fs::read_to_string(shop.folder().join("admin.key")).unwrap();
    let body = json!({ "name": "machine", "scopes": ["read"] });
    let made = shop.post("/v1/admin/keys", Some(admin.trim()), &body);
    write_api_key(shop.folder(), made["token"].as_str().unwrap());
    let body = json!({ "resource": "machine", "duration_s": 7200,
        "params": { "ssh_public_key": KEY } });
    let rented = Shop::rented(&shop.post("/v1/leases", None, &body));
    shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(1);
    shop.lease_until("the lease to be active", &rented.lease, |lease| lease["state"] == "active");
}

/// Microseconds that a command takes, whose output must hold `wanted`.
fn time(mut command: Command, wanted: &str) -> u128 {
    let began = now();
    let output = command.output().unwrap();
    let took = began.elapsed().as_micros();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains(wanted), "{output:?}");
    took
}

fn ms(micros: u128) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

fn main() {
    once(|shop| {
        prepare(shop);
        let ask = |server: &str| {
            let words = ["ssh-keys", "machine", "unit-1", "--fingerprint", FINGERPRINT];
            let mut command = shop.command(&words);
            command.args(["--server", server, "--key-file", "ssh.key", "--cache", "kept.json"]);
            command
        };
        let names = ["a process starts", "the server is asked", "the server is away"];
        let mut times = [const { Vec::new() }; 3];
        // The first round warms up.
        for round in 0..=ROUNDS {
            let took = [
                time(shop.command(&["--version"]), "leasehold"),
                time(ask(shop.url()), "restrict,pty"),
                time(ask("http://127.0.0.1:1"), "restrict,pty"),
            ];
            for (all, took) in times.iter_mut().zip(took).filter(|_| round > 0) {
                all.push(took);
            }
        }
        let first = {
            times[0].sort_unstable();
            times[0][ROUNDS / 2]
        };
        println!("{ROUNDS} rounds, one after the other in each:");
        for (name, all) in names.iter().zip(&mut times) {
            all.sort_unstable();
            let (median, late) = (all[ROUNDS / 2], all[ROUNDS * 95 / 100]);
            let ratio = median * 10 / first;
            println!(
                "{name:<20} median {:>9}, 95 of 100 within {:>9}, {}.{} times a start",
                ms(median),
                ms(late),
                ratio / 10,
                ratio % 10
            );
        }
    });
}
