//! Reads blocks again that were followed already, for an operator who misses money. Never moves
//! the tip: what it finds is recorded as it would have been, and settled as everything is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch::Sender;

use crate::app::apply_block::{Applied, ApplyAgain, ScannedBlock};
use crate::app::rescan::{Progress, RescanDesk, RescanState};
use crate::chain::{BlockSource, ChainError, ErrorClass};
use crate::db::{self, Db};

use super::watch::{LOOKAHEAD, Watch};

/// The longest pause after a failure that passes by itself, about a minute after the first one.
const LONGEST_PAUSE: Duration = Duration::from_secs(32);

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
    progress: &Sender<Progress>,
) -> anyhow::Result<()> {
    let mut watch = Watch::new(db.clone(), network, LOOKAHEAD);
    let to = progress.borrow().to_height;
    for height in from..=to {
        let found = read_patiently(source, db, &mut watch, height)
            .await
            .with_context(|| format!("block {height} could not be read again"))?;
        progress.send_modify(|now| {
            now.state = RescanState::Running;
            now.height = Some(height);
            now.found += found;
        });
    }
    Ok(())
}

/// Reads one block again, later when the node is away for a while or a reorg is under way.
async fn read_patiently<S: BlockSource>(
    source: &Arc<S>,
    db: &Db,
    watch: &mut Watch,
    height: u32,
) -> anyhow::Result<u64> {
    let mut pause = Duration::from_secs(1);
    loop {
        match read_again(source, db, watch, height).await {
            Err(error) if passes(&error) && pause <= LONGEST_PAUSE => {
                tracing::warn!(height, error = format!("{error:#}"), "the rescan waits");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            result => return result,
        }
    }
}

fn passes(error: &anyhow::Error) -> bool {
    match (error.downcast_ref::<ChainError>(), error.downcast_ref()) {
        (Some(chain), _) => chain.class() != ErrorClass::Fatal,
        (_, Some(database)) => db::DbError::is_temporary(database),
        _ => false,
    }
}

/// Reads one block again. Returns how many payments were new.
async fn read_again<S: BlockSource>(
    source: &Arc<S>,
    db: &Db,
    watch: &mut Watch,
    height: u32,
) -> anyhow::Result<u64> {
    let hash = source.hash_at(height).await?.ok_or_else(other_chain)?;
    let mut conn = db.read().await?;
    let known = db::chain::find(&mut conn, height).await?;
    drop(conn);
    if known.is_some_and(|block| block.hash != hash) {
        return Err(other_chain().into());
    }
    let header = source.header(&hash).await?.ok_or_else(other_chain)?;
    let bytes = source.block(&hash).await?;
    watch.refresh(0).await?;
    let hits = watch.scan_block(&bytes)?;
    if hits.is_empty() {
        return Ok(0);
    }
    let block =
        ScannedBlock { height, hash, header_at: header.time_at, mtp_at: header.mtp_at, hits };
    match db.write(ApplyAgain { block }).await? {
        (Applied::Done, found) => Ok(found),
        (Applied::Stale, _) => Err(other_chain().into()),
    }
}

/// The follower reads a new block, too; until it did, the node and the database disagree.
fn other_chain() -> ChainError {
    ChainError::Unusable {
        method: "getblockhash".into(),
        detail: "it is on another chain than was followed so far".into(),
    }
}
