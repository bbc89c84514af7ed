//! Records a transaction that pays us and the payments it makes, once, whether it is seen in
//! the mempool or in a block first.

use std::collections::BTreeMap;

use crate::db::payment::NewPayment;
use crate::db::tx::NewTx;
use crate::db::{self, DbError, Tx};
use crate::domain::event::EventKind;
use crate::domain::ids::PaymentId;
use crate::domain::keychain::Branch;
use crate::domain::scan::{OutputHit, TxHit};
use crate::domain::time::Timestamp;

use super::{event, random_128};

/// When a transaction is seen.
#[derive(Clone, Copy, Debug)]
pub struct Sight {
    /// The moment.
    pub at: Timestamp,
    /// The last complete look at the mempool before.
    pub prior_look_at: Option<Timestamp>,
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
    for output in &hit.outputs {
        found += u64::from(record_payment(tx, hit, output, sight).await?);
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

/// True when it was new.
async fn record_payment(
    tx: &mut Tx,
    hit: &TxHit,
    output: &OutputHit,
    sight: Sight,
) -> Result<bool, DbError> {
    let invoice = match output.place.branch {
        Branch::External => db::invoice::find_by_script(tx.conn(), &output.script_pubkey).await?,
        Branch::Internal => None,
    };
    let mut lineage_seen_at = sight.at;
    if let Some(invoice) = &invoice {
        let earlier =
            db::payment::lineage_seen_at(tx.conn(), &invoice.facts.id, &hit.inputs).await?;
        lineage_seen_at = earlier.map_or(lineage_seen_at, |at| at.min(lineage_seen_at));
    }
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
        invoice: invoice.as_ref().map(|row| row.facts.id.clone()),
        lease: invoice.as_ref().map(|row| row.facts.lease.clone()),
        lineage_seen_at,
        first_seen_at: sight.at,
    };
    if !db::payment::insert(tx.conn(), &new).await? {
        return Ok(false);
    }
    if output.place.branch == Branch::External {
        tell(tx, &new, invoice.as_ref().map(|row| row.resource.as_str()), sight.at);
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

/// Notes that `hit` conflicts with transactions of ours that spend the same outputs.
pub async fn conflicts(tx: &mut Tx, hit: &TxHit, height: Option<u32>) -> Result<(), DbError> {
    for outpoint in &hit.spends {
        for ours in db::tx::spenders(tx.conn(), outpoint).await? {
            if ours == hit.txid {
                continue;
            }
            db::tx::conflict(tx.conn(), &ours, &hit.txid, height).await?;
            db::payment::mark_changed(tx.conn(), &ours).await?;
        }
    }
    Ok(())
}
