//! `leasehold payouts`: what it prints, which files it writes, and how it ends. With the offline
//! signer of `examples/signing` the whole way, as its README describes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};

use super::{CONFIG, number, once_signed, text};
use crate::harness::daemon::Shop;
use crate::harness::signer::{Kind, Signer};

/// How a command ended, and what it said.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: std::io::Result<Output>) -> Self {
        let Output { status, stdout, stderr } = output.expect("the program starts");
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// It did its work; what it printed.
    fn done(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// It did not; what it complained of.
    fn not(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        self.err
    }
}

fn payouts(shop: &Shop, words: &[&str]) -> Ended {
    let words: Vec<&str> = ["payouts"].iter().chain(words).copied().collect();
    Ended::of(shop.command(&words).args(["--server", shop.url()]).output())
}

/// With `--json`, and it must do its work.
fn asked(shop: &Shop, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().chain(&["--json"]).copied().collect();
    let done = payouts(shop, &words).done();
    serde_json::from_str(&done).unwrap_or_else(|_| panic!("no JSON: {done}"))
}

fn file(shop: &Shop, name: &str, text: &str) {
    std::fs::write(shop.folder().join(name), text).unwrap();
}

fn content(shop: &Shop, name: &str) -> String {
    std::fs::read_to_string(shop.folder().join(name)).unwrap()
}

fn is_there(shop: &Shop, name: &str) -> bool {
    shop.folder().join(name).exists()
}

#[test]
fn an_operator_pays_refunds_with_the_command_line_alone() {
    once_signed(Kind::Wpkh, CONFIG, |shop, signer| {
        assert_eq!(payouts(shop, &["list"]).done(), "none\n");
        let to = shop.node.new_address();
        let rented = shop.due(&[(&to, 20_000)]).remove(0);
        shop.wait_for_wallet();
        let id = text(&shop.payouts(&rented)[0]["id"]);
        assert_eq!(
            payouts(shop, &["list"]).done(),
            format!("{id}  {}  shared  due  20000\n", rented.lease)
        );
        assert_eq!(asked(shop, &["list", "--state", "due"])["items"][0]["id"], id);
        let shown = payouts(shop, &["show", &id]).done();
        assert!(shown.contains("amount_sat 20000") && shown.contains(&to), "{shown}");

        let preview = payouts(shop, &["prepare", "--feerate", "1.5"]).done();
        assert!(preview.contains(&to) && preview.contains(" (1.50 sat/vB)"), "{preview}");
        assert!(!preview.contains("bat_"), "{preview}");
        assert_eq!(payouts(shop, &["batches"]).done(), "none\n");
        let made = payouts(shop, &["prepare", "--feerate", "1.5", "--out", "batch.psbt"]).done();
        assert!(made.starts_with(preview.trim_end()), "the same again: {made}");
        let bat = made.split_whitespace().find(|word| word.starts_with("bat_")).unwrap();
        let shown = asked(shop, &["show", bat]);
        assert_eq!(content(shop, "batch.psbt"), format!("{}\n", text(&shown["psbt"])));
        let person = payouts(shop, &["show", bat]).done();
        assert!(person.starts_with(&format!("{bat}  prepared  version 1  ")), "{person}");
        assert!(person.contains("version 1: ") && person.ends_with("not signed\n"), "{person}");
        payouts(shop, &["export", bat, "--out", "again.psbt"]).done();
        assert_eq!(content(shop, "again.psbt"), content(shop, "batch.psbt"));

        let unsigned = payouts(shop, &["submit", "batch.psbt"]).not(1);
        assert!(unsigned.contains("it has no signature; sign it first"), "{unsigned}");
        file(shop, "signed.psbt", &signer.sign(&content(shop, "batch.psbt")));
        let sent = payouts(shop, &["submit", "signed.psbt"]).done();
        assert_eq!(sent, format!("{bat} is on its way: {}\n", text(&shown["txid"])));
        shop.payout_in(&rented, "broadcast");
        let bumped = payouts(shop, &["bump", bat, "--feerate", "4", "--out", "bump.psbt"]).done();
        assert!(bumped.contains("version 2, "), "{bumped}");
        file(shop, "bumped.psbt", &signer.sign(&content(shop, "bump.psbt")));
        let sent = asked(shop, &["submit", "bumped.psbt"]);
        assert_eq!((&sent["complete"], &sent["batch"]["version"]), (&json!(true), &json!(2)));
        shop.node.mine(1);
        let done = shop.batch_in(&json!(bat), "confirmed");
        let person = payouts(shop, &["show", bat]).done();
        assert!(person.starts_with(&format!("{bat}  confirmed  version 2  ")), "{person}");
        assert!(person.contains(&format!("in block {}", shop.node.height())), "{person}");
        assert_eq!(shop.arrived_sat(&to), 20_000 - number(&done["pays"]["fee_sat"]));
        let list = payouts(shop, &["batches", "--state", "confirmed"]).done();
        assert_eq!(list, format!("{bat}  confirmed\n"));
    });
}

