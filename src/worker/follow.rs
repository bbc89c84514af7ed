//! Follows the node: block by block to its tip, then a look at its mempool, then everything that
//! follows from it is settled. One round is one call of [`Follow::round`]; a restart, a crash
//! and a second server are the same case, since the tip is the database's.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::apply_block::{Applied, ApplyBlocks, Rewind, Rewound, ScannedBlock, StartAt};
use crate::app::readiness::{NodeNow, Readiness, ReadinessSender, TipNow};
use crate::app::settle::Ground;
use crate::app::settle_due::{SettleByChain, SettleByClock};
use crate::chain::follower::{FetchedBlock, Follower, Move};
use crate::chain::mempool::Mempool;
use crate::chain::zmq::News;
use crate::chain::{BlockId, BlockSource, ChainError, Doubt, ErrorClass, NodeState};
use crate::clock::SharedClock;
use crate::db::chain::{Block, Tip};
use crate::db::{self, Db};
use crate::domain::policy::Policy;
use crate::domain::scan::scan_tx;

use super::recover::Reach;
use super::watch::Watch;

/// Blocks that one transaction connects while catching up.
const BATCH: usize = 50;

/// What a follower is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The network that the node must be on.
    pub network: bitcoin::Network,
    /// The operator's rules.
    pub policy: Policy,
    /// How far what a keychain issued before is searched for.
    pub reach: Reach,
    /// Where the first start scans from; `None` for the node's tip.
    pub birthday_height: Option<u32>,
    /// A tip older than this is not trusted; `None` on regtest.
    pub max_tip_age_s: Option<u64>,
    /// How often the node is asked when no hint comes.
    pub poll_interval: Duration,
}

/// The follower of one node.
pub struct Follow<S> {
    pub(super) source: Arc<S>,
    pub(super) db: Db,
    pub(super) clock: SharedClock,
    pub(super) settings: Settings,
    pub(super) watch: Watch,
    pub(super) mempool: Mempool,
    pub(super) looked_at: Option<crate::domain::time::Timestamp>,
    follower: Follower<S>,
    following: bool,
    readiness: ReadinessSender,
    news: mpsc::Receiver<News>,
}

impl<S: BlockSource> Follow<S> {
    /// A follower that knows nothing yet.
    pub fn new(
        source: Arc<S>,
        db: Db,
        clock: SharedClock,
        settings: Settings,
        (readiness, news): (ReadinessSender, mpsc::Receiver<News>),
    ) -> Self {
        let watch = Watch::new(db.clone(), settings.network, settings.reach.lookahead);
        Self {
            follower: Follower::new(source.clone()),
            source,
            db,
            clock,
            settings,
            watch,
            mempool: Mempool::new(),
            looked_at: None,
            following: false,
            readiness,
            news,
        }
    }

