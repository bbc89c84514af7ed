//! The server without its database: facts from blocks and mempool, leases settled as the app
//! settles them, only when a changed fact, a height or a moment asks for it.

use std::collections::BTreeMap;

use bitcoin::OutPoint;

use super::node::{BASE, Node, txid};
use crate::domain::event::EventKind;
use crate::domain::ids::PaymentId;
use crate::domain::invoice::{InvoiceStanding, InvoiceStatus, Received};
use crate::domain::lease::advance::{self, World};
use crate::domain::lease::books::Books;
use crate::domain::lease::difference::difference;
use crate::domain::lease::fold::{Phase, Standing};
use crate::domain::lease::prospects::Prospects;
use crate::domain::lease::snapshot::{LeaseState, Snapshot};
use crate::domain::lease::tests::check;
use crate::domain::lease::{Entry, Facts, What};
use crate::domain::ledger::{Account, lines};
use crate::domain::payment::{Conflict, Counted, Mined, Payment, PaymentState};
use crate::domain::policy::Policy;
use crate::domain::time::Timestamp;

/// Invoices, and so addresses, of each lease.
pub(super) const INVOICES: usize = 3;

/// What may differ while a server runs.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) policy: Policy,
    pub(super) trusted: bool,
    pub(super) accepting: bool,
    pub(super) units: usize,
    /// False makes a generation wait until somebody says that it is ready.
    pub(super) ready: bool,
}

/// One lease as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) facts: Facts,
    pub(super) standing: Standing,
    pub(super) events: Vec<EventKind>,
    look: Snapshot,
    booked: Books,
    ledger: BTreeMap<Account, i64>,
    next_height: Option<u32>,
    next_change_at: Option<Timestamp>,
    /// The payments as they were settled last; others make it dirty.
    settled: Option<Vec<Payment>>,
    shown: (LeaseState, bool, Vec<InvoiceStatus>, Vec<PaymentState>),
}

impl Record {
    pub(super) fn new(facts: Facts) -> Self {
        let terms = &facts.terms.version(1).unwrap().terms;
        let standing = Standing::new(facts.lease.created_at, 1, terms);
        Self {
            look: standing.at(facts.lease.created_at),
            facts,
            standing,
            events: Vec::new(),
            booked: Books::default(),
            ledger: BTreeMap::new(),
            next_height: None,
            next_change_at: None,
            settled: None,
            shown: (LeaseState::Unfunded, false, Vec::new(), Vec::new()),
        }
    }

    /// What a holder sees; changes only when a fact, a height or a moment asks to settle.
    fn show(
        &self,
        now: Timestamp,
        tip: u32,
        policy: &Policy,
    ) -> (LeaseState, bool, Vec<InvoiceStatus>, Vec<PaymentState>) {
        let look = self.standing.at(now);
        let counted = |payment: &Payment| self.standing.counted(&payment.id);
        let statuses = self.facts.invoices.iter().map(|invoice| {
            let own = self.facts.payments.iter();
            let received: Vec<Received<'_>> = own
                .filter(|payment| payment.invoice.as_ref() == Some(&invoice.id))
                .map(|payment| Received {
                    payment,
                    counted: counted(payment),
                    credited_at: self.standing.line(&payment.id).map(|line| line.credited_at),
                    held: false,
                })
                .collect();
            InvoiceStanding::new(invoice, &received, policy).status(now)
        });
        let states = self.facts.payments.iter().map(|p| p.state(counted(p), tip, policy));
        (look.state, look.expiring_soon, statuses.collect(), states.collect())
    }

    /// Appends an entry and says what it changed, as the app does.
    fn push(&mut self, entry: Entry) {
        assert!(entry.moment_at >= self.standing.last_at, "entries go forward in time");
        let before = self.standing.at(entry.moment_at);
        self.announce(before.clone());
        self.standing.apply(&entry, &self.facts.terms);
        self.look = before;
        self.announce(self.standing.at(entry.moment_at));
        self.facts.entries.push(entry);
        check::books(&self.standing, self.standing.last_at);
    }

    fn announce(&mut self, next: Snapshot) {
        self.events.extend(difference(&self.look, &next));
        self.look = next;
    }

