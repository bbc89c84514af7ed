//! Reads blocks again that were followed already, for an operator who misses money. Never moves
//! the tip: what it finds is recorded as it would have been, and settled as everything is.

use std::sync::Arc;

use anyhow::{Context, bail};

use crate::app::apply_block::{Applied, ApplyAgain, ScannedBlock};
use crate::app::rescan::{Progress, RescanDesk, RescanState};
use crate::chain::BlockSource;
use crate::db::{self, Db};

use super::watch::{LOOKAHEAD, Watch};

/// Waits for rescans and does them, until nobody can ask any more.
///
/// # Errors
/// None: a rescan that fails says so in its progress.
pub async fn run<S: BlockSource>(
    source: Arc<S>,
    db: Db,
    network: bitcoin::Network,
    mut desk: RescanDesk,
) -> anyhow::Result<()> {
    while let Some(from) = desk.asked.recv().await {
        let result = rescan(&source, &db, network, from, &desk.progress).await;
        desk.progress.send_modify(|progress| match &result {
            Ok(()) => progress.state = RescanState::Done,
            Err(error) => {
                tracing::warn!(error = format!("{error:#}"), "the rescan failed");
                progress.state = RescanState::Failed;
                progress.failure = Some(format!("{error:#}"));
            }
        });
    }
    Ok(())
}

async fn rescan<S: BlockSource>(
    source: &Arc<S>,
    db: &Db,
    network: bitcoin::Network,
    from: u32,
    progress: &tokio::sync::watch::Sender<Progress>,
) -> anyhow::Result<()> {
    let mut watch = Watch::new(db.clone(), network, LOOKAHEAD);
    let to = progress.borrow().to_height;
    for height in from..=to {
        let found = read_again(source, db, &mut watch, height).await?;
        progress.send_modify(|now| {
            now.state = RescanState::Running;
            now.height = Some(height);
            now.found += found;
        });
    }
    Ok(())
}

/// Reads one block again. Returns how many transactions were new.
async fn read_again<S: BlockSource>(
    source: &Arc<S>,
    db: &Db,
    watch: &mut Watch,
    height: u32,
) -> anyhow::Result<u64> {
    // A reorg meanwhile is followed by the follower, which reads the new blocks anyway.
    let hash = source.hash_at(height).await?.context("the chain became shorter")?;
    let header = source.header(&hash).await?.context("the chain changed")?;
    let bytes = source.block(&hash).await?;
    watch.refresh(0).await?;
    let hits = watch.scan_block(&bytes)?;
    if hits.is_empty() {
        return Ok(0);
    }
    let mut conn = db.read().await?;
    let known = db::chain::find(&mut conn, height).await?;
    drop(conn);
    if known.is_some_and(|block| block.hash != hash) {
        bail!("block {height} was replaced while it was read; ask again");
    }
    let block =
        ScannedBlock { height, hash, header_at: header.time_at, mtp_at: header.mtp_at, hits };
    match db.write(ApplyAgain { block }).await? {
        (Applied::Done, found) => Ok(found),
        (Applied::Stale, _) => bail!("block {height} was replaced while it was read; ask again"),
    }
}
