//! Where a lease stands, proved on facts: every row of the case table of SPEC section 4 and the
//! rules around it. `Case` plays the app: it changes facts, then appends what is due.
//! Rows that are about more than one lease's facts (restored backups, kills) are in `model`.

mod cases;
pub(crate) mod check;
mod course;
mod events;
mod invoices;
mod owed;
mod prices;
mod refunds;
mod reversals;
mod schedule;
mod time;
mod zero_conf;

use std::collections::BTreeMap;

use bitcoin::hashes::Hash as _;
use bitcoin::{OutPoint, Txid};

use super::advance::{self, World};
use super::books::Books;
use super::fold::{Phase, Standing};
use super::prospects::Prospects;
use super::snapshot::{LeaseState, Snapshot};
use super::{EndReason, Entry, Facts, Lease, What};
use crate::domain::ids::{InvoiceId, LeaseId, PaymentId};
use crate::domain::invoice::{
    Invoice, InvoiceFlag, InvoiceStanding, InvoiceStatus, Purpose, Received,
};
use crate::domain::payment::{Conflict, Counted, Mined, Payment, PaymentState};
use crate::domain::policy::Policy;
use crate::domain::resource::tests::gpu;
use crate::domain::resource::{Terms, TermsHistory, TermsVersion};
use crate::domain::time::Timestamp;

/// When every case begins.
pub(crate) const START: Timestamp = Timestamp::from_secs(1_800_000_000);
/// The tip's height when every case begins.
const FIRST_TIP: u32 = 100;
const HOUR: u64 = 3600;
const DAY: u64 = 86_400;

/// One lease and the world around it. The lease costs 500 sat an hour and was asked for two
/// hours at `START`; invoice 0 asks for 1000 sat until half an hour later.
struct Case {
    facts: Facts,
    standing: Standing,
    policy: Policy,
    now: Timestamp,
    tip: u32,
    moments: BTreeMap<u32, Timestamp>,
    trusted: bool,
    accepting: bool,
    unit_free: bool,
    /// False makes a generation wait in `provisioning`.
    ready: bool,
    unmined_credit_sat: u64,
    /// True while the server is down: facts gather, nothing is appended.
    stopped: bool,
}

impl Case {
    fn new() -> Self {
        Self::with(gpu())
    }

    fn with(terms: Terms) -> Self {
        Self::under(terms, Policy::default())
    }

    fn under(terms: Terms, policy: Policy) -> Self {
        let lease = LeaseId::new([1; 16]);
        let version = TermsVersion { version: 1, created_at: START, terms };
        let standing = Standing::new(START, 1, &version.terms);
        let facts = Facts {
            lease: Lease {
                id: lease,
                resource: version.terms.id.clone(),
                terms_version: 1,
                created_at: START,
            },
            terms: TermsHistory::new(vec![version]),
            invoices: Vec::new(),
            payments: Vec::new(),
            entries: Vec::new(),
        };
        let mut case = Self {
            facts,
            standing,
            policy,
            now: START,
            tip: FIRST_TIP,
            moments: BTreeMap::from([(FIRST_TIP, START)]),
            trusted: true,
            accepting: true,
            unit_free: true,
            ready: true,
            unmined_credit_sat: 0,
            stopped: false,
        };
        case.ask(2 * HOUR);
        case
    }

    /// Asks for an invoice over `duration_s`; its number.
    fn ask(&mut self, duration_s: u64) -> usize {
        let number = self.facts.invoices.len();
        let newest = self.facts.terms.newest().unwrap();
        let (price, ttl_s) = (newest.terms.price, newest.terms.quote_ttl_s);
        self.facts.invoices.push(Invoice {
            id: InvoiceId::new([u8::try_from(number).unwrap(); 16]),
            purpose: if number == 0 { Purpose::Lease } else { Purpose::Topup },
            lease: self.facts.lease.id.clone(),
            terms_version: newest.version,
            amount_sat: price.cost_sat(duration_s),
            price,
            created_at: self.now,
            expires_at: self.now.plus_s(ttl_s),
            cancelled_at: None,
        });
        number
    }

    /// Changes the terms from now on.
    fn change(&mut self, change: impl FnOnce(&mut Terms)) {
        let mut version = self.facts.terms.newest().unwrap().clone();
        version.version += 1;
        version.created_at = self.now;
        change(&mut version.terms);
        let mut all: Vec<TermsVersion> =
            (1..version.version).map(|n| self.facts.terms.version(n).unwrap().clone()).collect();
        all.push(version);
        self.facts.terms = TermsHistory::new(all);
    }