    fn book(&mut self, now: Timestamp) {
        let books = self.standing.books(now.max(self.standing.last_at));
        let lines = lines(&self.booked, &books);
        assert_eq!(lines.iter().map(|line| line.amount_sat).sum::<i64>(), 0, "{lines:?}");
        for line in lines {
            *self.ledger.entry(line.account).or_default() += line.amount_sat;
        }
        self.booked = books;
        let total = |account| self.ledger.get(&account).copied().unwrap_or(0);
        assert_eq!(i64::try_from(books.received_sat).unwrap(), total(Account::Received));
        assert_eq!(i64::try_from(books.refundable_sat).unwrap(), -total(Account::Refundable));
        assert_eq!(i64::try_from(books.held_sat).unwrap(), -total(Account::Held));
    }

    /// Zero-confirmation credits that no block has yet.
    fn unmined_credit_sat(&self) -> u64 {
        let unmined = |payment: &&Payment| {
            payment.left_chain.is_none()
                && payment.at_risk(self.standing.counted(&payment.id))
                && self.standing.line(&payment.id).is_some_and(|line| line.unmined)
        };
        self.facts.payments.iter().filter(unmined).map(|payment| payment.amount_sat).sum()
    }

    fn has_unit(&self) -> bool {
        matches!(self.standing.phase, Phase::Provisioning | Phase::Live)
    }
}

/// The same facts, listed the other way round.
fn turned(facts: &Facts) -> Facts {
    Facts {
        lease: facts.lease.clone(),
        terms: facts.terms.clone(),
        invoices: facts.invoices.iter().rev().cloned().collect(),
        payments: facts.payments.iter().rev().cloned().collect(),
        // What follows next is decided from the standing, not from the entries.
        entries: Vec::new(),
    }
}

#[derive(Clone, Debug)]
pub(super) struct Server {
    /// Number and moment of each block since `BASE`.
    blocks: Vec<(usize, Timestamp)>,
    looked_at: Option<Timestamp>,
    pub(super) records: Vec<Record>,
}

impl Server {
    pub(super) fn new(records: Vec<Record>, node: &Node) -> Self {
        let first = &node.chain[0];
        Self { blocks: vec![(first.id, first.at)], looked_at: None, records }
    }

    fn tip(&self) -> u32 {
        BASE + u32::try_from(self.blocks.len()).unwrap() - 1
    }

    /// One block or one rewind towards the node's tip; false when there. `followed` says that
    /// the moment of a block is now, not its header's time.
    pub(super) fn step(&mut self, node: &Node, now: Timestamp, followed: bool) -> bool {
        let place = self.blocks.len();
        let (tip, last_at) = self.blocks[place - 1];
        if node.chain.get(place - 1).is_none_or(|block| block.id != tip) {
            self.rewind();
            return true;
        }
        let Some(block) = node.chain.get(place) else { return false };
        let moment_at = if followed { now } else { block.at.min(now).max(last_at) };
        self.blocks.push((block.id, moment_at));
        let height = self.tip();
        for (position, tx) in (1..).zip(&block.txs) {
            let mined = Mined { height, position, mtp_at: node.mtp(place), moment_at };
            self.see(node, *tx, moment_at, |payment| payment.mined_in(mined.clone()));
            self.conflict(node, *tx, Some(height));
        }
        true
    }

    fn rewind(&mut self) {
        let height = self.tip();
        self.blocks.pop();
        for payment in self.records.iter_mut().flat_map(|record| &mut record.facts.payments) {
            if payment.conflict.as_ref().is_some_and(|found| found.height == Some(height)) {
                payment.conflict_unmined();
            }
            if payment.mined.as_ref().is_some_and(|mined| mined.height == height) {
                payment.unmined(height - 1);
            }
        }
    }

    /// A complete look at the mempool.
    pub(super) fn look(&mut self, node: &Node, now: Timestamp) {
        let tip = self.tip();
        for payment in self.records.iter_mut().flat_map(|record| &mut record.facts.payments) {
            let there = node.mempool.iter().any(|tx| txid(*tx) == payment.outpoint.txid);
            if payment.in_mempool && !there {
                payment.left_mempool(tip);
            }
        }
        for tx in &node.mempool {
            let entry = node.txs[*tx].entry;
            self.see(node, *tx, now, |payment| payment.entered_mempool(Some(entry)));
            self.conflict(node, *tx, None);
        }
        self.looked_at = Some(now);
    }

