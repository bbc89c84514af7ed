//! Writes what is owed to whom: the payouts of a lease or of a payment without one, as far as they
//! follow from the facts. Part of settling; whatever changes a payout ends here.
//! Never pays: that is a batch and the operator's signature.

use crate::db::payout::PayoutRow;
use crate::db::{self, DbError, Tx, WriteItem};
use crate::domain::event::EventKind;
use crate::domain::ids::{InvoiceId, PayoutId};
use crate::domain::payout::{Account, Open, Owed, Paying, Payout, PayoutState, plan};

use super::settle::Ground;
use super::{event, random_128};

/// Whose money it is.
pub(super) struct Subject<'a> {
    /// `refund`.
    pub kind: &'static str,
    /// The lease's or the payment's id.
    pub id: &'a str,
    /// Its resource.
    pub resource: Option<&'a str>,
    /// The claim that it belongs to.
    pub claim: Option<&'a str>,
    /// Where a recipient's money goes, if that was said.
    pub address: &'a (dyn Fn(Option<&InvoiceId>) -> Option<String> + Sync),
}

/// Writes the payouts of a subject. `before` are its accounts as they were written last.
pub(super) async fn owe(
    tx: &mut Tx,
    ground: &Ground,
    subject: &Subject<'_>,
    owed: &[Owed],
    before: &[Account],
) -> Result<Vec<Account>, DbError> {
    if owed.is_empty() && before.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = db::payout::list_of_subject(tx.conn(), subject.id).await?;
    let facts = |row: &PayoutRow| {
        let same = row.address == (subject.address)(row.facts.recipient.as_ref());
        // What is too small depends on the address.
        Payout { dust: row.facts.dust && same, ..row.facts.clone() }
    };
    let facts: Vec<_> = rows.iter().map(facts).collect();
    let plan = plan(owed, &facts);
    let mut books = Payouts { tx, ground, subject };
    let mut addresses = Vec::new();
    for row in &mut rows {
        if let Some((state, paying)) = row.facts.clone().fixed() {
            addresses.extend(books.fix(row, state, paying).await?);
        }
    }
    for open in &plan.open {
        let row = rows.iter_mut().find(|row| open.id.as_ref() == Some(&row.facts.id));
        addresses.extend(books.open(open, row).await?);
    }
    for address in addresses {
        judge(books.tx, ground, &address).await?;
    }
    books.alarm(before, &plan.accounts);
    Ok(plan.accounts)
}

struct Payouts<'a> {
    tx: &'a mut Tx,
    ground: &'a Ground,
    subject: &'a Subject<'a>,
}

impl Payouts<'_> {
    /// A transaction pays it: it is worth what that pays. Returns the address whose sum has changed.
    async fn fix(
        &mut self,
        row: &mut PayoutRow,
        state: PayoutState,
        paying: &Paying,
    ) -> Result<Option<String>, DbError> {
        let before = row.clone();
        row.state = state;
        row.facts.amount_sat = paying.amount_sat;
        row.facts.dust = false;
        row.ready_sat = 0;
        row.txid = Some(paying.txid.to_string());
        let (batch, txid, height) = (&paying.batch, paying.txid, paying.height.unwrap_or(0));
        let (kind, announced) = match state {
            PayoutState::Confirmed => {
                (EventKind::PayoutConfirmed, format!("confirmed {txid} {height}"))
            }
            PayoutState::Broadcast => (EventKind::PayoutBroadcast, format!("broadcast {txid}")),
            _ => (EventKind::PayoutPrepared, format!("prepared {batch}")),
        };
        tell(self.tx, self.ground, row, (kind, announced, Some(paying)));
        if *row != before {
            db::payout::record(self.tx.conn(), row).await?;
        }
        Ok(row.address.clone().filter(|_| before.state.is_open()))
    }

    /// No transaction pays it. Returns the addresses whose sums may have changed.
    async fn open(
        &mut self,
        open: &Open,
        row: Option<&mut PayoutRow>,
    ) -> Result<Vec<String>, DbError> {
        let address = (self.subject.address)(open.recipient.as_ref());
        let Some(row) = row else {
            let row = self.new_row(open, address.clone());
            db::payout::insert(self.tx.conn(), &row).await?;
            return Ok(address.into_iter().collect());
        };
        if open.amount_sat == 0 && row.facts.payings.is_empty() {
            db::payout::remove(self.tx.conn(), &row.facts.id).await?;
            return Ok(row.address.take().into_iter().collect());
        }
        let before = row.clone();
        row.facts.amount_sat = open.amount_sat;
        row.facts.dust = open.dust;
        row.ready_sat = open.ready_sat;
        row.txid = None;
        row.address.clone_from(&address);
        if row.state != PayoutState::Due {
            row.state = PayoutState::Waiting;
            row.announced = "waiting".into();
        }
        if *row == before {
            return Ok(Vec::new());
        }
        if row.address.is_none() || row.ready_sat == 0 {
            row.state = PayoutState::Waiting;
            row.announced = "waiting".into();
        }
        db::payout::record(self.tx.conn(), row).await?;
        let old = before.address.filter(|old| Some(old) != address.as_ref());
        Ok(old.into_iter().chain(address).collect())
    }

    fn new_row(&self, open: &Open, address: Option<String>) -> PayoutRow {
        PayoutRow {
            facts: Payout {
                id: PayoutId::new(random_128()),
                recipient: open.recipient.clone(),
                batch: None,
                dust: false,
                amount_sat: open.amount_sat,
                payings: Vec::new(),
            },
            kind: self.subject.kind.into(),
            subject: self.subject.id.into(),
            resource: self.subject.resource.map(Into::into),
            // A recipient with an address of their own is somebody else.
            claim: self.subject.claim.filter(|_| open.recipient.is_none()).map(Into::into),
            address,
            ready_sat: open.ready_sat,
            state: PayoutState::Waiting,
            txid: None,
            announced: "waiting".into(),
            created_at: self.ground.now,
        }
    }

    /// More has left than came: somebody has to know.
    fn alarm(&mut self, before: &[Account], after: &[Account]) {
        let lost = |accounts: &[Account]| accounts.iter().map(Account::lost_sat).sum::<u64>();
        let (old, new) = (lost(before), lost(after));
        if new <= old {
            return;
        }
        let Subject { id, resource, .. } = *self.subject;
        tracing::error!(subject = id, lost_sat = new, "paid back, and reversed afterwards");
        metrics::counter!("leasehold_lost_sat_total").increment(new - old);
        let data = serde_json::json!({
            "lease": id.starts_with("lse_").then_some(id),
            "payment": id.starts_with("pay_").then_some(id),
            "resource": resource,
            "lost_sat": new,
        });
        self.tx.event(event(EventKind::PayoutLost, self.ground.now, id, resource, data));
    }
}

