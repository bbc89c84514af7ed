//! Records a transaction that pays us and the payments it makes, once, whether it is seen in
//! the mempool or in a block first.

use std::collections::BTreeMap;

use bitcoin::Script;

use crate::db::payment::NewPayment;
use crate::db::tx::NewTx;
use crate::db::{self, DbError, Tx};
use crate::domain::event::EventKind;
use crate::domain::ids::{InvoiceId, LeaseId, PaymentId};
use crate::domain::keychain::Branch;
use crate::domain::scan::{OutputHit, TxHit};
use crate::domain::time::Timestamp;

use super::{adopt, event, random_128};

/// When a transaction is seen.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The moment.
    pub at: Timestamp,
    /// The last complete look at the mempool before.
    pub prior_look_at: Option<Timestamp>,
}

/// Whether a hit is ours to record: it pays us, or is a version of a batch. Others only spend what
/// one of ours spends.
pub async fn concerns(tx: &mut Tx, hit: &TxHit) -> Result<bool, DbError> {
    Ok(!hit.outputs.is_empty() || db::tx::is_known(tx.conn(), &hit.txid).await?)
}

/// Records a transaction and its payments. Returns how many payments were new: one that was
/// known may pay an address, too, that was not watched when it was seen.
pub async fn record(tx: &mut Tx, hit: &TxHit, sight: Sight) -> Result<u64, DbError> {
    let new = NewTx {
        txid: hit.txid,
        raw: hit.raw.clone(),
        coinbase: hit.coinbase,
        inputs: hit.inputs.clone(),
        first_seen_at: sight.at,
        prior_look_at: sight.prior_look_at,
    };
    let known = !db::tx::insert(tx.conn(), &new).await?;
    let all = u64::try_from(hit.outputs.len()).unwrap_or(u64::MAX);
    if known && db::payment::count_of_tx(tx.conn(), &hit.txid).await? >= all {
        return Ok(0);
    }
    let mut found = 0;
    let mut seen: BTreeMap<u32, u32> = BTreeMap::new();
    let mut targets: BTreeMap<&Script, Option<Target>> = BTreeMap::new();
    for output in &hit.outputs {
        // Thousands of outputs may pay one address.
        let script = output.script_pubkey.as_script();
        if !targets.contains_key(script) {
            targets.insert(script, find_target(tx, hit, output).await?);
        }
        let target = targets.get(script).and_then(Option::as_ref);
        found += u64::from(record_payment(tx, hit, output, (target, sight)).await?);
        if output.place.branch == Branch::External {
            let highest = seen.entry(output.place.keychain).or_default();
            *highest = output.place.index.max(*highest);
        }
    }
    for (keychain, index) in seen {
        db::keychain::seen(tx.conn(), keychain, index).await?;
    }
    Ok(found)
}

/// The invoice that is paid, and when what this transaction replaces was seen.
struct Target {
    invoice: InvoiceId,
    lease: LeaseId,
    resource: String,
    replaces_seen_at: Option<Timestamp>,
}

async fn find_target(
    tx: &mut Tx,
    hit: &TxHit,
    output: &OutputHit,
) -> Result<Option<Target>, DbError> {
    if output.place.branch == Branch::Internal {
        return Ok(None);
    }
    let found = db::invoice::find_by_script(tx.conn(), &output.script_pubkey).await?;
    let Some(row) = found else { return Ok(None) };
    let (invoice, lease) = (row.facts.id, row.facts.lease);
    let replaces_seen_at = db::payment::lineage_seen_at(tx.conn(), &invoice, &hit.txid).await?;
    Ok(Some(Target { invoice, lease, resource: row.resource, replaces_seen_at }))
}

/// True when it was new.
async fn record_payment(
    tx: &mut Tx,
    hit: &TxHit,
    output: &OutputHit,
    (target, sight): (Option<&Target>, Sight),
) -> Result<bool, DbError> {
    let earlier = target.and_then(|target| target.replaces_seen_at);
    let new = NewPayment {
        id: PaymentId::new(random_128()),
        outpoint: bitcoin::OutPoint { txid: hit.txid, vout: output.vout },
        script_pubkey: output.script_pubkey.clone(),
        amount_sat: output.amount_sat,
        keychain: output.place.keychain,
        branch: match output.place.branch {
            Branch::External => 0,
            Branch::Internal => 1,
        },
        index: output.place.index,
        invoice: target.map(|target| target.invoice.clone()),
        lease: target.map(|target| target.lease.clone()),
        lineage_seen_at: earlier.map_or(sight.at, |at| at.min(sight.at)),
        first_seen_at: sight.at,
    };
    if !db::payment::insert(tx.conn(), &new).await? {
        return Ok(false);
    }
    if output.place.branch == Branch::External {
        tell(tx, &new, target.map(|target| target.resource.as_str()), sight.at);
    }
    Ok(true)
}

fn tell(tx: &mut Tx, new: &NewPayment, resource: Option<&str>, at: Timestamp) {
    let data = serde_json::json!({
        "payment": new.id,
        "txid": new.outpoint.txid,
        "vout": new.outpoint.vout,
        "amount_sat": new.amount_sat,
        "invoice": new.invoice,
        "lease": new.lease,
    });
    let subject = match &new.lease {
        Some(lease) => lease.as_str(),
        None => new.id.as_str(),
    };
    tx.event(event(EventKind::PaymentSeen, at, subject, resource, data));
}

/// Notes that `hit` conflicts with transactions of ours that spend the same outputs. One in a block
/// that takes the place of a batch's version and pays the same people is a version, too.
pub async fn conflicts(
    tx: &mut Tx,
    hit: &TxHit,
    height: Option<u32>,
    now: Timestamp,
) -> Result<(), DbError> {
    for outpoint in &hit.spends {
        for ours in db::tx::spenders(tx.conn(), outpoint).await? {
            if ours == hit.txid {
                continue;
            }
            if height.is_some()
                && db::batch::find_version(tx.conn(), &ours).await?.is_some()
                && db::batch::find_version(tx.conn(), &hit.txid).await?.is_none()
                && let Ok(transaction) = bitcoin::consensus::deserialize(&hit.raw)
            {
                adopt::as_version(tx, now, &transaction).await?;
            }
            db::tx::conflict(tx.conn(), &ours, &hit.txid, height).await?;
            db::payment::mark_changed(tx.conn(), &ours).await?;
        }
    }
    Ok(())
}
