//! Payments: each that is said to be mined is in that block of the node's chain, with the
//! recorded amount and script.

use bitcoin::consensus::deserialize;
use bitcoin::{Network, Transaction};

use super::{PAGE, Report};
use crate::chain::BlockSource as _;
use crate::chain::bitcoind::Bitcoind;
use crate::cli::Exit;
use crate::db::payment::{Filter, PaymentRow};
use crate::db::{self, Db};

/// A running server may be in the middle of a reorganisation; then the payment has changed when
/// it is read again.
const LOOKS: usize = 5;

pub(super) async fn look(
    db: &Db,
    node: &Bitcoind,
    network: Network,
    report: &mut Report,
) -> Result<(), Exit> {
    let state = node.node_state().await?;
    state.check_network(network)?;
    let pruned_below = state.prune_height.unwrap_or(0);
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

/// Tells a difference only when it stays while what is recorded does not change.
async fn look_at(
    db: &Db,
    node: &Bitcoind,
    row: PaymentRow,
    report: &mut Report,
) -> Result<(), Exit> {
    let id = row.facts.id.to_string();
    let mut row = row;
    let mut before = None;
    for _ in 0..LOOKS {
        let Some(found) = difference(db, node, &row).await? else { return Ok(()) };
        if before.as_ref() == Some(&found) {
            break;
        }
        before = Some(found);
        // A server that is behind its node by a block gets the time to follow.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let mut conn = db.read().await?;
        match db::payment::find(&mut conn, &id).await? {
            Some(again) => row = again,
            None => return Ok(()),
        }
    }
    if let Some(detail) = before {
        report.differs(format!("payment {id}"), detail);
    }
    Ok(())
}

/// What the node says against a payment; nothing of one that is in no block.
async fn difference(db: &Db, node: &Bitcoind, row: &PaymentRow) -> Result<Option<String>, Exit> {
    let Some(mined) = &row.facts.mined else { return Ok(None) };
    let height = mined.height;
    let mut conn = db.read().await?;
    let block = db::chain::find(&mut conn, height).await?;
    let lowest = db::chain::lowest(&mut conn).await?;
    drop(conn);
    let in_chain = node.hash_at(height).await?;
    let hash = match (block, in_chain) {
        (Some(block), found) if found != Some(block.hash) => {
            let detail = format!("{} at height {height} is not in the node's chain", block.hash);
            return Ok(Some(detail));
        }
        (Some(block), _) => block.hash,
        // A rescan reads blocks that are older than the first one that was followed.
        (None, Some(hash)) if lowest.is_some_and(|lowest| height < lowest) => hash,
        (None, _) => return Ok(Some(format!("its block at height {height} is not recorded"))),
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
