//! The scripts and outpoints to look for, kept in step with the database. Refreshed after a
//! block or a mempool snapshot was fetched and before it is scanned: an address is shown only
//! after its commit, so nothing that was paid can be missed.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::{Network, OutPoint};

use crate::db::keychain::KeychainRow;
use crate::db::{self, Conn, Db, DbError};
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::scan::{self, Place, ScanError, TxHit, WatchSet};

/// Indexes beyond the last known one that are watched too: money on them is unallocated.
pub const LOOKAHEAD: u32 = 1000;

/// How many stored scripts are loaded at a time.
const PAGE: u32 = 10_000;

struct Loaded {
    id: u32,
    keychain: Arc<Keychain>,
    /// External indexes below it are watched.
    external: u32,
    /// Internal indexes below it are watched.
    internal: u32,
    /// How many unused indexes are watched.
    ahead: u32,
}

/// What to look for.
pub struct Watch {
    db: Db,
    network: Network,
    set: WatchSet,
    keychains: Vec<Loaded>,
    outpoints: HashSet<OutPoint>,
    loaded_at: Option<(i64, u32)>,
    recover_lookahead: u32,
}

impl Watch {
    /// An empty watch; the first refresh loads everything. Beyond the last known index of a
    /// keychain [`LOOKAHEAD`] unused ones are watched, `recover_lookahead` while it is recovered.
    pub fn new(db: Db, network: Network, recover_lookahead: u32) -> Self {
        Self {
            db,
            network,
            set: WatchSet::new(),
            keychains: Vec::new(),
            outpoints: HashSet::new(),
            loaded_at: None,
            recover_lookahead,
        }
    }

    /// What to scan with.
    pub fn set(&self) -> &WatchSet {
        &self.set
    }

    /// The hits of a block. One that lies beyond what is known moves the end of what is watched,
    /// and the block is scanned again: it may pay further indexes.
    ///
    /// # Errors
    /// When the bytes are not exactly one block.
    pub fn scan_block(&mut self, block: &[u8]) -> Result<Vec<TxHit>, ScanError> {
        loop {
            let hits = scan::scan_block(block, &self.set)?;
            let places = hits.iter().flat_map(|hit| &hit.outputs).map(|output| output.place);
            let mut further = false;
            for place in places.filter(|place| place.branch == Branch::External) {
                further |= self.reach_beyond(place);
            }
            if !further {
                return Ok(hits);
            }
        }
    }

    /// Watches as far beyond `place` as beyond any used index. True when that was not so already.
    fn reach_beyond(&mut self, place: Place) -> bool {
        let known = self.keychains.iter_mut().find(|loaded| loaded.id == place.keychain);
        known.is_some_and(|loaded| {
            let end = place.index.saturating_add(1).saturating_add(loaded.ahead);
            loaded.extend(&mut self.set, Branch::External, end)
        })
    }

    /// Brings it up to what is committed now. `final_height` is the height below which nothing
    /// can conflict any more.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn refresh(&mut self, final_height: u32) -> Result<(), DbError> {
        let mut conn = self.db.read().await?;
        for row in db::keychain::list(&mut conn).await? {
            self.load_keychain(&mut conn, &row).await?;
        }
        let seq = db::event::last_seq(&mut conn).await?;
        // A reorg may go deeper than what was final, and makes no event.
        let fresh = |(at, height): (i64, u32)| at == seq && height <= final_height;
        if !self.loaded_at.is_some_and(fresh) {
            self.load_outpoints(&mut conn, final_height).await?;
            self.loaded_at = Some((seq, final_height));
        }
        Ok(())
    }

    async fn load_keychain(&mut self, conn: &mut Conn, row: &KeychainRow) -> Result<(), DbError> {
        let known = self.keychains.iter().position(|loaded| loaded.id == row.id);
        let at = match known {
            Some(at) => at,
            None => {
                let keychain = Keychain::parse(&row.descriptor, self.network)
                    .map_err(|_| DbError::corrupt("keychain", "descriptor", row.id))?;
                let keychain = Arc::new(keychain);
                self.keychains.push(Loaded {
                    id: row.id,
                    keychain,
                    external: 0,
                    internal: 0,
                    ahead: 0,
                });
                self.keychains.len() - 1
            }
        };
        let loaded = &mut self.keychains[at];
        loaded.ahead = if row.recovery.is_some() { self.recover_lookahead } else { LOOKAHEAD };
        // Many at once are read: that is ten times faster than deriving them.
        if row.next_index > loaded.external.saturating_add(LOOKAHEAD) || loaded.external == 0 {
            loaded.load(conn, &mut self.set).await?;
        }
        let end = row.first_unused().saturating_add(loaded.ahead);
        loaded.extend(&mut self.set, Branch::External, end);
        let change = row.next_internal.saturating_add(LOOKAHEAD);
        loaded.extend(&mut self.set, Branch::Internal, change);
        Ok(())
    }

    async fn load_outpoints(&mut self, conn: &mut Conn, final_height: u32) -> Result<(), DbError> {
        let open: HashSet<OutPoint> =
            db::tx::open_inputs(conn, final_height).await?.into_iter().collect();
        for gone in self.outpoints.difference(&open) {
            self.set.unwatch_outpoint(gone);
        }
        for new in open.difference(&self.outpoints) {
            self.set.watch_outpoint(*new);
        }
        self.outpoints = open;
        Ok(())
    }
}

impl Loaded {
    fn place(&self, branch: Branch, index: u32) -> Place {
        Place { keychain: self.id, branch, index }
    }

    /// Derives and watches up to `end`. True when that was not so already.
    fn extend(&mut self, set: &mut WatchSet, branch: Branch, end: u32) -> bool {
        let from = match branch {
            Branch::External => self.external,
            Branch::Internal => self.internal,
        };
        for index in from..end {
            set.insert(&self.keychain.script(branch, index), self.place(branch, index));
        }
        match branch {
            Branch::External => self.external = end.max(from),
            Branch::Internal => self.internal = end.max(from),
        }
        end > from
    }

    /// Reads and watches what is stored of the external branch, as far as it has no gap.
    async fn load(&mut self, conn: &mut Conn, set: &mut WatchSet) -> Result<(), DbError> {
        let mut from = self.external;
        loop {
            let page = db::keychain::scripts(conn, self.id, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.index + 1;
            for known in &page {
                set.insert(&known.script_pubkey, self.place(Branch::External, known.index));
                if known.index == self.external {
                    self.external += 1;
                }
            }
        }
    }
}