    /// Records the payments of a transaction if they are new, and changes all of them.
    fn see(&mut self, node: &Node, tx: usize, at: Timestamp, change: impl Fn(&mut Payment)) {
        for (vout, (address, amount_sat)) in (0..).zip(&node.txs[tx].outputs) {
            let record = &mut self.records[address / INVOICES];
            let invoice = record.facts.invoices[address % INVOICES].id.clone();
            let outpoint = OutPoint { txid: txid(tx), vout };
            let payments = &mut record.facts.payments;
            if let Some(known) = payments.iter_mut().find(|p| p.outpoint == outpoint) {
                change(known);
                continue;
            }
            let replaced = payments.iter().filter(|payment| {
                payment.invoice.as_ref() == Some(&invoice)
                    && node.txs[number(payment)].conflicts_with(&node.txs[tx])
            });
            let lineage_seen_at =
                replaced.map(|payment| payment.lineage_seen_at).fold(at, Timestamp::min);
            let mut id = [0; 16];
            id[..8].copy_from_slice(&tx.to_be_bytes());
            id[8..12].copy_from_slice(&vout.to_be_bytes());
            let mut payment = Payment {
                id: PaymentId::new(id),
                outpoint,
                amount_sat: *amount_sat,
                invoice: Some(invoice),
                coinbase: false,
                first_seen_at: at,
                lineage_seen_at,
                prior_look_at: self.looked_at,
                in_mempool: false,
                mined: None,
                conflict: None,
                absent_since: None,
                left_chain: None,
                entry: None,
            };
            change(&mut payment);
            payments.push(payment);
        }
    }

    /// Notes `tx` as the rival of all payments that spend the same coins.
    fn conflict(&mut self, node: &Node, tx: usize, height: Option<u32>) {
        let tip = self.tip();
        for payment in self.records.iter_mut().flat_map(|record| &mut record.facts.payments) {
            let other = number(payment);
            if other != tx && node.txs[other].conflicts_with(&node.txs[tx]) {
                payment.left_mempool(tip);
                payment.conflicted_by(Conflict { txid: txid(tx), height });
            }
        }
    }

    /// Settles what is due; what is not must have nothing due and look as it did.
    pub(super) fn settle_due(&mut self, now: Timestamp, rules: &Rules) {
        if !rules.trusted {
            return;
        }
        for place in 0..self.records.len() {
            let record = &self.records[place];
            let due = record.settled.as_ref() != Some(&record.facts.payments)
                || record.next_height.is_some_and(|height| height <= self.tip())
                || record.next_change_at.is_some_and(|at| at <= now)
                || advance::wants_start(&record.facts, &record.standing, &rules.policy).is_some();
            if due {
                self.settle(place, now, rules, None);
            } else {
                self.assert_idle(place, now, rules);
            }
        }
    }

    fn assert_idle(&self, place: usize, now: Timestamp, rules: &Rules) {
        let record = &self.records[place];
        let next = self.with_world(place, now, rules, |world| {
            advance::next_entry(&record.facts, &record.standing, world)
        });
        // Another lease may have freed the exposure of zero-confirmation credits.
        let freed = matches!(&next, Some(Entry { what: What::Credit(c), .. }) if c.unmined);
        assert!(next.is_none() || freed, "nobody asked to look, but {next:?} is due: {record:#?}");
        let mut shown = record.show(now, self.tip(), &rules.policy);
        // What was final stays so to the eye when the last of its confirmations is disconnected.
        for (state, before) in shown.3.iter_mut().zip(&record.shown.3) {
            if (*state, *before) == (PaymentState::Credited, PaymentState::Final) {
                *state = PaymentState::Final;
            }
        }
        assert_eq!(shown, record.shown, "changed without being asked to look: {record:#?}");
    }

