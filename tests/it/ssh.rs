//! A machine that is rented over SSH: the real sshd asks whose key it may take.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::daemon::{Rented, Shop, once};
use crate::harness::peers::left_out;
use crate::harness::sshd::{self, Sshd, User, hook, new_key, write_api_key, write_command};
use crate::harness::wait::{now, until};

/// How long an answer for sshd may take.
const QUICK: Duration = Duration::from_millis(50);

/// A shop whose one unit is the machine of `user`.
fn machine(shop: &mut Shop, user: &User) {
    shop.stop();
    shop.write_catalog(&format!(
        "[[resource]]\nid = \"machine\"\naccess = \"exclusive\"\nunits = [\"{}\"]\n\
         price = {{ sat = 3600, per = \"1h\" }}\ngrace = \"1m\"\n\
         params = {{ ssh_public_key = {{ required = true, format = \"ssh-public-key\" }} }}\n\
         ssh = {{ user = \"{{unit}}\", options = [\"pty\"] }}\n",
        user.name
    ));
    shop.start();
    let admin = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let body = json!({ "name": "machine", "scopes": ["read"] });
    let made = shop.post("/v1/admin/keys", Some(admin.trim()), &body);
    write_api_key(shop.folder(), made["token"].as_str().expect("a key"));
    write_command(shop.folder(), shop.url());
}

fn rent(shop: &Shop, key: &str) -> Rented {
    let body = json!({ "resource": "machine", "duration_s": 7200,
        "params": { "ssh_public_key": key } });
    Shop::rented(&shop.post("/v1/leases", None, &body))
}

fn pay(shop: &Shop, rented: &Rented) {
    shop.node.send(&rented.address, rented.amount_sat);
    shop.node.mine(1);
    shop.lease_until("the lease to be active", &rented.lease, |lease| lease["state"] == "active");
}

/// A login that stays.
fn session(sshd: &Sshd, user: &User, key: &str) -> Child {
    let mut ssh = sshd.ssh(user, key, "echo inside; exec tail -f /dev/null");
    ssh.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = ssh.spawn().expect("ssh is there");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "inside");
    child
}

#[test]
fn sshd_lets_a_holder_in_while_the_lease_runs_also_during_a_restart_and_then_no_more() {
    if left_out("ssh") {
        return;
    }
    once(|shop| {
        let user = User::new();
        machine(shop, &user);
        let key = new_key(shop.folder(), "holder");
        new_key(shop.folder(), "stranger");
        let folder = shop.folder().to_owned();
        let sshd = sshd::start(&folder, &user, "machine");
        let rented = rent(shop, &key);
        assert!(!sshd.lets_in(&user, "holder"), "it is not paid");
        pay(shop, &rented);
        assert!(sshd.lets_in(&user, "holder"));
        assert!(!sshd.lets_in(&user, "stranger"));

        shop.stop();
        assert!(sshd.lets_in(&user, "holder"), "a restart locks nobody out");
        assert!(!sshd.lets_in(&user, "stranger"));
        shop.start();
        write_command(&folder, shop.url());
        assert!(sshd.lets_in(&user, "holder"));

        let mut session = session(&sshd, &user, "holder");
        shop.post(&format!("/v1/leases/{}/return", rented.lease), Some(&rented.claim), &json!({}));
        assert!(!sshd.lets_in(&user, "holder"), "the lease is over");
        if user.own {
            assert!(session.try_wait().expect("our child").is_none(), "nobody has ended it yet");
            let done = hook(&user, "release");
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            let access: Value = serde_json::from_slice(&done.stdout).expect("access details");
            assert!(access["ssh"].as_str().expect("text").contains(&user.name));
            until("the session to end", || session.try_wait().expect("our child").ok_or("it runs"));
            assert!(hook(&user, "release").status.success(), "again, with nothing to do");
        } else {
            session.kill().expect("it runs");
            session.wait().expect("our child");
        }
        shop.kill();
        assert!(!sshd.lets_in(&user, "holder"), "what was kept is what was said last");
        shop.start();
    });
}

#[test]
fn the_keys_of_a_user_are_told_in_a_moment_and_in_the_words_of_sshd() {
    once(|shop| {
        let user = User { name: "unit-1".into(), own: false };
        machine(shop, &user);
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let rented = rent(shop, &format!("{key} \"me\""));
        pay(shop, &rented);
        let file = shop.folder().join("ssh.key");
        let ask = |words: &[&str]| {
            let mut command: Command = shop.command(&["ssh-keys", "machine"]);
            command.args(words).args(["--server", shop.url(), "--key-file"]).arg(&file);
            let output = command.output().expect("the program starts");
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let said = String::from_utf8(output.stdout).expect("text");
            (output.status.code(), said, told)
        };
        let (code, line, told) = ask(&["unit-1"]);
        assert_eq!(code, Some(0), "{told}");
        let end = format!("Z\" {key} {}\n", rented.lease);
        assert!(
            line.starts_with("restrict,pty,expiry-time=\"20") && line.ends_with(&end),
            "{line}"
        );
        assert_eq!(ask(&["root"]), (Some(0), String::new(), String::new()));
        let other = ["unit-1", "--fingerprint", "SHA256:x"];
        assert_eq!(ask(&other), (Some(0), String::new(), String::new()));
        let quickest = (0..20)
            .map(|_| {
                let began = now();
                assert_eq!(ask(&["unit-1"]).1, line);
                now() - began
            })
            .min();
        assert!(quickest < Some(QUICK), "{quickest:?}");

        shop.kill();
        let away = |words: &[&str]| {
            let mut command = shop.command(&["ssh-keys", "machine", "unit-1"]);
            command.args(words).args(["--server", "http://127.0.0.1:1", "--key-file"]).arg(&file);
            command.output().expect("the program starts").status.code()
        };
        assert_eq!(away(&[]), Some(75), "sshd takes nothing from it");
        assert_eq!(away(&["--cache", "nothing.json"]), Some(75));
        shop.start();
    });
}