    /// A transaction with these outputs `(invoice, sat)`, not seen by anyone yet. The number of
    /// its first payment; the others follow.
    fn transaction(&mut self, outputs: &[(usize, u64)]) -> usize {
        let first = self.facts.payments.len();
        let txid = Txid::from_byte_array([u8::try_from(first).unwrap() + 1; 32]);
        for (vout, (invoice, amount_sat)) in (0..).zip(outputs) {
            let number = u8::try_from(self.facts.payments.len()).unwrap();
            self.facts.payments.push(Payment {
                id: PaymentId::new([number; 16]),
                outpoint: OutPoint { txid, vout },
                amount_sat: *amount_sat,
                invoice: Some(self.facts.invoices[*invoice].id.clone()),
                coinbase: false,
                first_seen_at: self.now,
                lineage_seen_at: self.now,
                prior_look_at: Some(self.now.minus_s(1)),
                in_mempool: false,
                mined: None,
                conflict: None,
                absent_since: None,
                left_chain: None,
                entry: None,
            });
        }
        first
    }

    /// A payment seen in the mempool now; its number.
    fn pays(&mut self, invoice: usize, amount_sat: u64) -> usize {
        let payment = self.transaction(&[(invoice, amount_sat)]);
        self.facts.payments[payment].entered_mempool(None);
        self.settle();
        payment
    }

    /// A payment to `invoice` that is mined at once; its number.
    fn paid(&mut self, invoice: usize, amount_sat: u64) -> usize {
        let payment = self.pays(invoice, amount_sat);
        self.mine(&[payment]);
        payment
    }

    /// Another transaction in the mempool takes the place of `old`; its number.
    fn replace(&mut self, old: usize, invoice: usize, amount_sat: u64) -> usize {
        let payment = self.transaction(&[(invoice, amount_sat)]);
        let lineage = self.facts.payments[old].lineage_seen_at;
        if self.facts.payments[old].invoice == self.facts.payments[payment].invoice {
            self.facts.payments[payment].lineage_seen_at = lineage;
        }
        let txid = self.facts.payments[payment].outpoint.txid;
        self.facts.payments[payment].entered_mempool(None);
        self.conflict(old, txid, None);
        payment
    }

    /// A transaction that pays nothing to us takes the place of `old` in the mempool.
    fn cancel(&mut self, old: usize) {
        self.conflict(old, Txid::from_byte_array([0xee; 32]), None);
    }

    /// The next block has a transaction that takes the place of `old`.
    fn double_spend(&mut self, old: usize) {
        self.tip += 1;
        self.moments.insert(self.tip, self.now);
        self.conflict(old, Txid::from_byte_array([0xdd; 32]), Some(self.tip));
    }

    fn conflict(&mut self, old: usize, txid: Txid, height: Option<u32>) {
        self.facts.payments[old].left_mempool(self.tip);
        self.facts.payments[old].conflicted_by(Conflict { txid, height });
        self.settle();
    }

    /// Drops a payment from the mempool without a trace.
    fn evict(&mut self, payment: usize) {
        self.facts.payments[payment].left_mempool(self.tip);
        self.settle();
    }

    /// One block with these payments.
    fn mine(&mut self, payments: &[usize]) {
        self.tip += 1;
        let (height, now) = (self.tip, self.now);
        self.moments.insert(height, now);
        for (position, payment) in (1..).zip(payments) {
            // As on a busy chain: the median time past is about an hour behind.
            let mtp_at = now.minus_s(HOUR);
            let mined = Mined { height, position, mtp_at, moment_at: now };
            self.facts.payments[*payment].mined_in(mined);
        }
        self.settle();
    }

    /// Blocks without payments.
    fn blocks(&mut self, count: u32) {
        (0..count).for_each(|_| self.mine(&[]));
    }

    /// Disconnects blocks; what was in them goes back to the mempool unless `lost`.
    fn rewind(&mut self, count: u32, lost: &[usize]) {
        for _ in 0..count {
            let height = self.tip;
            self.moments.remove(&height);
            self.tip -= 1;
            for (number, payment) in self.facts.payments.iter_mut().enumerate() {
                if payment.conflict.as_ref().is_some_and(|c| c.height == Some(height)) {
                    payment.conflict_unmined();
                }
                if payment.mined.as_ref().is_some_and(|mined| mined.height == height) {
                    payment.unmined(self.tip);
                    if !lost.contains(&number) {
                        payment.entered_mempool(None);
                    }
                }
            }
        }
        self.settle();
    }

