//! The scripts and outpoints to look for, kept in step with the database. Refreshed after a
//! block or a mempool snapshot was fetched and before it is scanned: an address is shown only
//! after its commit, so nothing that was paid can be missed.

use std::collections::HashSet;
use std::sync::Arc;

use bitcoin::{Network, OutPoint};

use crate::db::{self, Conn, Db, DbError};
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::scan::{Place, WatchSet};

/// Indexes beyond the last issued one that are watched too: money on them is unallocated.
pub const LOOKAHEAD: u32 = 1000;

/// How many issued scripts are loaded at a time.
const PAGE: u32 = 10_000;

struct Loaded {
    id: u32,
    keychain: Arc<Keychain>,
    external: u32,
    internal: u32,
}

/// What to look for.
pub struct Watch {
    db: Db,
    network: Network,
    set: WatchSet,
    keychains: Vec<Loaded>,
    outpoints: HashSet<OutPoint>,
    seq: Option<i64>,
    lookahead: u32,
}

impl Watch {
    /// An empty watch; the first refresh loads everything. `lookahead` is how many unused
    /// indexes are watched beyond the last issued one, normally [`LOOKAHEAD`].
    pub fn new(db: Db, network: Network, lookahead: u32) -> Self {
        Self {
            db,
            network,
            set: WatchSet::new(),
            keychains: Vec::new(),
            outpoints: HashSet::new(),
            seq: None,
            lookahead,
        }
    }

    /// What to scan with.
    pub fn set(&self) -> &WatchSet {
        &self.set
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
        if self.seq != Some(seq) {
            self.load_outpoints(&mut conn, final_height).await?;
            self.seq = Some(seq);
        }
        Ok(())
    }

    async fn load_keychain(
        &mut self,
        conn: &mut Conn,
        row: &db::keychain::KeychainRow,
    ) -> Result<(), DbError> {
        if !self.keychains.iter().any(|loaded| loaded.id == row.id) {
            let keychain = Keychain::parse(&row.descriptor, self.network)
                .map_err(|_| DbError::corrupt("keychain", "descriptor", row.id))?;
            let mut loaded =
                Loaded { id: row.id, keychain: Arc::new(keychain), external: 0, internal: 0 };
            loaded.external = self.load_issued(conn, &loaded).await?;
            self.keychains.push(loaded);
        }
        let Some(loaded) = self.keychains.iter_mut().find(|loaded| loaded.id == row.id) else {
            return Ok(());
        };
        let highest = db::keychain::highest_seen(conn, row.id).await?.map_or(0, |seen| seen + 1);
        let end = row.next_index.max(highest).saturating_add(self.lookahead);
        // Change is only ever sent to the first internal indexes.
        let branches = [
            (Branch::External, &mut loaded.external, end),
            (Branch::Internal, &mut loaded.internal, self.lookahead),
        ];
        for (branch, from, end) in branches {
            for index in *from..end {
                let place = Place { keychain: row.id, branch, index };
                self.set.insert(&loaded.keychain.script(branch, index), place);
            }
            *from = end.max(*from);
        }
        Ok(())
    }

    /// Loads what was issued: reading a script is ten times faster than deriving it. Returns the
    /// index up to which there was no gap.
    async fn load_issued(&mut self, conn: &mut Conn, loaded: &Loaded) -> Result<u32, DbError> {
        let (mut from, mut unbroken) = (0, 0);
        loop {
            let page = db::invoice::issued(conn, loaded.id, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(unbroken) };
            from = last.index + 1;
            for issued in &page {
                let place =
                    Place { keychain: loaded.id, branch: Branch::External, index: issued.index };
                self.set.insert(&issued.script_pubkey, place);
                if issued.index == unbroken {
                    unbroken += 1;
                }
            }
        }
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
