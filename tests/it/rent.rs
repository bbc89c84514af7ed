//! A customer whose connection breaks: the same request is never made twice, and the key goes on
//! with it later.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, Stdio};

use serde_json::Value;

use crate::harness::cut::Cut;
use crate::harness::daemon::{Shop, once};

type Lines = std::io::Lines<BufReader<ChildStderr>>;

fn rent(shop: &Shop, server: &str, more: &[&str]) -> (Child, Lines) {
    let words = [&["--json", "rent", "box", "2h", "--server", server], more].concat();
    let mut child = shop
        .command(&words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the built program starts");
    let told = BufReader::new(child.stderr.take().expect("it is piped"));
    (child, told.lines())
}

/// What is told next after `name`; what is told before it is passed over.
fn next(lines: &mut Lines, name: &str) -> String {
    let mut words = lines.map(|line| line.expect("text"));
    let found = words.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()));
    found.unwrap_or_else(|| panic!("it does not tell \"{name}\""))
}

fn leases(shop: &Shop) -> usize {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let (_, list) = shop.ask(reqwest::Method::GET, "/v1/admin/leases", Some(key.trim()), None);
    list["items"].as_array().expect("a list").len()
}

#[test]
fn an_answer_that_is_lost_is_asked_for_again_and_the_lease_is_made_once() {
    once(|shop| {
        let proxy = Cut::before(shop.url(), "POST /v1/leases ", 2);
        let (child, mut lines) = rent(shop, &proxy.url, &[]);
        let key = next(&mut lines, "key ");
        let why = next(&mut lines, "the connection to ");
        assert!(why.ends_with("asking what became of it"), "{why}");
        let address = next(&mut lines, "to ");
        assert_eq!((proxy.lost(), leases(shop)), (2, 1));
        shop.node.send(&address, 7200);
        shop.node.mine(1);
        next(&mut lines, "paid; the lease is active");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let first: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");

        // What was paid meanwhile is not asked for again.
        let (child, lines) = rent(shop, shop.url(), &["--idempotency-key", &key]);
        let told: Vec<String> = lines.map(|line| line.expect("text")).collect();
        assert!(told.iter().all(|line| !line.starts_with("pay ")), "{told:?}");
        let output = child.wait_with_output().expect("it ends");
        let again: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(again["lease"]["id"], first["lease"]["id"]);
        assert_eq!(again["claim_token"], first["claim_token"]);
        assert_eq!(leases(shop), 1);
    });
}

#[test]
fn the_printed_key_goes_on_with_a_request_that_was_broken_off() {
    once(|shop| {
        let (mut child, mut lines) = rent(shop, shop.url(), &[]);
        let key = next(&mut lines, "key ");
        let address = next(&mut lines, "to ");
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        let (mut child, mut lines) = rent(shop, shop.url(), &["--idempotency-key", &key]);
        assert_eq!(next(&mut lines, "to "), address);
        child.kill().expect("it runs");
        child.wait().expect("it is our child");
        assert_eq!(leases(shop), 1);
        let words = ["rent", "box", "3h", "--server", shop.url(), "--idempotency-key"];
        let other = |key: &str| {
            let output = shop.command(&words).arg(key).output().expect("the program starts");
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let (code, told) = other(&key);
        assert!(code == Some(1) && told.contains("idempotency_key_reused"), "{told}");
        assert_eq!(other("short").0, Some(2));
    });
}
