//! Settles what a changed fact, a new height or the clock concerns, in chunks, so that a
//! request waits for a chunk and never for a block. A crash in between repeats the question.

use crate::db::payment::PaymentRow;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::ledger::{Account, Line};
use crate::domain::payment::Counted;

use super::event;
use super::settle::{Ground, settle};

/// How many subjects one transaction settles.
pub const CHUNK: u32 = 100;

/// Settles leases and payments that the chain concerns.
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
        let leases = db::lease::due_by_height(tx.conn(), tip.height, CHUNK).await?;
        for lease in &leases {
            settle(tx, &self.ground, lease, None).await?;
        }
        let loose = db::payment::due_without_lease(tx.conn(), tip.height, CHUNK).await?;
        for row in &loose {
            settle_loose(tx, &self.ground, row, tip.height).await?;
        }
        Ok(leases.len() + loose.len())
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
/// refundable once the operator said where it goes.
async fn settle_loose(
    tx: &mut Tx,
    ground: &Ground,
    row: &PaymentRow,
    tip: u32,
) -> Result<(), DbError> {
    let mined = row.facts.mined.as_ref();
    let booked_sat = mined.map_or(0, |_| row.facts.amount_sat);
    book_loose(tx, ground, row, booked_sat, Account::Unallocated).await?;
    let mut announced = row.announced.clone();
    if let Some(mined) = mined
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
    let counted = if booked_sat > 0 { Counted::Standing } else { Counted::Never };
    let state = row.facts.state(counted, tip, &ground.policy);
    db::payment::record_state(tx.conn(), &row.facts.id, state, &announced).await?;
    let last = mined.map(|mined| mined.height + ground.policy.final_confirmations - 1);
    let next = last.filter(|last| *last > tip);
    db::payment::record_booked(tx.conn(), &row.facts.id, booked_sat, next).await
}

/// Moves what is booked of a payment without a lease to `booked_sat`.
pub(super) async fn book_loose(
    tx: &mut Tx,
    ground: &Ground,
    row: &PaymentRow,
    booked_sat: u64,
    account: Account,
) -> Result<(), DbError> {
    let signed = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
    let moved = signed(booked_sat) - signed(row.booked_sat);
    if moved == 0 {
        return Ok(());
    }
    let account = if row.refund_address.is_some() { Account::Refundable } else { account };
    let lines = [
        Line { account: Account::Received, amount_sat: moved },
        Line { account, amount_sat: -moved },
    ];
    db::ledger::insert(tx.conn(), ground.now, None, row.facts.id.as_str(), &lines).await
}
