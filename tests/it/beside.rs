//! Commands beside a running server, on a real bitcoind: what they read, and how they end.

use std::io::{BufRead as _, BufReader};
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::harness::daemon::{Shop, each, once};

fn run(shop: &Shop, words: &[&str]) -> (i32, Value, String) {
    let Output { status, stdout, stderr } =
        shop.command(words).output().expect("the built program starts");
    let code = status.code().expect("it was not killed");
    let answer = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    (code, answer, String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn a_backup_is_made_once_and_postgresql_is_left_to_pg_dump() {
    each(|shop| {
        let file = shop.folder().join("copy.db");
        let (code, made, err) = run(shop, &["--json", "backup", "copy.db"]);
        if code == 2 {
            assert!(err.contains("pg_dump --format=custom"), "{err}");
            assert!(!file.exists());
            return;
        }
        assert_eq!(code, 0, "{err}");
        let bytes = std::fs::metadata(&file).expect("it was made").len();
        assert_eq!(made["bytes"].as_u64(), Some(bytes));
        assert_eq!(run(shop, &["backup", "copy.db"]).0, 1, "never over another");
    });
}

#[test]
fn a_customer_rents_from_the_terminal() {
    once(|shop| {
        let words = ["--json", "rent", "box", "2h", "--server", shop.url()];
        let mut child = shop
            .command(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        let told = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut lines = told.lines().map(|line| line.expect("text"));
        let address = lines.find_map(|line| Some(line.strip_prefix("to ")?.trim().to_owned()));
        let claim = lines.find_map(|line| Some(line.strip_prefix("claim ")?.trim().to_owned()));
        shop.node.send(&address.expect("an address is told"), 7200);
        assert!(lines.any(|line| line.starts_with("7200 sat on the way")));
        shop.node.mine(1);
        let rest: Vec<String> = lines.collect();
        assert!(rest.iter().any(|line| line == "paid; the lease is active"), "{rest:?}");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let answer: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
        assert_eq!(answer["lease"]["state"], "active");
        assert_eq!(answer["lease"]["params"], serde_json::json!({}), "asked with the claim");
        assert_eq!(answer["claim_token"].as_str().map(str::to_owned), claim);
        let no = shop.command(&["rent", "boat", "2h", "--server", shop.url()]).output();
        let no = no.expect("the built program starts");
        assert_eq!(no.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&no.stderr).contains("unknown_resource"));
    });
}

#[test]
fn an_audit_finds_all_in_order_until_the_node_says_otherwise() {
    each(|shop| {
        let rented = shop.rent("box", 7200);
        shop.node.send(&rented.address, 9000);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &rented.lease, |lease| {
            lease["state"] == "active"
        });
        let (code, report, err) = run(shop, &["--json", "audit"]);
        assert_eq!((code, &report["ok"]), (0, &Value::Bool(true)), "{report} {err}");
        assert_eq!((&report["leases"], &report["payments"]), (&1.into(), &1.into()));
        assert!(report["ledger_entries"].as_u64() > Some(0));
        shop.kill();
        shop.node.reorg_empty(2);
        let (code, report, _) = run(shop, &["--json", "audit"]);
        assert_eq!(code, 1);
        let detail = report["differences"][0]["detail"].as_str().expect("text");
        assert!(detail.ends_with("is not in the node's chain"), "{report}");
    });
}

#[test]
fn check_finds_nothing_wrong_beside_a_running_server() {
    each(|shop| {
        let (code, report, err) = run(shop, &["--json", "check"]);
        assert_eq!(code, 0, "{report} {err}");
        let lines = report["lines"].as_array().expect("a list");
        let has = |subject: &str| lines.iter().any(|line| line["subject"] == subject);
        assert!(has("node") && has("database"), "{report}");
    });
}

#[test]
fn an_operator_works_through_the_running_server() {
    once(|shop| {
        let server = shop.url().to_owned();
        let ask = |words: &[&str]| {
            let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
            let words = [&words[..], &["--server", &server]].concat();
            run(shop, &words)
        };
        let rented = shop.rent("shared", 3600);
        let (code, list, err) = ask(&["lease", "list", "--state", "unfunded"]);
        assert_eq!(code, 0, "{err}");
        assert_eq!(list["items"][0]["id"], rented.lease.as_str());
        let (_, lease, _) = ask(&["lease", "show", &rented.lease]);
        assert_eq!(lease["invoices"][0]["id"], rented.invoice.as_str());
        assert_eq!(ask(&["invoice", "show", &rented.invoice]).1["amount_sat"], 3600);
        assert_eq!(ask(&["payment", "list"]).1["items"], serde_json::json!([]));
        assert_eq!(ask(&["event", "show", "1"]).1["seq"], 1);
        assert_eq!(ask(&["lease", "revoke", &rented.lease]).1["state"], "ended");
        let (_, made, _) = ask(&["key", "create", "monitor", "--scope", "read"]);
        assert!(made["token"].as_str().is_some_and(|token| token.starts_with("key_")));
        let id = made["key"]["id"].as_str().expect("an id");
        assert_eq!(ask(&["key", "revoke", id]).0, 0);
        assert_eq!(ask(&["key", "list"]).1["items"].as_array().map(Vec::len), Some(2));
        let catalog = crate::harness::daemon::CATALOG.replace("30d", "20d");
        shop.write_catalog(&catalog);
        let (code, done, err) = ask(&["apply", "catalog.toml"]);
        assert_eq!((code, &done["changes"][0]["fate"]), (0, &"changed".into()), "{err}");
        assert_eq!(ask(&["lease", "show", "lse_unknown"]).0, 1);
        assert_eq!(ask(&["lease", "show", "../keys"]).0, 2);
    });
}
