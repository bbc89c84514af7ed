//! Payments: each that is said to be mined is in that block of the node's chain, with the
//! recorded amount and script.

use bitcoin::consensus::deserialize;
use bitcoin::{BlockHash, Transaction};

use super::{PAGE, Report, lasting};
use crate::chain::BlockSource as _;
use crate::chain::bitcoind::Bitcoind;
use crate::cli::Exit;
use crate::db::payment::{Filter, PaymentRow};
use crate::db::{self, Db};

pub(super) async fn look(
    db: &Db,
    node: &Bitcoind,
    pruned_below: u32,
    report: &mut Report,
) -> Result<(), Exit> {
    let mut filter = Filter::default();
    loop {
        let mut conn = db.read().await?;
        let rows = db::payment::list(&mut conn, &filter, PAGE).await?;
        drop(conn);
        let Some(last) = rows.last() else { return Ok(()) };
        filter.before = Some((last.facts.first_seen_at, last.facts.id.to_string()));
        for row in rows {
            report.payments += 1;
            match row.facts.mined.as_ref() {
                Some(mined) if mined.height < pruned_below => report.payments_pruned += 1,
                _ => look_at(db, node, row, report).await?,
            }
        }
    }
}

async fn look_at(
    db: &Db,
    node: &Bitcoind,
    row: PaymentRow,
    report: &mut Report,
) -> Result<(), Exit> {
    let id = row.facts.id.to_string();
    if difference(db, node, &row).await?.is_none() {
        return Ok(());
    }
    let again = async || {
        let mut conn = db.read().await?;
        let row = db::payment::find(&mut conn, &id).await?;
        drop(conn);
        match row {
            Some(row) => difference(db, node, &row).await,
            None => Ok(None),
        }
    };
    if let Some(detail) = lasting(again).await? {
        report.differs(format!("payment {id}"), detail);
    }
    Ok(())
}

/// The block that is recorded at a height, if the node's chain has it there; else what is wrong.
pub(super) async fn block_at(
    db: &Db,
    node: &Bitcoind,
    height: u32,
) -> Result<Result<BlockHash, String>, Exit> {
    let mut conn = db.read().await?;
    let block = db::chain::find(&mut conn, height).await?;
    let lowest = db::chain::lowest(&mut conn).await?;
    drop(conn);
    let in_chain = node.hash_at(height).await?;
    Ok(match (block, in_chain) {
        (Some(block), found) if found != Some(block.hash) => {
            Err(format!("{} at height {height} is not in the node's chain", block.hash))
        }
        (Some(block), _) => Ok(block.hash),
        // A rescan reads blocks that are older than the first one that was followed.
        (None, Some(hash)) if lowest.is_some_and(|lowest| height < lowest) => Ok(hash),
        (None, _) => Err(format!("its block at height {height} is not recorded")),
    })
}

/// What the node says against a payment; nothing of one that is in no block.
async fn difference(db: &Db, node: &Bitcoind, row: &PaymentRow) -> Result<Option<String>, Exit> {
    let Some(mined) = &row.facts.mined else { return Ok(None) };
    let hash = match block_at(db, node, mined.height).await? {
        Ok(hash) => hash,
        Err(detail) => return Ok(Some(detail)),
    };
    let outpoint = row.facts.outpoint;
    let Some(bytes) = node.transaction_in_block(&outpoint.txid, &hash).await? else {
        return Ok(Some(format!("the node has no {} in {hash}", outpoint.txid)));
    };
    let transaction: Transaction =
        deserialize(&bytes).map_err(|error| anyhow::anyhow!("{}: {error}", outpoint.txid))?;
    let output = usize::try_from(outpoint.vout).ok().and_then(|n| transaction.output.get(n));
    Ok(match output {
        None => Some(format!("{} has no such output", outpoint)),
        Some(output) if output.value.to_sat() != row.facts.amount_sat => Some(format!(
            "{outpoint} is worth {} sat, {} sat are recorded",
            output.value.to_sat(),
            row.facts.amount_sat,
        )),
        Some(output) if output.script_pubkey != row.script_pubkey => {
            Some(format!("{outpoint} pays another script"))
        }
        Some(_) => None,
    })
}
