//! Batches: of each at most one version is in the chain, with exactly the outputs that were
//! recorded; what waits can still be mined, what is said to be impossible is. And nobody was paid
//! back more than came.

use std::collections::HashSet;

use bitcoin::consensus::deserialize;
use bitcoin::{OutPoint, Transaction};

use super::payments::block_at;
use super::{PAGE, Report, lasting};
use crate::chain::bitcoind::Bitcoind;
use crate::cli::Exit;
use crate::db::batch::{BatchRow, Item, VersionRow};
use crate::db::{self, Db};
use crate::domain::ids::BatchId;
use crate::payout::from_base64;

pub(super) async fn look(
    db: &Db,
    node: &Bitcoind,
    pruned_below: u32,
    report: &mut Report,
) -> Result<(), Exit> {
    let mut before = None;
    let mut subjects = HashSet::new();
    loop {
        let mut conn = db.read().await?;
        let rows = db::batch::list(&mut conn, None, before.as_ref(), PAGE).await?;
        drop(conn);
        let Some(last) = rows.last() else { return Ok(()) };
        before = Some((last.created_at, last.id.to_string()));
        for row in rows {
            report.batches += 1;
            let again = async || difference(db, node, pruned_below, &row.id).await;
            if let Some(detail) = lasting(again).await? {
                report.differs(format!("batch {}", row.id), detail);
            }
            let mut conn = db.read().await?;
            let all = db::batch::subjects(&mut conn, &row.id).await?;
            drop(conn);
            for subject in all {
                if subjects.insert(subject.clone())
                    && let Some(detail) = lasting(async || overpaid(db, &subject).await).await?
                {
                    report.differs(subject, detail);
                }
            }
        }
    }
}

/// Who got more back than came from them.
async fn overpaid(db: &Db, subject: &str) -> Result<Option<String>, Exit> {
    let mut conn = db.snapshot().await?;
    let sums = db::payout::mined_sums(&mut conn, subject).await?;
    let all_sat: u64 = sums.iter().map(|(_, sat)| sat).sum();
    let received_sat = db::payout::received_sat(&mut conn, subject, None).await?;
    if all_sat > received_sat {
        return Ok(Some(format!("{all_sat} sat were paid back of {received_sat} sat")));
    }
    for (invoice, sat) in &sums {
        let Some(invoice) = invoice else { continue };
        let came_sat = db::payout::received_sat(&mut conn, subject, Some(invoice)).await?;
        if *sat > came_sat {
            let detail = format!("{sat} sat were paid back of {came_sat} sat paid to {invoice}");
            return Ok(Some(detail));
        }
    }
    Ok(None)
}

async fn difference(
    db: &Db,
    node: &Bitcoind,
    pruned_below: u32,
    id: &BatchId,
) -> Result<Option<String>, Exit> {
    let mut conn = db.snapshot().await?;
    let Some(row) = db::batch::find(&mut conn, id.as_str()).await? else { return Ok(None) };
    if let Some(wrong) = inconsistent(&row) {
        return Ok(Some(wrong));
    }
    let mined = row.versions.iter().find_map(|it| Some((it, it.facts.height?)));
    let Some((version, height)) = mined else {
        drop(conn);
        return waiting(db, node, &row).await;
    };
    let items = db::batch::items(&mut conn, id, version.facts.n).await?;
    drop(conn);
    if height < pruned_below {
        return Ok(None);
    }
    let hash = match block_at(db, node, height).await? {
        Ok(hash) => hash,
        Err(detail) => return Ok(Some(detail)),
    };
    let txid = version.facts.txid;
    let Some(bytes) = node.transaction_in_block(&txid, &hash).await? else {
        return Ok(Some(format!("the node has no {txid} in {hash}")));
    };
    let found: Transaction =
        deserialize(&bytes).map_err(|error| anyhow::anyhow!("{txid}: {error}"))?;
    Ok(match from_base64(&version.psbt) {
        Some(psbt) => otherwise(&psbt.unsigned_tx, &items, &found),
        None => Some(format!("the PSBT of version {} cannot be read", version.facts.n)),
    })
}

/// What is wrong with a batch by itself.
fn inconsistent(row: &BatchRow) -> Option<String> {
    let mined: Vec<u32> =
        row.versions.iter().filter(|it| it.facts.height.is_some()).map(|it| it.facts.n).collect();
    if let [one, other, ..] = mined[..] {
        return Some(format!("versions {one} and {other} are both in the chain"));
    }
    let (stored, state) = (row.state, row.facts().state());
    (stored != state).then(|| {
        let (stored, state) = (stored.as_str(), state.as_str());
        format!("it is recorded as {stored}, but is {state} by its versions")
    })
}