#[test]
fn no_file_is_written_over_and_none_is_left_when_nothing_was_made() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        shop.wait_for_wallet();
        let prepare = |out: &str| payouts(shop, &["prepare", "--feerate", "1", "--out", out]);
        let nothing = prepare("new.psbt").not(1);
        assert!(
            nothing.contains("conflict: nothing was prepared: there is nothing to pay"),
            "{nothing}"
        );
        let rented = shop.due(&[(&shop.node.new_address(), 20_000)]).remove(0);
        file(shop, "precious", "x");
        let wrong = prepare("precious").not(2);
        assert!(wrong.contains("--out precious: ") && wrong.contains("exists"), "{wrong}");
        let wrong = prepare("no/such/folder").not(2);
        assert!(wrong.contains("--out no/such/folder"), "{wrong}");
        assert_eq!(shop.payout_in(&rented, "due")["batch"], json!(null), "nothing was made");
        let batch = shop.prepare(&json!({}));
        let id = text(&batch["id"]);
        for words in [
            ["bump", &id, "--feerate", "9", "--out", "precious"].as_slice(),
            &["export", &id, "--out", "precious"],
        ] {
            payouts(shop, words).not(2);
        }
        assert_eq!(shop.batch(&batch["id"])["version"], 1, "no bump without a file");
        let low = payouts(shop, &["bump", &id, "--feerate", "1", "--out", "new.psbt"]).not(1);
        assert!(low.contains("to replace version 1 it must be at least"), "{low}");
        payouts(shop, &["export", "bat_x", "--out", "new.psbt"]).not(1);
        assert_eq!((content(shop, "precious").as_str(), is_there(shop, "new.psbt")), ("x", false));
        let abandoned = payouts(shop, &["abandon", &id]).done();
        assert!(abandoned.starts_with(&format!("{id}  abandoned  ")), "{abandoned}");
        assert_eq!(asked(shop, &["abandon", &id])["state"], "abandoned", "again");
        let late = payouts(shop, &["bump", &id, "--feerate", "9", "--out", "new.psbt"]).not(1);
        assert!(late.contains("is abandoned; it cannot be bumped"), "{late}");
        assert!(!is_there(shop, "new.psbt"));
    });
}

#[test]
fn wrong_usage_ends_with_2_and_what_may_pass_with_75() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        for words in [
            ["prepare", "--feerate", "0"].as_slice(),
            &["prepare", "--feerate", "1,5"],
            &["prepare", "--max-fee-pct", "101"],
            &["prepare", "--only", "../x"],
            &["submit"],
            &["submit", "nowhere.psbt"],
            &["bump", "bat_x"],
            &["export", "bat_x"],
        ] {
            payouts(shop, words).not(2);
        }
        for words in
            [["show", "pyt_x"], ["show", "bat_x"], ["approve", "bat_x"], ["abandon", "bat_x"]]
        {
            let said = payouts(shop, &words).not(1);
            assert!(said.contains("not_found: there is no "), "{said}");
        }
        let estimate = payouts(shop, &["prepare"]).not(1);
        assert!(estimate.contains("too few blocks to estimate a feerate; give one"), "{estimate}");
        file(shop, "garbage", "hello");
        assert!(payouts(shop, &["submit", "garbage"]).not(1).contains("neither a PSBT"));
        let url = shop.url().to_owned();
        shop.stop();
        for words in [["list"].as_slice(), &["prepare", "--feerate", "1", "--out", "new.psbt"]] {
            let words: Vec<&str> = ["payouts"].iter().chain(words).copied().collect();
            let away = Ended::of(shop.command(&words).args(["--server", &url]).output()).not(75);
            assert!(away.contains("cannot reach") && away.contains("try again later"), "{away}");
        }
        assert!(!is_there(shop, "new.psbt"));
        shop.start();
    });
}

