//! `leasehold audit` on batches, locks and coins: whoever changes the database is found out.

use leasehold::db::{DbError, Tx, WriteItem};

use super::*;

/// Somebody with access to the database.
#[derive(Clone)]
struct Tamper(String);

impl WriteItem for Tamper {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for statement in self.0.split(';') {
            let done = sqlx::query(sqlx::AssertSqlSafe(statement.to_owned()));
            let done = done.execute(&mut *tx.conn()).await?;
            assert_eq!(done.rows_affected(), 1, "{statement}");
        }
        Ok(())
    }
}

fn tamper(shop: &Shop, statements: &str) {
    let item = Tamper(statements.to_owned());
    shop.write(async |db| db.write(item).await.expect("it can be written"));
}

fn audit(shop: &Shop) -> (Option<i32>, Value) {
    let output = shop.command(&["--json", "audit"]).output().expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {told}")))
}

/// After `change` the audit tells `subject` and `detail`; after `back` nothing.
fn found_out(shop: &Shop, (change, back): (&str, &str), subject: &str, detail: &str) {
    tamper(shop, change);
    let (code, report) = audit(shop);
    let told = report["differences"].as_array().unwrap();
    let fits =
        |it: &&Value| text(&it["subject"]) == subject && text(&it["detail"]).contains(detail);
    assert!(code == Some(1) && told.iter().any(|it| fits(&it)), "{change}: {report}");
    tamper(shop, back);
}

/// One batch of two versions is in the chain, another one waits in the mempool, and a coin is left.
fn tampered(shop: &mut Shop, signer: &Signer) {
    let first = holders(shop, 1);
    let paid = shop.prepare(&json!({}));
    shop.sign_and_submit(signer, &paid);
    let bumped = shop.bump(&paid, 4000);
    shop.sign_and_submit(signer, &psbt_of(shop, &bumped, 2));
    shop.node.mine(1);
    let paid = shop.batch_in(&paid["id"], "confirmed");
    paid_once(shop, &first);
    let second = holders(shop, 1);
    let sent = shop.prepare(&json!({}));
    shop.sign_and_submit(signer, &sent);
    seen_pending(shop, &sent["id"], 1);
    deposit_only(shop);
    shop.stop();
    let (code, report) = audit(shop);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!((&report["batches"], &report["coins"]), (&json!(2), &json!(1)), "{report}");
    assert_eq!(report["notes"], json!([]));

    let id = |batch: &Value| text(&batch["id"]);
    let (batch, waits) = (format!("batch {}", id(&paid)), format!("batch {}", id(&sent)));
    let of = |sign: &str, n: u32, fee: &str| {
        let id = id(&paid);
        format!("UPDATE payout_item SET {fee} = {fee} {sign} 7 WHERE batch = '{id}' AND n = {n}")
    };
    let item = (of("+", 2, "fee_sat"), of("-", 2, "fee_sat"));
    found_out(shop, (&item.0, &item.1), &batch, "recorded are");
    let lease = &first[0].rented.lease;
    let more = |sign: &str| format!("{};{}", of(sign, 2, "amount_sat"), of(sign, 2, "fee_sat"));
    let more = (more("+ 9000000 +"), more("- 9000000 -"));
    found_out(shop, (&more.0, &more.1), lease, "were paid back of");
    let (v1, v2) = (text(&paid["versions"][0]["txid"]), text(&paid["versions"][1]["txid"]));
    let at =
        |txid: &str, what: &str| format!("UPDATE tx SET height = {what} WHERE txid = '{txid}'");
    let place = (at(&v2, "height - 1"), at(&v2, "height + 1"));
    found_out(shop, (&place.0, &place.1), &batch, "the node has no");
    let both = (at(&v1, "1"), at(&v1, "NULL"));
    found_out(shop, (&both.0, &both.1), &batch, "versions 1 and 2 are both in the chain");
    let state = |batch: &Value, state: &str| {
        format!("UPDATE payout_batch SET state = '{state}' WHERE id = '{}'", id(batch))
    };
    let lie = (state(&paid, "abandoned"), state(&paid, "confirmed"));
    found_out(shop, (&lie.0, &lie.1), &batch, "recorded as abandoned, but is confirmed");
    let dead = |height: &str| {
        format!("UPDATE tx SET conflict_height = {height} WHERE txid = '{}'", text(&sent["txid"]))
    };
    let lost = (
        format!("{};{}", dead("1"), state(&sent, "conflicted")),
        format!("{};{}", dead("NULL"), state(&sent, "broadcast")),
    );
    found_out(shop, (&lost.0, &lost.1), &waits, "none of its coins is spent");
    coin_tampered(shop);
    let (code, report) = audit(shop);
    assert_eq!(code, Some(0), "{report}");
    // The node knows better: the coins of the batch that waits are spent by another.
    let (all, last) = ((0..coins(&sent).len()).collect::<Vec<_>>(), shop.node.height() + 1);
    let other = elsewhere(shop, signer, &sent, &all);
    shop.node.mine_only(&[other]);
    let (code, report) = audit(shop);
    assert!(code == Some(1) && report.to_string().contains("waits, but its coin"), "{report}");
    assert_eq!(shop.node.height(), last);
    shop.start();
    shop.batch_in(&sent["id"], "conflicted");
    all_in(shop, &second, "due");
}

/// A coin that stays, in a block without anything else, and so late that it must have been read.
fn deposit_only(shop: &Shop) {
    let paid = shop.node.send(&shop.address(30), 70_000);
    let tip = shop.node.call("getblockheader", json!([shop.node.tip()]));
    shop.node.call("setmocktime", json!([number(&tip["time"]) + 3 * 3600]));
    shop.node.mine_only(&[paid]);
    shop.node.call("setmocktime", json!([0]));
    shop.wait_for_tip();
}

fn coin_tampered(shop: &Shop) {
    let rows: Vec<(String, i64)> = shop.read(async |conn| {
        let query = "SELECT txid, vout FROM payment WHERE amount_sat = 70000";
        sqlx::query_as(query).fetch_all(conn).await.unwrap()
    });
    let (txid, vout) = rows.into_iter().next().expect("it is in the books");
    let coin = format!("coin {txid}:{vout}");
    let set = |what: &str, vout: i64| {
        format!("UPDATE payment SET {what} WHERE txid = '{txid}' AND vout = {vout}")
    };
    let worth = (set("amount_sat = 70001", vout), set("amount_sat = 70000", vout));
    found_out(shop, (&worth.0, &worth.1), &coin, "recorded are 70001 sat");
    let away = (set("vout = 77", vout), set(&format!("vout = {vout}"), 77));
    found_out(shop, (&away.0, &away.1), &coin, "in the wallet and not in the books");
    // Nobody can spend what the wallet does not offer: it was taken out of the list by hand.
    let name = text(&shop.node.call("listwallets", json!([]))[1]);
    let locked = json!([{ "txid": txid, "vout": vout }]);
    shop.node.call_wallet(&name, "lockunspent", json!([false, locked]));
    let (code, report) = audit(shop);
    assert!(code == Some(1) && report.to_string().contains("does not list it"), "{report}");
    shop.node.call_wallet(&name, "lockunspent", json!([true, locked]));
    shop.node.call("unloadwallet", json!([name]));
    let (code, report) = audit(shop);
    assert!(code == Some(0) && report["notes"].to_string().contains("is not loaded"), "{report}");
    shop.node.call("loadwallet", json!([name]));
}

#[test]
fn an_audit_finds_out_who_changes_batches_locks_or_coins() {
    each_signed(Kind::Wpkh, STORM, tampered);
}