/// In what a mined transaction differs from what was prepared and recorded.
fn otherwise(prepared: &Transaction, items: &[Item], found: &Transaction) -> Option<String> {
    let coins = |transaction: &Transaction| -> Vec<OutPoint> {
        transaction.input.iter().map(|input| input.previous_output).collect()
    };
    if coins(prepared) != coins(found) {
        return Some("the transaction in the chain spends other coins".into());
    }
    if prepared.output != found.output {
        return Some("the transaction in the chain has other outputs".into());
    }
    let mut net_sat = vec![None; found.output.len()];
    for item in items {
        let sum = usize::try_from(item.vout).ok().and_then(|vout| net_sat.get_mut(vout));
        let Some(sum) = sum else {
            return Some(format!(
                "{} is paid by output {}, of which there is none",
                item.payout, item.vout
            ));
        };
        *sum = Some(sum.unwrap_or(0) + item.amount_sat.saturating_sub(item.fee_sat));
    }
    let outputs = found.output.iter().zip(net_sat).zip(0..);
    let mut wrong = outputs.filter_map(|((output, net_sat), vout): ((_, Option<u64>), u32)| {
        let (sat, net_sat) = (output.value.to_sat(), net_sat?);
        (sat != net_sat)
            .then(|| format!("output {vout} pays {sat} sat, recorded are {net_sat} sat"))
    });
    wrong.next()
}

/// What is wrong with versions in no block: one that may still be mined needs all its coins; one
/// that is said to be impossible has lost one.
async fn waiting(db: &Db, node: &Bitcoind, row: &BatchRow) -> Result<Option<String>, Exit> {
    for VersionRow { facts, .. } in &row.versions {
        let mut conn = db.read().await?;
        let inputs = db::tx::inputs(&mut conn, &facts.txid).await?;
        drop(conn);
        let mut spent = None;
        for coin in &inputs {
            if is_spent(db, node, coin, facts.conflict_height.is_some()).await? {
                spent = Some(coin);
                break;
            }
        }
        match (spent, facts.conflict_height) {
            (Some(coin), None) => {
                let detail = format!("version {} waits, but its coin {coin} is spent", facts.n);
                return Ok(Some(detail));
            }
            (None, Some(_)) => {
                let detail = format!(
                    "version {} is said to be impossible, but none of its coins is spent",
                    facts.n
                );
                return Ok(Some(detail));
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Whether the chain has no such coin. One whose transaction has lost its block is not spent:
/// it comes back with that, unless `strict`.
async fn is_spent(db: &Db, node: &Bitcoind, coin: &OutPoint, strict: bool) -> Result<bool, Exit> {
    if node.unspent_output(coin, false).await?.is_some() {
        return Ok(false);
    }
    if strict {
        return Ok(true);
    }
    let mut conn = db.read().await?;
    Ok(db::tx::mined_height(&mut conn, &coin.txid).await?.is_some())
}

#[cfg(test)]
mod tests {
    use bitcoin::absolute::LockTime;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, ScriptBuf, TxIn, TxOut};

    use super::*;
    use crate::domain::ids::PayoutId;

    fn transaction(values: &[u64]) -> Transaction {
        let output = |sat: &u64| TxOut {
            value: Amount::from_sat(*sat),
            script_pubkey: ScriptBuf::new_op_return([]),
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn::default()],
            output: values.iter().map(output).collect(),
        }
    }

    fn item(vout: u32, amount_sat: u64, fee_sat: u64) -> Item {
        Item { payout: PayoutId::new([1; 16]), vout, amount_sat, fee_sat }
    }

    #[test]
    fn a_mined_batch_pays_what_was_recorded_and_nothing_else() {
        let prepared = transaction(&[900, 5000, 1000]);
        let right = [item(0, 600, 50), item(0, 400, 50), item(2, 1100, 100)];
        assert_eq!(otherwise(&prepared, &right, &prepared), None);
        let mut other = prepared.clone();
        other.input[0].previous_output.vout = 7;
        let coins = otherwise(&prepared, &right, &other);
        assert_eq!(coins.as_deref(), Some("the transaction in the chain spends other coins"));
        let outputs = otherwise(&prepared, &right, &transaction(&[900, 5000, 999]));
        assert_eq!(outputs.as_deref(), Some("the transaction in the chain has other outputs"));
        let less = otherwise(&prepared, &right[1..], &prepared);
        assert_eq!(less.as_deref(), Some("output 0 pays 900 sat, recorded are 350 sat"));
        let beyond = otherwise(&prepared, &[item(3, 1, 0)], &prepared).unwrap();
        assert!(beyond.ends_with("is paid by output 3, of which there is none"), "{beyond}");
    }
}