/// Whether what can leave to an address is enough together: then all of it is due.
async fn judge(tx: &mut Tx, ground: &Ground, address: &str) -> Result<(), DbError> {
    let sum = db::payout::ready_sat(tx.conn(), address).await?;
    let enough = sum >= ground.policy.min_payout_sat;
    let (from, to) = match enough {
        true => (PayoutState::Waiting, PayoutState::Due),
        false => (PayoutState::Due, PayoutState::Waiting),
    };
    for mut row in db::payout::list_open_to(tx.conn(), address, from).await? {
        if row.ready_sat == 0 {
            continue;
        }
        row.state = to;
        match enough {
            true => tell(tx, ground, &mut row, (EventKind::PayoutDue, "due".into(), None)),
            false => row.announced = "waiting".into(),
        }
        db::payout::record(tx.conn(), &row).await?;
    }
    Ok(())
}

/// Tells where a payout stands, once.
fn tell(
    tx: &mut Tx,
    ground: &Ground,
    row: &mut PayoutRow,
    (kind, announced, paying): (EventKind, String, Option<&Paying>),
) {
    if row.announced == announced {
        return;
    }
    row.announced = announced;
    let data = serde_json::json!({
        "payout": row.facts.id,
        "kind": row.kind,
        "lease": row.subject.starts_with("lse_").then_some(&row.subject),
        "payment": row.subject.starts_with("pay_").then_some(&row.subject),
        "resource": row.resource,
        "amount_sat": row.facts.amount_sat,
        "batch": paying.map(|paying| &paying.batch),
        "txid": paying.map(|paying| paying.txid),
    });
    let (id, resource) = (row.facts.id.as_str(), row.resource.as_deref());
    tx.event(event(kind, ground.now, id, resource, data));
}

/// How many addresses are judged in one transaction.
const CHUNK: u32 = 100;

/// Judges what is open once more, a chunk of addresses at a time: at a start the minimum may be
/// another.
pub struct JudgeNext {
    /// Rules and clock.
    pub ground: Ground,
    /// The last address of the chunk before.
    pub after: String,
}

impl WriteItem for JudgeNext {
    /// The last address of this chunk; `None` at the end.
    type Out = Option<String>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Option<String>, DbError> {
        let addresses = db::payout::open_addresses(tx.conn(), &self.after, CHUNK).await?;
        for address in &addresses {
            judge(tx, &self.ground, address).await?;
        }
        Ok(addresses.into_iter().next_back())
    }
}

/// The height at which the first of these payments has the confirmations to leave again.
pub(super) fn next_settled_height(
    heights: impl Iterator<Item = u32>,
    confirmations: u32,
    tip: u32,
) -> Option<u32> {
    heights.map(|height| height + confirmations - 1).filter(|height| *height > tip).min()
}
