//! Money on its way out: what is owed to whom, and what of it is fixed in a transaction. An open
//! payout follows what is owed; one that a transaction pays is fixed at what that pays. What a
//! transaction may do to a payout is read off the chain, whoever sent it.
//! Called by `app::owe`; batches are in `batch`, transactions in `draft`.

pub mod batch;
pub mod draft;
pub mod fee;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bitcoin::Txid;
use serde::{Deserialize, Serialize};

use super::ids::{BatchId, InvoiceId, PayoutId};
use batch::BatchState;

/// Where a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PayoutState {
    /// For an address, for confirmations, or for more.
    Waiting,
    /// The next batch takes it.
    Due,
    /// In a batch that waits for signatures.
    Prepared,
    /// A transaction that pays it was sent.
    Broadcast,
    /// That transaction is in the chain.
    Confirmed,
}

impl PayoutState {
    /// Every state.
    pub const ALL: [Self; 5] =
        [Self::Waiting, Self::Due, Self::Prepared, Self::Broadcast, Self::Confirmed];

    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Due => "due",
            Self::Prepared => "prepared",
            Self::Broadcast => "broadcast",
            Self::Confirmed => "confirmed",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True while no transaction fixes it.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Waiting | Self::Due)
    }
}

/// What a subject owes to one recipient, whatever has left already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The invoice that named an address of its own; `None` for the subject's.
    pub recipient: Option<InvoiceId>,
    /// All of it.
    pub sat: u64,
    /// What of it comes from payments deep enough to leave again.
    pub settled_sat: u64,
}

/// A version of a batch that pays a payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paying {
    /// The batch.
    pub batch: BatchId,
    /// Where that batch stands.
    pub batch_state: BatchState,
    /// The version's number.
    pub n: u32,
    /// Its transaction.
    pub txid: Txid,
    /// What it takes from what is owed.
    pub amount_sat: u64,
    /// True once it came back signed.
    pub submitted: bool,
    /// The block it is in.
    pub height: Option<u32>,
    /// True while it is in the mempool.
    pub in_mempool: bool,
}

/// The facts about one payout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payout {
    /// Its id.
    pub id: PayoutId,
    /// To whom.
    pub recipient: Option<InvoiceId>,
    /// The batch it was put into last.
    pub batch: Option<BatchId>,
    /// True when it was found too small to be paid.
    pub dust: bool,
    /// What it is while it is open, as it was planned last.
    pub amount_sat: u64,
    /// Every transaction that pays it, in any batch.
    pub payings: Vec<Paying>,
}

impl Payout {
    /// Transactions that could still pay it though nothing counts on them: versions in no block, of
    /// batches that were given up or that it has left, unless what fixes it takes their place.
    pub fn stale(&self) -> impl Iterator<Item = &Paying> {
        let fixed_sat = self.fixed().map_or(0, |(_, paying)| paying.amount_sat);
        self.payings.iter().filter(move |paying| {
            let counts =
                self.batch.as_ref() == Some(&paying.batch) && paying.batch_state.is_alive();
            paying.height.is_none() && !counts && paying.amount_sat > fixed_sat
        })
    }

    /// The transaction that fixes it, and how far that is: in the chain; else in the batch it was
    /// put into, while that is alive; else one that somebody sent though its batch was given up.
    pub fn fixed(&self) -> Option<(PayoutState, &Paying)> {
        if let Some(mined) = self.payings.iter().find(|paying| paying.height.is_some()) {
            return Some((PayoutState::Confirmed, mined));
        }
        let bound = |paying: &&Paying| self.batch.as_ref() == Some(&paying.batch);
        let alive = self.payings.iter().filter(bound);
        // One that was sent is on its way, whether it was seen or not; one that is not signed is not.
        let newest = alive.max_by_key(|it| (it.in_mempool, it.submitted, it.n));
        match newest.map(|paying| (paying.batch_state, paying)) {
            Some((BatchState::Prepared, paying)) => return Some((PayoutState::Prepared, paying)),
            Some((BatchState::Broadcast, paying)) => return Some((PayoutState::Broadcast, paying)),
            _ => {}
        }
        let sent = self.payings.iter().find(|paying| paying.in_mempool);
        sent.map(|paying| (PayoutState::Broadcast, paying))
    }
}

/// What is owed to one recipient, with what became of it: the recipient's part of the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The invoice that named an address of its own; `None` for the subject's.
    pub recipient: Option<InvoiceId>,
    /// All that is owed.
    pub owed_sat: u64,
    /// What of it comes from payments deep enough to leave again.
    pub settled_sat: u64,
    /// What transactions pay that are prepared, sent or in the chain.
    pub fixed_sat: u64,
    /// What of it is in the chain.
    pub out_sat: u64,
    /// What of the rest was found too small to be paid.
    pub dust_sat: u64,
}

