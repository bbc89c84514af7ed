//! Settles what a changed fact, a new height or the clock concerns, in chunks, so that a
//! request waits for a chunk and never for a block. A crash in between repeats the question.

use crate::db::payment::{Loose, PaymentRow};
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::lease::books::Books;
use crate::domain::ledger;
use crate::domain::payment::Counted;
use crate::domain::payout::{Account, Owed};
use crate::domain::policy::COINBASE_MATURITY;

use super::event;
use super::owe::{Subject, owe};
use super::settle::{Ground, settle};
use super::settle_batch::settle_batch;

/// How many subjects one transaction settles.
pub const CHUNK: u32 = 100;

/// Settles batches, leases and payments that the chain concerns.
pub struct SettleByChain {
    /// Rules and clock.
    pub ground: Ground,
}

impl WriteItem for SettleByChain {
    /// How many were settled; 0 when none is due.
    type Out = usize;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<usize, DbError> {
        let Some(tip) = db::chain::tip(tx.conn()).await? else { return Ok(0) };
        let batches = db::batch::due(tx.conn(), tip.height, CHUNK).await?;
        for batch in &batches {
            settle_batch(tx, &self.ground, batch, tip.height).await?;
        }
        let leases = db::lease::due_by_height(tx.conn(), tip.height, CHUNK).await?;
        for lease in &leases {
            settle(tx, &self.ground, lease, None).await?;
        }
        let loose = db::payment::due_without_lease(tx.conn(), tip.height, CHUNK).await?;
        for row in &loose {
            settle_loose(tx, &self.ground, row, tip.height).await?;
        }
        Ok(batches.len() + leases.len() + loose.len())
    }
}

/// Settles leases that the clock concerns.
pub struct SettleByClock {
    /// Rules and clock.
    pub ground: Ground,
}

impl WriteItem for SettleByClock {
    /// How many were settled; 0 when none is due.
    type Out = usize;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<usize, DbError> {
        let leases = db::lease::due_by_clock(tx.conn(), self.ground.now, CHUNK).await?;
        for lease in &leases {
            settle(tx, &self.ground, lease, None).await?;
        }
        Ok(leases.len())
    }
}

/// A payment that belongs to no lease is booked while it is in the chain: as unallocated, or as
/// refundable once the operator said where it goes. Our own change is in no account.
pub(super) async fn settle_loose(
    tx: &mut Tx,
    ground: &Ground,
    row: &PaymentRow,
    tip: u32,
) -> Result<Vec<Account>, DbError> {
    let mined = row.facts.mined.as_ref();
    let own = row.branch != 0;
    let sat = mined.filter(|_| !own).map_or(0, |_| row.facts.amount_sat);
    let loose = loose(tx, ground, row, tip, sat).await?;
    book_loose(tx, ground, row, &loose).await?;
    let mut announced = row.announced.clone();
    if let Some(mined) = mined
        && !own
        && announced.confirmed_block.is_none()
    {
        let block = db::chain::find(tx.conn(), mined.height).await?;
        announced.confirmed_block = Some(block.map_or(String::new(), |it| it.hash.to_string()));
        let data = serde_json::json!({
            "payment": row.facts.id,
            "txid": row.facts.outpoint.txid,
            "vout": row.facts.outpoint.vout,
            "amount_sat": row.facts.amount_sat,
            "derivation_index": row.index,
        });
        let id = row.facts.id.as_str();
        tx.event(event(EventKind::PaymentUnallocated, ground.now, id, None, data));
    }
    let counted = if mined.is_some() { Counted::Standing } else { Counted::Never };
    let state = row.facts.state(counted, tip, &ground.policy);
    db::payment::record_state(tx.conn(), &row.facts.id, state, &announced).await?;
    let last = |confirmations| mined.map(|mined| mined.height + confirmations - 1);
    let policy = &ground.policy;
    let maturity = last(COINBASE_MATURITY).filter(|_| row.facts.coinbase);
    let heights = [last(policy.payout_confirmations), last(policy.final_confirmations), maturity];
    let next = heights.into_iter().flatten().filter(|height| *height > tip).min();
    db::payment::record_loose(tx.conn(), &row.facts.id, &loose, next).await?;
    Ok(loose.accounts)
}

/// Where the money of a payment without a lease is when `sat` of it are in the chain.
async fn loose(
    tx: &mut Tx,
    ground: &Ground,
    row: &PaymentRow,
    tip: u32,
    sat: u64,
) -> Result<Loose, DbError> {
    let books = Books { received_sat: sat, ..Books::default() };
    let Some(address) = &row.refund_address else {
        let books = Books { unallocated_sat: sat, ..books };
        return Ok(Loose { books, accounts: Vec::new() });
    };
    let maturity = if row.facts.coinbase { COINBASE_MATURITY } else { 0 };
    let least = ground.policy.payout_confirmations.max(maturity);
    let deep = row.facts.confirmations(tip) >= least;
    let owed = Owed { recipient: None, sat, settled_sat: if deep { sat } else { 0 } };
    let subject = Subject {
        kind: "refund",
        id: row.facts.id.as_str(),
        resource: None,
        claim: None,
        address: &|_| Some(address.clone()),
    };
    let owed = if sat > 0 { vec![owed] } else { Vec::new() };
    let accounts = owe(tx, ground, &subject, &owed, &row.loose.accounts).await?;
    let books = Books { refundable_sat: sat, ..books }.with_accounts(&accounts);
    Ok(Loose { books, accounts })
}

/// Books the difference of where a payment without a lease was and is.
pub(super) async fn book_loose(
    tx: &mut Tx,
    ground: &Ground,
    row: &PaymentRow,
    loose: &Loose,
) -> Result<(), DbError> {
    let lines = ledger::lines(&row.loose.books, &loose.books);
    db::ledger::insert(tx.conn(), ground.now, None, row.facts.id.as_str(), &lines).await
}