#[test]
fn only_what_is_named_is_paid_and_what_is_left_out_is_said() {
    once_signed(Kind::Wpkh, CONFIG, |shop, _| {
        let homeless = shop.returned(5000, None);
        let waits = payouts(shop, &["list"]).done();
        let begin = format!("  {}  shared  waiting  ", homeless.lease);
        assert!(waits.contains(&begin) && waits.ends_with("  address\n"), "{waits}");
        let [a, b] = [shop.node.new_address(), shop.node.new_address()];
        let list = shop.due(&[(&a, 1000), (&b, 50_000)]);
        shop.wait_for_wallet();
        let [small, large] = [0, 1].map(|n| text(&shop.payouts(&list[n])[0]["id"]));
        let shown = payouts(shop, &["prepare", "--feerate", "5"]).done();
        assert!(shown.contains(&format!("left out {small}: its share of the fee")), "{shown}");
        let all = payouts(shop, &["prepare", "--feerate", "5", "--max-fee-pct", "60"]).done();
        assert!(!all.contains("left out") && all.contains("51000 sat paid back from"), "{all}");
        let both = format!("{small},{large}");
        let both = asked(shop, &["prepare", "--feerate", "1", "--only", &both]);
        assert_eq!(both["pays"]["total_sat"], 51_000);
        let one =
            asked(shop, &["prepare", "--feerate", "1", "--only", &large, "--out", "one.psbt"]);
        assert_eq!(one["batch"]["pays"]["total_sat"], 50_000);
        assert_eq!(content(shop, "one.psbt").trim(), text(&one["batch"]["psbt"]));
        let taken = payouts(shop, &["prepare", "--feerate", "1", "--only", &large]).not(1);
        assert!(taken.contains("is in a batch already"), "{taken}");
    });
}

#[test]
fn two_signers_files_are_combined_and_a_second_person_approves() {
    let config = format!("{CONFIG}require_approval = true\n");
    once_signed(Kind::Wsh2of3, &config, |shop, signer| {
        shop.due(&[(&shop.node.new_address(), 20_000)]);
        shop.wait_for_wallet();
        let made = payouts(shop, &["prepare", "--feerate", "1", "--out", "batch.psbt"]).done();
        let needed = "another API key must approve it before it can be submitted\n";
        assert!(made.ends_with(needed), "{made}");
        let bat = made.split_whitespace().find(|word| word.starts_with("bat_")).unwrap();
        for (key, name) in [(0, "a.psbt"), (1, "b.psbt")] {
            let signed = signer.sign_with(&content(shop, "batch.psbt"), key);
            file(shop, name, &signed);
        }
        let first = payouts(shop, &["submit", "a.psbt"]);
        assert_eq!(first.code, 75, "{}", first.err);
        assert!(first.out.starts_with(&format!("{bat} is kept: 1 signature(s)")), "{}", first.out);
        let alone = payouts(shop, &["submit", "b.psbt", "a.psbt"]).not(1);
        assert!(
            alone.contains("forbidden: ") && alone.contains("must approve it first"),
            "{alone}"
        );
        assert!(payouts(shop, &["approve", bat]).not(2).contains("name the --version"));
        let own = ["approve", bat, "--version", "1"];
        assert!(payouts(shop, &own).not(1).contains("another one must"));
        let body = json!({ "name": "second", "scopes": ["read", "payout"] });
        let (_, second) = shop.operate(Method::POST, "keys", Some(&body));
        let words = ["payouts", "approve", bat, "--version", "1", "--server", shop.url()];
        let mut command = shop.command(&words);
        let approved = command.env("LEASEHOLD_ADMIN_KEY", text(&second["token"])).output();
        assert!(!Ended::of(approved).done().contains(needed.trim()));
        let sent = payouts(shop, &["submit", "a.psbt", "b.psbt"]).done();
        assert!(sent.contains("is on its way"), "{sent}");
    });
}

/// The offline signer, as `examples/signing/README.md` describes it.
fn offline(shop: &Shop, files: &[&str]) -> Ended {
    let folder = Path::new(env!("CARGO_BIN_EXE_leasehold")).parent().unwrap();
    let program: PathBuf = folder.join("examples/offline-signer");
    let mut command = Command::new(program);
    Ended::of(command.current_dir(shop.folder()).arg("--regtest").args(files).output())
}

#[test]
fn a_batch_is_signed_offline_as_the_examples_say() {
    for kind in [Kind::Wpkh, Kind::Tr] {
        once_signed(kind, CONFIG, |shop, signer: &Signer| {
            let to = shop.node.new_address();
            let rich = shop.rent("shared", 50_000);
            shop.node.send(&rich.address, 50_000);
            let rented = shop.due(&[(&to, 20_000)]).remove(0);
            shop.wait_for_wallet();
            let made = asked(shop, &["prepare", "--feerate", "2", "--out", "batch.psbt"]);
            file(shop, "key.txt", &signer.master(0).to_string());
            let shown = offline(shop, &["key.txt", "batch.psbt"]).done();
            let output = super::owed::output_to(&made["pays"], &to);
            let line = format!("{} sat  {to}", output["amount_sat"]);
            assert!(shown.contains(&line) && shown.contains("change: this key's own"), "{shown}");
            assert!(!is_there(shop, "signed.psbt"));
            let signed = offline(shop, &["key.txt", "batch.psbt", "signed.psbt"]).done();
            assert!(signed.contains("signed 1 of 1 inputs"), "{signed}");
            payouts(shop, &["submit", "signed.psbt"]).done();
            shop.node.mine(1);
            shop.payout_in(&rented, "confirmed");
        });
    }
}
