//! A database restored from a backup, and a descriptor that was used before: what was issued is
//! never issued again, and what was paid since is found.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::daemon::{Shop, each, once};
use crate::harness::wait::until;

fn run(program: &str, words: &[&str]) {
    let status = Command::new(program).args(words).status().expect("the program is installed");
    assert!(status.success(), "{program} ended with {status}");
}

fn on_postgres(shop: &Shop) -> bool {
    shop.database.starts_with("postgres")
}

/// Copies the database as README's runbook says.
pub fn back_up(shop: &Shop, copy: &Path) {
    let file = copy.to_str().expect("the folder's name is text");
    if on_postgres(shop) {
        run("pg_dump", &["--format=custom", &format!("--file={file}"), &shop.database]);
        return;
    }
    let status = shop.command(&["backup", file]).status().expect("the program starts");
    assert!(status.success(), "{status}");
}

/// Puts the copy in place of the database and starts on it.
pub fn restore(shop: &mut Shop, copy: &Path) {
    shop.stop();
    if on_postgres(shop) {
        let file = copy.to_str().expect("the folder's name is text");
        let into = format!("--dbname={}", shop.database);
        run("pg_restore", &["--clean", "--if-exists", &into, file]);
        shop.start_with(&["--recovered"]);
        return;
    }
    forget(shop);
    std::fs::rename(copy, shop.folder().join("leasehold.db")).expect("the folder is ours");
    shop.start();
}

/// Removes the SQLite database of a stopped server.
fn forget(shop: &Shop) {
    for ending in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(shop.folder().join(format!("leasehold.db{ending}")));
    }
}

fn index(shop: &Shop, invoice: &str) -> u64 {
    shop.invoice(invoice)["derivation_index"].as_u64().expect("a number")
}

fn inbox(shop: &Shop) -> Value {
    let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
    let path = "/v1/admin/payments?unallocated=true";
    shop.ask(Method::GET, path, Some(key.trim()), None).1
}

#[test]
fn a_restored_backup_issues_no_index_twice_and_finds_what_was_paid_since() {
    each(|shop| {
        let before = shop.rent("shared", 3600);
        let copy = shop.folder().join("copy.db");
        back_up(shop, &copy);

        // Issued after the backup: one is paid, the other never.
        let paid = shop.rent("shared", 3600);
        let unpaid = shop.rent("shared", 3600);
        shop.node.send(&paid.address, 3600);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &paid.lease, |it| it["state"] == "active");
        restore(shop, &copy);

        let next = shop.rent("shared", 3600);
        for known in [&before, &paid, &unpaid] {
            assert_ne!(next.address, known.address);
        }
        // 1 was paid, so 2 is the first that nothing is known of.
        assert_eq!(index(shop, &next.invoice), 2 + 100_000);
        let found = until("the money to be found", || {
            let list = inbox(shop);
            Some(list.clone()).filter(|list| list["items"][0]["state"] == "credited").ok_or(list)
        });
        assert_eq!(found["items"][0]["amount_sat"], json!(3600));
        assert_eq!(found["items"][0]["disposition"], "unallocated");
        // The first request can still be paid.
        shop.node.send(&before.address, 3600);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &before.lease, |it| it["state"] == "active");
        // Once is enough: the next start leaves nothing out.
        shop.stop();
        shop.start();
        let last = shop.rent("shared", 3600);
        assert_eq!(index(shop, &last.invoice), 3 + 100_000);
    });
}

/// Other lines of `[wallet]` than the harness's; they hold from the next start.
pub fn set_wallet(shop: &Shop, lines: &str) {
    let file = shop.folder().join("leasehold.toml");
    let config = std::fs::read_to_string(&file).expect("the folder is ours");
    let config = config.replace("recover_lookahead = 100", lines);
    std::fs::write(&file, config).expect("the folder is ours");
}

#[test]
fn a_first_start_on_a_descriptor_that_has_coins_goes_on_far_beyond_them() {
    once(|shop| {
        shop.stop();
        forget(shop);
        set_wallet(shop, "recover_lookahead = 10000");
        shop.node.send(&shop.address(7), 10_000);
        shop.node.send(&shop.address(9000), 10_000);
        shop.node.send(&shop.address(18_000), 10_000);
        shop.node.mine(1);
        shop.start();
        let first = shop.rent("shared", 3600);
        assert_eq!(index(shop, &first.invoice), 18_001 + 100_000);
        assert_eq!(inbox(shop)["items"], json!([]), "it came before the first block that is read");
    });
}

#[test]
fn a_first_start_with_a_birthday_finds_what_came_and_went() {
    once(|shop| {
        shop.stop();
        forget(shop);
        let birthday = shop.node.height() + 1;
        shop.node.send(&shop.address(9), 10_000);
        shop.node.mine(1);
        let away = shop.node.new_address();
        shop.node.call_wallet("shop", "sendall", json!([[away]]));
        shop.node.mine(1);
        set_wallet(shop, &format!("birthday_height = {birthday}\nrecover_skip = 1000"));
        shop.start();
        let first = shop.rent("shared", 3600);
        assert_eq!(index(shop, &first.invoice), 10 + 1000);
        let found = inbox(shop);
        assert_eq!(found["items"][0]["amount_sat"], json!(10_000), "{found}");
    });
}