    fn with_world<T>(
        &self,
        place: usize,
        now: Timestamp,
        rules: &Rules,
        ask: impl FnOnce(&World<'_>) -> T,
    ) -> T {
        let facts = &self.records[place].facts;
        let prospects = Prospects::new(facts, self.tip(), &rules.policy);
        let moments = |height: u32| {
            let place = usize::try_from(height.checked_sub(BASE)?).ok()?;
            self.blocks.get(place).map(|(_, moment_at)| *moment_at)
        };
        let others = self.records.iter().enumerate().filter(|(other, _)| *other != place);
        ask(&World {
            now,
            tip: self.tip(),
            policy: &rules.policy,
            prospects: &prospects,
            trusted: rules.trusted,
            closed_at: (!rules.accepting).then_some(Timestamp::from_millis(0)),
            moments: &moments,
            unmined_credit_sat: others.map(|(_, record)| record.unmined_credit_sat()).sum(),
        })
    }

    /// Settles one lease, with something that is done to it now.
    pub(super) fn settle(
        &mut self,
        place: usize,
        now: Timestamp,
        rules: &Rules,
        action: Option<What>,
    ) {
        self.take_due(place, now, rules);
        if let Some(what) = action {
            self.push_now(place, now, what);
            self.take_due(place, now, rules);
        }
        let record = &self.records[place];
        let (next_height, next_change_at) = self.with_world(place, now, rules, |world| {
            let (facts, standing) = (&record.facts, &record.standing);
            (
                advance::next_height(facts, standing, world),
                advance::next_change_at(facts, standing, world),
            )
        });
        let shown = record.show(now, self.tip(), &rules.policy);
        let record = &mut self.records[place];
        record.announce(record.standing.at(now.max(record.standing.last_at)));
        record.book(now);
        record.next_height = next_height;
        record.next_change_at = next_change_at;
        record.settled = rules.trusted.then(|| record.facts.payments.clone());
        record.shown = shown;
    }

    fn take_due(&mut self, place: usize, now: Timestamp, rules: &Rules) {
        loop {
            while let Some(entry) = self.next_entry(place, now, rules) {
                self.records[place].push(entry);
            }
            if !self.start(place, now, rules) {
                return;
            }
        }
    }

    fn next_entry(&self, place: usize, now: Timestamp, rules: &Rules) -> Option<Entry> {
        let record = &self.records[place];
        self.with_world(place, now, rules, |world| {
            let next = advance::next_entry(&record.facts, &record.standing, world);
            let turned = turned(&record.facts);
            let prospects = &Prospects::new(&turned, world.tip, world.policy);
            let other =
                advance::next_entry(&turned, &record.standing, &World { prospects, ..*world });
            assert_eq!(next, other, "the order of the facts matters: {record:#?}");
            next
        })
    }

    fn start(&mut self, place: usize, now: Timestamp, rules: &Rules) -> bool {
        let taken = self.records.iter().filter(|record| record.has_unit()).count();
        let record = &self.records[place];
        let wanted = advance::wants_start(&record.facts, &record.standing, &rules.policy)
            .filter(|_| rules.accepting && rules.trusted && taken < rules.units);
        let Some((generation, terms_version)) = wanted else { return false };
        let unit = Some(format!("unit-{taken}"));
        self.push_now(place, now, What::Started { generation, unit, terms_version });
        if rules.ready {
            self.push_now(place, now, What::Ready);
        }
        true
    }

    fn push_now(&mut self, place: usize, now: Timestamp, what: What) {
        let record = &mut self.records[place];
        let moment_at = now.max(record.standing.last_at);
        record.push(Entry { n: record.standing.entries + 1, moment_at, what });
    }

    /// Outpoints that count now, with the seconds they bought.
    pub(super) fn counted(&self) -> BTreeMap<OutPoint, u64> {
        let mut counted = BTreeMap::new();
        for line in self.records.iter().flat_map(|record| &record.standing.credits) {
            if line.counted == Counted::Standing {
                let twice = counted.insert(line.outpoint, line.seconds);
                assert_eq!(twice, None, "{} counts twice", line.outpoint);
            }
        }
        counted
    }
}

/// The number of a payment's transaction.
pub(super) fn number(payment: &Payment) -> usize {
    let txid: &[u8; 32] = payment.outpoint.txid.as_ref();
    usize::from_le_bytes(txid[..8].try_into().unwrap())
}
