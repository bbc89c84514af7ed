//! Blocks read again by the built program: money that was missed is credited once, and asking is
//! refused when it makes no sense.

use std::process::Output;

use serde_json::{Value, json};

use leasehold::db::chain::{self, Block};
use leasehold::db::{Db, DbError, Tx, WriteItem};
use leasehold::domain::time::Timestamp;

use crate::harness::daemon::{Shop, each, once};
use crate::harness::wait::until;

/// Blocks that count as followed without having been read, as if an old copy of the database had
/// been given a new tip by hand.
struct Skip(Vec<Block>);

impl WriteItem for Skip {
    type Out = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for block in &self.0 {
            let from = chain::tip(tx.conn()).await?.expect("the chain was followed").hash;
            assert!(chain::swap_tip(tx.conn(), from, block.height, block.hash).await?);
            chain::insert(tx.conn(), block).await?;
        }
        Ok(())
    }
}

/// The node's blocks from `height` on.
fn blocks(shop: &Shop, height: u32) -> Vec<Block> {
    let block = |height: u32| {
        let hash = shop.node.block_at(height);
        let header = shop.node.call("getblockheader", json!([hash]));
        let at = |name: &str| Timestamp::from_secs(header[name].as_i64().expect("a time"));
        let (header_at, mtp_at) = (at("time"), at("mediantime"));
        Block { height, hash, header_at, mtp_at, moment_at: header_at }
    };
    (height..=shop.node.height()).map(block).collect()
}

/// While the server is stopped.
fn skip(shop: &Shop, from: u32) {
    let item = Skip(blocks(shop, from));
    shop.write(async |db: &Db| db.write(item).await.expect("it can be written"));
}

fn ended(output: std::io::Result<Output>) -> (i32, Value, String) {
    let Output { status, stdout, stderr } = output.expect("the built program starts");
    let answer = serde_json::from_slice(&stdout).unwrap_or(Value::Null);
    let code = status.code().expect("it was not killed");
    (code, answer, String::from_utf8_lossy(&stderr).into_owned())
}

fn rescan(shop: &Shop, from: &str) -> (i32, Value, String) {
    let words = ["--json", "rescan", "--from-height", from, "--server", shop.url()];
    ended(shop.command(&words).output())
}

#[test]
fn missed_money_is_credited_once_while_new_blocks_come_and_a_second_rescan_changes_nothing() {
    each(|shop| {
        let missed = shop.rent("box", 7200);
        let later = shop.rent("shared", 3600);
        shop.stop();
        shop.node.send(&missed.address, 7200);
        shop.node.mine(1);
        let height = shop.node.height();
        shop.node.mine(2);
        skip(shop, height);
        shop.start();
        assert_eq!(shop.invoice(&missed.invoice)["received"]["credited_sat"], 0);

        let words = ["--json", "rescan", "--from-height", "0", "--server", shop.url()];
        let child = shop.command(&words).stdout(piped()).stderr(piped()).spawn();
        shop.node.send(&later.address, 3600);
        shop.node.mine(3);
        let child = child.expect("the built program starts");
        let (code, done, err) = ended(child.wait_with_output());
        assert_eq!((code, &done["state"], &done["found"]), (0, &"done".into(), &1.into()), "{err}");
        assert_eq!((&done["from_height"], &done["height"]), (&0.into(), &done["to_height"]));
        assert!(err.lines().last().is_some_and(|line| line.starts_with("block ")), "{err}");
        for rented in [&missed, &later] {
            shop.lease_until("it to run", &rented.lease, |lease| lease["state"] == "active");
        }
        let lease = shop.lease(&missed.lease);
        assert_eq!(lease["credits"].as_array().map(Vec::len), Some(1), "{lease}");
        assert_eq!(lease["credits"][0]["seconds"], 7200);

        shop.wait_for_tip();
        let books =
            |shop: &Shop| (shop.events(), shop.ledger(), shop.lease(&missed.lease)["seq"].clone());
        let before = books(shop);
        let (code, again, err) = rescan(shop, &height.to_string());
        assert_eq!((code, &again["found"]), (0, &0.into()), "{err}");
        // Whatever it marked is settled with what the next block brings.
        shop.node.mine(1);
        shop.wait_for_tip();
        assert_eq!(books(shop), before);
    });
}

fn piped() -> std::process::Stdio {
    std::process::Stdio::piped()
}

#[test]
fn a_rescan_is_refused_above_the_tip_and_while_another_one_runs() {
    once(|shop| {
        let tip = shop.node.height();
        let (code, _, err) = rescan(shop, &(tip + 1).to_string());
        assert_eq!(code, 1);
        assert!(err.contains(&format!("from_height is {}; the tip is {tip}", tip + 1)), "{err}");
        for wrong in ["-1", "soon", "4294967296"] {
            assert_eq!(rescan(shop, wrong).0, 2, "{wrong}");
        }

        // It cannot go on while the node stands still.
        shop.node.freeze();
        let words = ["--json", "rescan", "--from-height", "0", "--server", shop.url()];
        let child = shop.command(&words).stdout(piped()).stderr(piped()).spawn();
        let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
        until("the rescan to be asked for", || {
            let path = "/v1/admin/rescan";
            let (_, progress) = shop.ask(reqwest::Method::GET, path, Some(key.trim()), None);
            let begun = progress["state"] == "waiting" || progress["state"] == "running";
            begun.then_some(()).ok_or(progress)
        });
        let (code, _, err) = rescan(shop, "5");
        assert_eq!(code, 75, "{err}");
        assert!(err.contains("a rescan is under way"), "{err}");
        shop.node.thaw();
        let child = child.expect("the built program starts");
        let (code, done, err) = ended(child.wait_with_output());
        assert_eq!((code, &done["height"]), (0, &tip.into()), "{err}");
        let words = ["rescan", "--from-height", "0", "--server", shop.url()];
        let told = shop.command(&words).output().expect("the built program starts");
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let last = format!("blocks 0 to {tip} were read again: 0 payments found");
        assert!(told.lines().last().is_some_and(|line| line.starts_with(&last)), "{told}");
    });
}
