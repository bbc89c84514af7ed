//! Storms: whatever the chain, the node, other people and the power supply do to batches, every
//! payout is paid exactly once. Here: holders who are owed money, what is done to a batch from
//! outside, and what must hold in the end.

mod again;
mod checked;
mod kills;
mod lost;
mod restored;
mod reversed;
mod together;
mod twice;
mod versions;

use bitcoin::{Amount, OutPoint, Psbt, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use data_encoding::BASE64;
use reqwest::Method;
use serde_json::{Value, json};

use super::{each_signed, number, once_signed, text};
use crate::harness::daemon::{Rented, Shop};
use crate::harness::signer::{Kind, Signer};
use crate::harness::wait::until;

/// What can never be undone is six blocks deep, so that a test can get there.
const STORM: &str = "[money]\nfinal_confirmations = 6\n[payouts]\npayout_confirmations = 2\n";
/// Enough for some versions with higher fees.
const SAT: u64 = 50_000;

/// Runs `body` for every kind of descriptor, with wpkh on both databases.
fn each_kind(kind: Kind, body: impl Fn(&mut Shop, &Signer) + Sync) {
    match kind {
        Kind::Wpkh => each_signed(kind, STORM, body),
        Kind::Tr | Kind::Wsh2of3 => once_signed(kind, STORM, body),
    }
}

/// Somebody who is owed money.
#[derive(Clone, Debug)]
struct Holder {
    rented: Rented,
    to: String,
    owed_sat: u64,
    payout: String,
}

/// New holders whose payouts are due.
fn holders(shop: &Shop, count: u64) -> Vec<Holder> {
    let rented: Vec<Rented> = (0..count).map(|n| shop.rent("shared", SAT + n)).collect();
    let pay: Vec<_> = rented.iter().map(|it| (it.address.as_str(), it.amount_sat)).collect();
    shop.node.send_many(&pay);
    shop.node.mine(1);
    let mut holders = Vec::new();
    for rented in rented {
        shop.lease_until("the lease to run", &rented.lease, |it| it["state"] == "active");
        shop.give_back(&rented);
        let to = shop.node.new_address();
        shop.refund_to(&rented, &to);
        holders.push(Holder { rented, to, owed_sat: 0, payout: String::new() });
    }
    shop.node.mine(1);
    for holder in &mut holders {
        let due = shop.payout_in(&holder.rented, "due");
        (holder.owed_sat, holder.payout) = (number(&due["amount_sat"]), text(&due["id"]));
    }
    holders
}

/// Waits until the payouts of all of them are in `state`.
fn all_in(shop: &Shop, holders: &[Holder], state: &str) {
    for holder in holders {
        shop.payout_in(&holder.rented, state);
    }
}

/// Every holder got what was owed, once, and no batch is mined twice.
fn paid_once(shop: &Shop, holders: &[Holder]) {
    shop.wait_for_tip();
    for holder in holders {
        let claim = until("the refund to be there", || {
            let claim = shop.claim(&holder.rented);
            let paid = claim["refunded_sat"] == holder.owed_sat && claim["refundable_sat"] == 0;
            if paid { Ok(claim) } else { Err(claim) }
        });
        let states = claim["payouts"].as_array().unwrap().iter().map(|it| it["state"].clone());
        assert_eq!(states.collect::<Vec<_>>(), ["confirmed"], "{claim}");
        let mined = mined(shop, &holder.rented.lease);
        let [(amount_sat, fee_sat)] = mined[..] else { panic!("paid otherwise: {mined:?}") };
        assert_eq!(amount_sat, holder.owed_sat);
        assert_eq!(shop.arrived_sat(&holder.to), amount_sat - fee_sat, "{holder:?}");
        assert_eq!(shop.booked(&holder.rented.lease).refunded_sat, holder.owed_sat);
    }
    assert_eq!(double_mined(shop), 0, "two versions of a batch are mined");
    nothing_due(shop);
}

/// Amounts and fees of the mined versions that pay a subject.
fn mined(shop: &Shop, subject: &str) -> Vec<(u64, u64)> {
    let query = "SELECT payout_item.amount_sat, payout_item.fee_sat FROM payout_item \
         JOIN payout ON payout.id = payout_item.payout \
         JOIN payout_version ON payout_version.batch = payout_item.batch \
              AND payout_version.n = payout_item.n \
         JOIN tx ON tx.txid = payout_version.txid \
         WHERE payout.subject = $1 AND tx.height IS NOT NULL";
    let rows: Vec<(i64, i64)> = shop.read(async |conn| {
        sqlx::query_as(query).bind(subject.to_owned()).fetch_all(conn).await.unwrap()
    });
    rows.into_iter().map(|(a, b)| (a.try_into().unwrap(), b.try_into().unwrap())).collect()
}

/// Batches of which more than one version is in the chain.
fn double_mined(shop: &Shop) -> usize {
    let query = "SELECT batch FROM payout_version JOIN tx ON tx.txid = payout_version.txid \
         WHERE tx.height IS NOT NULL GROUP BY batch HAVING COUNT(*) > 1";
    let rows: Vec<(String,)> =
        shop.read(async |conn| sqlx::query_as(query).fetch_all(conn).await.unwrap());
    rows.len()
}

/// Nothing can be prepared, since nothing is due.
fn nothing_due(shop: &Shop) {
    let (status, answer) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
    assert_eq!(status, 409, "{answer}");
    let detail = text(&answer["detail"]);
    assert!(detail.contains("there is nothing to pay") && !detail.contains("pyt_"), "{answer}");
}

/// Why nothing can be prepared though something is due.
fn refused(shop: &Shop) -> String {
    let (status, answer) = shop.try_prepare(&json!({ "feerate_msat_vb": 1000 }));
    assert_eq!(status, 409, "{answer}");
    text(&answer["detail"])
}

/// Gives a batch up.
fn abandon(shop: &Shop, batch: &Value) -> Value {
    let path = format!("payouts/batches/{}/abandon", text(&batch["id"]));
    let (status, answer) = shop.operate(Method::POST, &path, None);
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The finished transaction of a batch as hex, signed but not submitted.
fn signed(shop: &Shop, signer: &Signer, batch: &Value) -> String {
    let psbt = signer.sign(&text(&batch["psbt"]));
    let done = shop.node.call("finalizepsbt", json!([psbt]));
    assert_eq!(done["complete"], true, "{done}");
    text(&done["hex"])
}

/// The PSBT of a version, of which the API shows only the leading one's.
fn psbt_of(shop: &Shop, batch: &Value, n: u32) -> Value {
    let id = text(&batch["id"]);
    let query = "SELECT psbt FROM payout_version WHERE batch = $1 AND n = $2";
    let (psbt,): (String,) = shop.read(async |conn| {
        sqlx::query_as(query).bind(id).bind(i64::from(n)).fetch_one(conn).await.unwrap()
    });
    json!({ "id": batch["id"], "psbt": psbt })
}

/// Whether a transaction is in the node's mempool.
fn is_pending(shop: &Shop, id: &Value) -> bool {
    shop.node.mempool().contains(&txid(id))
}

fn txid(id: &Value) -> Txid {
    text(id).parse().expect("a txid")
}

/// Waits until a transaction is in the node's mempool.
fn until_pending(shop: &Shop, id: &Value) {
    until("the node to have it", || {
        if is_pending(shop, id) { Ok(()) } else { Err(shop.node.mempool()) }
    });
}

/// Waits until the server has seen a version in the mempool.
fn seen_pending(shop: &Shop, id: &Value, n: usize) -> Value {
    until("it to be seen in the mempool", || {
        let batch = shop.batch(id);
        if version(&batch, n)["in_mempool"] == true { Ok(batch) } else { Err(batch) }
    })
}

/// The coins that a batch's PSBT spends.
fn coins(batch: &Value) -> Vec<OutPoint> {
    let inputs = parse(batch).unsigned_tx.input;
    inputs.into_iter().map(|input| input.previous_output).collect()
}

fn parse(batch: &Value) -> Psbt {
    let bytes = BASE64.decode(text(&batch["psbt"]).as_bytes()).unwrap();
    Psbt::deserialize(&bytes).unwrap()
}

/// A signed transaction of the operator's own, as hex, that spends some of a batch's coins to an
/// address outside.
fn elsewhere(shop: &Shop, signer: &Signer, batch: &Value, inputs: &[usize]) -> String {
    let theirs = parse(batch);
    let mut sum = Amount::ZERO;
    let input = |n: &usize| TxIn {
        previous_output: theirs.unsigned_tx.input[*n].previous_output,
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        script_sig: Default::default(),
        witness: Witness::new(),
    };
    inputs.iter().for_each(|n| sum += theirs.spend_utxo(*n).unwrap().value);
    let address: bitcoin::Address<_> = shop.node.new_address().parse().unwrap();
    let script_pubkey = address.assume_checked().script_pubkey();
    let transaction = Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: inputs.iter().map(input).collect(),
        output: vec![TxOut { value: sum - Amount::from_sat(10_000), script_pubkey }],
    };
    let mut psbt = Psbt::from_unsigned_tx(transaction).unwrap();
    psbt.inputs = inputs.iter().map(|n| theirs.inputs[*n].clone()).collect();
    let filled = json!({ "psbt": BASE64.encode(&psbt.serialize()) });
    signed(shop, signer, &filled)
}

/// One coin of the operator's own, large enough for any batch of a test; confirmed.
fn deposit(shop: &Shop, sat: u64) {
    shop.node.send(&shop.address(30), sat);
    shop.node.mine(2);
    shop.wait_for_tip();
}

/// A version as the API shows it.
fn version(batch: &Value, n: usize) -> &Value {
    &batch["versions"][n - 1]
}