    /// Time passes, with a tick at its end.
    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus_s(seconds);
        self.settle();
    }

    /// Something that the holder, the operator or the provisioner does now.
    fn act(&mut self, what: What) {
        self.settle();
        self.push_now(what);
        self.settle();
    }

    fn push_now(&mut self, what: What) {
        let moment_at = self.now.max(self.standing.last_at);
        self.push(Entry { n: self.standing.entries + 1, moment_at, what });
    }

    fn push(&mut self, entry: Entry) {
        assert!(entry.moment_at >= self.standing.last_at, "entries go forward in time");
        assert_eq!(entry.n, self.standing.entries + 1);
        self.standing.apply(&entry, &self.facts.terms);
        self.facts.entries.push(entry);
        check::books(&self.standing, self.standing.last_at);
        check::folds(&self.facts, &self.standing);
    }

    /// What the app does whenever something may have changed.
    fn settle(&mut self) {
        if self.stopped {
            return;
        }
        loop {
            while let Some(entry) = self.next_entry() {
                self.push(entry);
            }
            if !self.start() {
                break;
            }
        }
        check::books(&self.standing, self.now.max(self.standing.last_at));
    }

    fn start(&mut self) -> bool {
        let wanted = advance::wants_start(&self.facts, &self.standing, &self.policy)
            .filter(|_| self.unit_free && self.accepting && self.trusted);
        let Some((generation, terms_version)) = wanted else { return false };
        self.push_now(What::Started { generation, unit: Some("gpu-1".into()), terms_version });
        if self.ready {
            self.push_now(What::Ready);
        }
        true
    }

    fn next_entry(&self) -> Option<Entry> {
        self.with_world(|world| advance::next_entry(&self.facts, &self.standing, world))
    }

    fn with_world<T>(&self, ask: impl FnOnce(&World<'_>) -> T) -> T {
        let moments = |height: u32| self.moments.get(&height).copied();
        ask(&World {
            now: self.now,
            tip: self.tip,
            policy: &self.policy,
            prospects: &Prospects::new(&self.facts, self.tip, &self.policy),
            trusted: self.trusted,
            closed_at: (!self.accepting).then_some(Timestamp::from_millis(0)),
            moments: &moments,
            unmined_credit_sat: self.unmined_credit_sat,
        })
    }

    fn look(&self) -> Snapshot {
        self.standing.at(self.now)
    }

    fn lease_state(&self) -> LeaseState {
        self.look().state
    }

    fn books(&self) -> Books {
        self.standing.books(self.now)
    }

    fn left_s(&self) -> u64 {
        self.standing.left_s(self.now)
    }

    /// Seconds until which it is paid, counted from `START`.
    fn paid_until_s(&self) -> u64 {
        START.seconds_until(self.standing.paid_until.unwrap())
    }

    fn payment_state(&self, payment: usize) -> PaymentState {
        let payment = &self.facts.payments[payment];
        payment.state(self.standing.counted(&payment.id), self.tip, &self.policy)
    }

    fn at_risk(&self, payment: usize) -> bool {
        let payment = &self.facts.payments[payment];
        payment.at_risk(self.standing.counted(&payment.id))
    }

    /// Seconds that each credit bought, in order.
    fn seconds(&self) -> Vec<u64> {
        self.standing.credits.iter().map(|line| line.seconds).collect()
    }

    fn invoice(&self, invoice: usize) -> InvoiceStanding {
        let invoice = &self.facts.invoices[invoice];
        let waits = matches!(self.standing.phase, Phase::Unfunded | Phase::Ended);
        let received: Vec<Received<'_>> = self
            .facts
            .payments
            .iter()
            .filter(|payment| payment.invoice.as_ref() == Some(&invoice.id))
            .map(|payment| Received {
                payment,
                counted: self.standing.counted(&payment.id),
                credited_at: self.standing.line(&payment.id).map(|line| line.credited_at),
                held: waits && self.standing.lots.iter().any(|lot| lot.payment == payment.id),
            })
            .collect();
        InvoiceStanding::new(invoice, &received, &self.policy)
    }

    fn status(&self, invoice: usize) -> InvoiceStatus {
        self.invoice(invoice).status(self.now)
    }

    fn flags(&self, invoice: usize) -> Vec<InvoiceFlag> {
        self.invoice(invoice).flags
    }

    fn counted(&self, payment: usize) -> Counted {
        self.standing.counted(&self.facts.payments[payment].id)
    }
}