    /// Follows until `shutdown`.
    ///
    /// # Errors
    /// What cannot pass by itself: another network, a pruned node, a broken database.
    pub async fn run(mut self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut pause = Duration::from_secs(1);
        while !shutdown.is_cancelled() {
            let wait = match self.round().await {
                Ok(()) => {
                    pause = Duration::from_secs(1);
                    self.settings.poll_interval
                }
                Err(error) => {
                    self.pass_or_fail(error)?;
                    pause = (pause * 2).min(Duration::from_secs(60));
                    pause / 2
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.wait(wait) => {}
            }
        }
        Ok(())
    }

    /// Waits for the timer, or less when the node has a new block or tells of a transaction that
    /// concerns us. The timer alone is correct.
    async fn wait(&mut self, period: Duration) {
        let tip = self.readiness.borrow().tip;
        let (news, watch) = (&mut self.news, self.watch.set());
        let told = async {
            while let Some(news) = news.recv().await {
                let concerns = match &news {
                    News::Block => true,
                    News::Transaction(raw) => scan_tx(raw, watch).is_ok_and(|hit| hit.is_some()),
                };
                if concerns {
                    return;
                }
            }
            // Nobody publishes.
            std::future::pending().await
        };
        let hint = async {
            match tip {
                Some(tip) if self.following => {
                    let found = self.source.wait_for_block(&tip.hash, period).await;
                    if found.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = hint => {}
            () = told => {}
            () = tokio::time::sleep(period) => {}
        }
    }

    /// Notes a failure that passes by itself; returns one that does not.
    fn pass_or_fail(&mut self, error: anyhow::Error) -> anyhow::Result<()> {
        self.following = false;
        let passes = match (error.downcast_ref::<ChainError>(), error.downcast_ref()) {
            (Some(chain), _) => chain.class() != ErrorClass::Fatal,
            (_, Some(database)) => db::DbError::is_temporary(database),
            _ => false,
        };
        if !passes {
            return Err(error.context("the chain cannot be followed"));
        }
        tracing::warn!(error = format!("{error:#}"), "following the chain is interrupted");
        self.publish(|now| now.node = NodeNow::Failing(format!("{error:#}")));
        Ok(())
    }

    pub(super) fn publish(&self, change: impl FnOnce(&mut Readiness)) {
        self.readiness.send_if_modified(|now| {
            let before = now.clone();
            change(now);
            *now != before
        });
    }

    /// To the node's tip, then the mempool, then whatever is due.
    ///
    /// # Errors
    /// Those of the node and the database.
    pub async fn round(&mut self) -> anyhow::Result<()> {
        let state = self.source.node_state().await?;
        state.check_network(self.settings.network)?;
        let mut trusted = self.judge(&state).await?;
        loop {
            match self.catch_up().await? {
                End::AtTip => {}
                End::Behind if trusted => {
                    trusted = false;
                    self.publish(|now| now.node = NodeNow::Doubted(Doubt::OtherBranch.to_string()));
                }
                End::Behind => {}
            }
            if !trusted || self.look().await? {
                break;
            }
        }
        self.following = trusted;
        if trusted {
            self.recover().await?;
            let now = self.clock.now();
            self.publish(|at| {
                at.node = NodeNow::Trusted;
                at.followed_at = Some(now);
                at.lag = 0;
            });
            self.settle().await?;
        }
        Ok(())
    }

    /// Whether the node can be relied on, published with the reason if not.
    async fn judge(&mut self, state: &NodeState) -> anyhow::Result<bool> {
        let stored = self.tip().await?.map(|tip| tip.height);
        let age = self.settings.max_tip_age_s.unwrap_or(u64::MAX);
        let doubt = state.doubt(stored, self.clock.now(), age);
        let lag = state.tip.height.saturating_sub(stored.unwrap_or(state.tip.height));
        self.publish(|now| {
            now.node_version = Some(state.subversion.clone());
            now.lag = lag;
            match &doubt {
                Some(doubt) => now.node = NodeNow::Doubted(doubt.to_string()),
                None if lag > 0 && now.node != NodeNow::Trusted => now.node = NodeNow::CatchingUp,
                None => {}
            }
        });
        if doubt.is_some() {
            self.following = false;
        }
        Ok(doubt.is_none())
    }

    pub(super) async fn tip(&self) -> anyhow::Result<Option<Tip>> {
        let mut conn = self.db.read().await?;
        Ok(db::chain::tip(&mut conn).await?)
    }

    /// Block by block until there is nothing above the tip.
    async fn catch_up(&mut self) -> anyhow::Result<End> {
        let mut tip = match self.tip().await? {
            Some(tip) => BlockId { height: tip.height, hash: tip.hash },
            None => self.start().await?,
        };
        let mut batch: Vec<ScannedBlock> = Vec::new();
        loop {
            let from =
                batch.last().map_or(tip, |last| BlockId { height: last.height, hash: last.hash });
            let step = self.follower.next(Some(from)).await?;
            if let Move::Connect(block) = step {
                batch.push(self.scan(&block).await?);
                // At the tip each block is told at once; behind it they are taken together.
                if self.following || batch.len() >= BATCH {
                    tip = self.connect(tip, std::mem::take(&mut batch)).await?;
                }
                continue;
            }
            if !batch.is_empty() {
                tip = self.connect(tip, std::mem::take(&mut batch)).await?;
                continue;
            }
            self.publish(|now| now.tip = Some(TipNow { height: tip.height, hash: tip.hash }));
            match step {
                Move::Rewind => tip = self.rewind(tip).await?,
                Move::Behind => return Ok(End::Behind),
                Move::AtTip | Move::Connect(_) => return Ok(End::AtTip),
            }
        }
    }

    async fn scan(&mut self, block: &FetchedBlock) -> anyhow::Result<ScannedBlock> {
        let depth = self.settings.policy.final_confirmations;
        self.watch.refresh(block.id.height.saturating_sub(depth)).await?;
        let hits = self
            .watch
            .scan_block(&block.bytes)
            .with_context(|| format!("block {} cannot be read", block.id))?;
        metrics::counter!("leasehold_blocks_scanned_total").increment(1);
        Ok(ScannedBlock {
            height: block.id.height,
            hash: block.id.hash,
            header_at: block.time_at,
            mtp_at: block.mtp_at,
            hits,
        })
    }

    /// Connects blocks on `tip`; returns the tip from which to go on.
    async fn connect(
        &mut self,
        tip: BlockId,
        blocks: Vec<ScannedBlock>,
    ) -> anyhow::Result<BlockId> {
        let Some(last) = blocks.last() else { return Ok(tip) };
        let next = BlockId { height: last.height, hash: last.hash };
        let item = ApplyBlocks {
            from: tip.hash,
            blocks,
            following: self.following,
            now: self.clock.now(),
        };
        match self.db.write(item).await? {
            Applied::Done => {
                tracing::info!(height = next.height, hash = %next.hash, "block applied");
                metrics::gauge!("leasehold_tip_height").set(f64::from(next.height));
                self.publish(|now| {
                    now.tip = Some(TipNow { height: next.height, hash: next.hash });
                    now.lag = now.lag.saturating_sub(1);
                });
                Ok(next)
            }
            Applied::Stale => self.reload().await,
        }
    }

    async fn rewind(&mut self, tip: BlockId) -> anyhow::Result<BlockId> {
        tracing::warn!(height = tip.height, hash = %tip.hash, "block disconnected");
        match self.db.write(Rewind { hash: tip.hash }).await? {
            Rewound::Done | Rewound::Stale => self.reload().await,
            Rewound::Bottom => Err(ChainError::ForeignChain { bottom: tip }.into()),
        }
    }

    async fn reload(&self) -> anyhow::Result<BlockId> {
        let tip = self.tip().await?.context("the stored tip is gone")?;
        Ok(BlockId { height: tip.height, hash: tip.hash })
    }

    /// The first block: just below `birthday_height`, or the node's tip.
    async fn start(&mut self) -> anyhow::Result<BlockId> {
        let state = self.source.node_state().await?;
        let height = match self.settings.birthday_height {
            Some(birthday) => birthday.saturating_sub(1).min(state.tip.height),
            None => state.tip.height,
        };
        let below = self.settings.policy.final_confirmations;
        let mut blocks = Vec::new();
        for height in height.saturating_sub(below)..=height {
            blocks.push(self.known_block(height).await?);
        }
        self.db.write(StartAt { blocks }).await?;
        let tip = self.reload().await?;
        tracing::info!(height = tip.height, hash = %tip.hash, "following the chain from here");
        Ok(tip)
    }

    /// A block that is taken as it is, without reading it.
    async fn known_block(&self, height: u32) -> anyhow::Result<Block> {
        let again = || ChainError::Unusable {
            method: "getblockhash".into(),
            detail: "the chain changed while it was read".into(),
        };
        let hash = self.source.hash_at(height).await?.ok_or_else(again)?;
        let header = self.source.header(&hash).await?.ok_or_else(again)?;
        Ok(Block {
            height,
            hash,
            header_at: header.time_at,
            mtp_at: header.mtp_at,
            moment_at: header.time_at.min(self.clock.now()),
        })
    }

    /// Settles what the chain and the clock concern, chunk by chunk.
    async fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            let ground = self.ground();
            let done = self.db.write(SettleByChain { ground: ground.clone() }).await?
                + self.db.write(SettleByClock { ground }).await?;
            if done == 0 {
                return Ok(());
            }
        }
    }

    fn ground(&self) -> Ground {
        Ground { policy: self.settings.policy.clone(), now: self.clock.now(), trusted: true }
    }
}

/// How catching up ended.
enum End {
    /// Nothing is above the tip.
    AtTip,
    /// The node's chain lacks it and has no more work.
    Behind,
}