impl Account {
    /// Nothing owed, nothing paid.
    fn new(recipient: Option<InvoiceId>) -> Self {
        Self { recipient, owed_sat: 0, settled_sat: 0, fixed_sat: 0, out_sat: 0, dust_sat: 0 }
    }

    /// Owed and not out.
    pub fn refundable_sat(&self) -> u64 {
        self.owed_sat.saturating_sub(self.out_sat).saturating_sub(self.dust_sat)
    }

    /// Out, and not owed any more.
    pub fn lost_sat(&self) -> u64 {
        self.out_sat.saturating_sub(self.owed_sat)
    }

    /// Owed, and in no transaction.
    pub fn open_sat(&self) -> u64 {
        self.owed_sat.saturating_sub(self.fixed_sat)
    }

    /// Can be put into a transaction now.
    pub fn ready_sat(&self) -> u64 {
        self.settled_sat.saturating_sub(self.fixed_sat)
    }

    /// What transactions pay of money that is not deep enough (any more) to leave.
    pub fn overdrawn_sat(&self) -> u64 {
        self.fixed_sat.saturating_sub(self.settled_sat)
    }
}

/// What an open payout is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The payout; `None` for a new one.
    pub id: Option<PayoutId>,
    /// To whom.
    pub recipient: Option<InvoiceId>,
    /// All of it.
    pub amount_sat: u64,
    /// What of it can leave now.
    pub ready_sat: u64,
    /// Still too small to be paid.
    pub dust: bool,
}

/// What follows from what is owed and what was paid: the accounts, and the open payouts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// One for each recipient that was ever owed something.
    pub accounts: Vec<Account>,
    /// What is to be paid still.
    pub open: Vec<Open>,
}

/// Plans the payouts of one subject.
pub fn plan(owed: &[Owed], payouts: &[Payout]) -> Plan {
    let mut accounts: BTreeMap<Option<InvoiceId>, Account> = BTreeMap::new();
    let mut account = |recipient: &Option<InvoiceId>, change: &dyn Fn(&mut Account)| {
        let entry = accounts.entry(recipient.clone());
        change(entry.or_insert_with_key(|recipient| Account::new(recipient.clone())));
    };
    for owed in owed {
        account(&owed.recipient, &|account| {
            account.owed_sat += owed.sat;
            account.settled_sat += owed.settled_sat;
        });
    }
    for payout in payouts {
        let fixed = payout.fixed();
        // An open one has an account, too: it must hear that nothing is owed any more.
        account(&payout.recipient, &|account| {
            let Some((state, paying)) = &fixed else { return };
            if *state != PayoutState::Confirmed {
                account.fixed_sat += paying.amount_sat;
                return;
            }
            // One, as things should be; whatever is in the chain has left.
            let mined = payout.payings.iter().filter(|paying| paying.height.is_some());
            let out_sat: u64 = mined.map(|paying| paying.amount_sat).sum();
            account.fixed_sat += out_sat;
            account.out_sat += out_sat;
        });
    }
    let mut open = Vec::new();
    for account in accounts.values_mut() {
        let own =
            |payout: &&Payout| payout.recipient == account.recipient && payout.fixed().is_none();
        let rows: Vec<&Payout> = payouts.iter().filter(own).collect();
        open_of(account, &rows, &mut open);
    }
    Plan { accounts: accounts.into_values().collect(), open }
}

/// The first open payout of a recipient gets all; others, left over when a batch was given up,
/// get nothing.
fn open_of(account: &mut Account, rows: &[&Payout], open: &mut Vec<Open>) {
    let (amount_sat, ready_sat) = (account.open_sat(), account.ready_sat());
    let first = rows.first();
    if first.is_some() || amount_sat > 0 {
        let dust = first.is_some_and(|row| row.dust && row.amount_sat == amount_sat);
        if dust {
            account.dust_sat = amount_sat.min(account.owed_sat.saturating_sub(account.out_sat));
        }
        let id = first.map(|row| row.id.clone());
        let recipient = account.recipient.clone();
        open.push(Open { id, recipient, amount_sat, ready_sat, dust });
    }
    open.extend(rows.iter().skip(1).map(|row| Open {
        id: Some(row.id.clone()),
        recipient: account.recipient.clone(),
        amount_sat: 0,
        ready_sat: 0,
        dust: false,
    }));
}
