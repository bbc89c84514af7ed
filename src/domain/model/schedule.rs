//! What can happen, as random operations, and the world in which it happens.

use proptest::prelude::*;

use super::node::{Node, Tx};
use super::server::{INVOICES, Record, Rules, Server};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::invoice::{Invoice, Purpose};
use crate::domain::lease::fold::Phase;
use crate::domain::lease::tests::START;
use crate::domain::lease::{EndReason, Facts, Lease, What};
use crate::domain::payment::MempoolEntry;
use crate::domain::policy::Policy;
use crate::domain::price::Price;
use crate::domain::resource::tests::gpu;
use crate::domain::resource::{Terms, TermsHistory, TermsVersion, Tier};
use crate::domain::time::Timestamp;

/// Leases in a world.
const LEASES: usize = 2;
/// Ten satoshis a second; the least lease, grace and the tiers begin and end at these.
const AMOUNTS: [u64; 14] = [
    10, 100, 3000, 5960, 5970, 5980, 6000, 12_000, 20_000, 20_010, 30_000, 50_000, 50_010, 120_000,
];
const WAITS_S: [u64; 8] = [1, 30, 299, 600, 601, 1800, 3600, 86_400];

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// A new transaction, with a second output when there is one.
    Pay {
        to: usize,
        sat: usize,
        second: Option<(usize, usize)>,
        good: bool,
    },
    /// A transaction that spends the same coin as `tx` and pays something, or nothing.
    Replace {
        tx: usize,
        to: usize,
        sat: Option<usize>,
    },
    Broadcast {
        tx: usize,
    },
    Evict {
        tx: usize,
    },
    Mine {
        take: u32,
    },
    /// Blocks are replaced by one more of others; a thief spends the coin of `tx` in them.
    Reorg {
        depth: usize,
        take: u32,
        thief: Option<(usize, Option<usize>)>,
    },
    /// The node goes back to the branch that it left last, and mines on it.
    Reconsider {
        take: u32,
    },
    Pass {
        wait: usize,
    },
    Stop,
    Start,
    /// From now on facts gather before anything is settled, or no more.
    Lazy {
        on: bool,
    },
    Backup,
    Restore,
    Doubt {
        on: bool,
    },
    Act {
        lease: usize,
        what: usize,
    },
}

/// Which operations a property wants.
pub(super) fn ops(acts: bool) -> impl Strategy<Value = Vec<Op>> {
    let n = 0usize..1000;
    let n32 = any::<u32>();
    let pay = (n.clone(), n.clone(), prop::option::weighted(0.2, (n.clone(), n.clone())))
        .prop_flat_map(|(to, sat, second)| {
            prop::bool::weighted(0.8).prop_map(move |good| Op::Pay { to, sat, second, good })
        });
    let some = || prop::option::weighted(0.7, 0usize..1000);
    let replace =
        (n.clone(), n.clone(), some()).prop_map(|(tx, to, sat)| Op::Replace { tx, to, sat });
    let thief = prop::option::weighted(0.5, (n.clone(), some()));
    let reorg = (1usize..5, any::<u32>(), thief).prop_map(|(depth, take, thief)| Op::Reorg {
        depth,
        take,
        thief,
    });
    let take = prop_oneof![3 => Just(u32::MAX), 2 => any::<u32>()];
    let act = (n.clone(), n.clone()).prop_map(|(lease, what)| Op::Act { lease, what });
    let still = prop_oneof![
        6 => pay,
        2 => replace,
        1 => n.clone().prop_map(|tx| Op::Broadcast { tx }),
        1 => n.clone().prop_map(|tx| Op::Evict { tx }),
        6 => take.prop_map(|take| Op::Mine { take }),
        2 => reorg,
        2 => n32.prop_map(|take| Op::Reconsider { take }),
        4 => n.prop_map(|wait| Op::Pass { wait }),
        1 => Just(Op::Stop),
        2 => Just(Op::Start),
        1 => prop::bool::ANY.prop_map(|on| Op::Lazy { on }),
        1 => prop_oneof![Just(Op::Backup), Just(Op::Restore)],
        1 => prop::bool::weighted(0.4).prop_map(|on| Op::Doubt { on }),
    ];
    let op = match acts {
        true => prop_oneof![8 => still, 1 => act].boxed(),
        false => still.boxed(),
    };
    prop::collection::vec(op, 1..40)
}

/// What is the same all through a schedule.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// The clock stands still.
    pub(super) held: bool,
    /// Amounts that are not worth whole seconds.
    pub(super) odd: bool,
    pub(super) zero_conf: bool,
    pub(super) refund_unused: bool,
    pub(super) units: usize,
    pub(super) ready: bool,
}

pub(super) fn setups(held: bool, acts: bool) -> impl Strategy<Value = Setup> {
    let few = move |most: usize| if acts { 1..=most } else { most..=most };
    (any::<bool>(), any::<bool>(), any::<bool>(), few(LEASES), any::<bool>()).prop_map(
        move |(odd, zero_conf, refund_unused, units, ready)| Setup {
            held,
            odd,
            zero_conf,
            refund_unused,
            units,
            ready: ready || !acts,
        },
    )
}

impl Setup {
    fn terms(&self) -> Terms {
        let tier = |up_to_sat, n| Tier { up_to_sat, n };
        Terms {
            price: Price { sat: 10, per_s: 1 },
            min_duration_s: 600,
            max_duration_s: 7200,
            grace_s: 600,
            refund_unused: self.refund_unused,
            confirmations: vec![
                tier(Some(6000), u32::from(!self.zero_conf)),
                tier(Some(20_000), 1),
                tier(Some(50_000), 2),
                tier(None, 3),
            ],
            ..gpu()
        }
    }

    pub(super) fn rules(&self) -> Rules {
        let policy = Policy {
            final_confirmations: 6,
            at_risk_blocks: 2,
            confirming_hold_s: 3600,
            zero_conf_max_exposure_sat: 10_000,
            ..Policy::default()
        };
        Rules { policy, trusted: true, accepting: true, units: self.units, ready: self.ready }
    }

    /// Leases that nobody paid yet.
    pub(super) fn records(&self) -> Vec<Record> {
        (0..LEASES).map(|lease| Record::new(self.facts(lease))).collect()
    }

    fn facts(&self, lease: usize) -> Facts {
        let id = LeaseId::new([u8::try_from(lease).unwrap(); 16]);
        let version = TermsVersion { version: 1, created_at: START, terms: self.terms() };
        let invoice = |number: usize| Invoice {
            id: InvoiceId::new([u8::try_from(lease * INVOICES + number).unwrap(); 16]),
            purpose: if number == 0 { Purpose::Lease } else { Purpose::Topup },
            lease: id.clone(),
            terms_version: 1,
            amount_sat: 6000 * (1 + number as u64),
            price: version.terms.price,
            created_at: START,
            expires_at: START.plus_s(1800 * (1 + number as u64)),
            cancelled_at: None,
        };
        Facts {
            lease: Lease {
                id: id.clone(),
                resource: version.terms.id.clone(),
                terms_version: 1,
                created_at: START,
            },
            invoices: (0..INVOICES).map(invoice).collect(),
            terms: TermsHistory::new(vec![version]),
            payments: Vec::new(),
            entries: Vec::new(),
        }
    }
}

/// A node, a server that may be down, and its backup.
pub(super) struct Play {
    pub(super) setup: Setup,
    pub(super) node: Node,
    pub(super) server: Server,
    pub(super) rules: Rules,
    pub(super) now: Timestamp,
    pub(super) running: bool,
    lazy: bool,
    backup: Server,
}

impl Play {
    pub(super) fn new(setup: &Setup) -> Self {
        let node = Node::new(START);
        let server = Server::new(setup.records(), &node);
        Self {
            setup: setup.clone(),
            node,
            backup: server.clone(),
            server,
            rules: setup.rules(),
            now: START,
            running: true,
            lazy: false,
        }
    }

    pub(super) fn run(&mut self, ops: &[Op]) {
        for op in ops {
            self.happen(op);
            if self.running {
                self.follow(true);
            }
        }
    }

    /// The server takes in what the node has, block by block.
    pub(super) fn follow(&mut self, followed: bool) {
        while self.server.step(&self.node, self.now, followed) {
            if !self.lazy && followed {
                self.server.settle_due(self.now, &self.rules);
            }
        }
        self.server.look(&self.node, self.now);
        if !self.lazy {
            self.server.settle_due(self.now, &self.rules);
        }
    }

    fn happen(&mut self, op: &Op) {
        match op {
            Op::Pay { to, sat, second, good } => self.pay(*to, *sat, *second, *good),
            Op::Replace { tx, to, sat } => {
                if let Some(new) = self.rival(*tx, *to, *sat) {
                    self.node.broadcast(new);
                }
            }
            Op::Broadcast { tx } if !self.node.txs.is_empty() => {
                self.node.broadcast(tx % self.node.txs.len());
            }
            Op::Evict { tx } if !self.node.mempool.is_empty() => {
                self.node.evict(self.node.mempool[tx % self.node.mempool.len()]);
            }
            Op::Mine { take } => self.node.mine(self.now, *take, None),
            Op::Reconsider { take } => {
                self.node.reconsider();
                self.node.mine(self.now, *take, None);
            }
            Op::Reorg { depth, take, thief } => self.reorg(*depth, *take, *thief),
            Op::Pass { wait } if !self.setup.held => {
                self.now = self.now.plus_s(WAITS_S[wait % WAITS_S.len()]);
            }
            Op::Stop => self.running = false,
            Op::Start => self.start(),
            Op::Lazy { on } => self.lazy = *on,
            Op::Backup if self.running => self.backup = self.server.clone(),
            Op::Restore => {
                self.server = self.backup.clone();
                self.running = false;
                self.start();
            }
            Op::Doubt { on } => self.rules.trusted = !on,
            Op::Act { lease, what } if self.running => self.act(lease % LEASES, *what),
            _ => {}
        }
    }

    /// A server that was down knows only the headers' times of what it missed.
    pub(super) fn start(&mut self) {
        if !self.running {
            self.follow(false);
            self.running = true;
        }
    }

    fn amount(&self, sat: usize) -> u64 {
        let whole = AMOUNTS[sat % AMOUNTS.len()];
        if self.setup.odd { whole + (sat / AMOUNTS.len()) as u64 % 10 } else { whole }
    }

    fn pay(&mut self, to: usize, sat: usize, second: Option<(usize, usize)>, good: bool) {
        let address = |to: usize| to % (LEASES * INVOICES);
        let mut outputs = vec![(address(to), self.amount(sat))];
        outputs.extend(second.map(|(to, sat)| (address(to), self.amount(sat))));
        let coins = vec![self.node.coin(), self.node.coin()];
        let entry = MempoolEntry { inputs_confirmed: good, feerate_msat: 5000 };
        let tx = self.node.make(Tx { coins, outputs, entry });
        self.node.broadcast(tx);
    }

    /// A transaction that spends a coin of another one.
    fn rival(&mut self, tx: usize, to: usize, sat: Option<usize>) -> Option<usize> {
        let old = tx.checked_rem(self.node.txs.len())?;
        let coins = vec![self.node.txs[old].coins[tx % 2], self.node.coin()];
        let outputs = sat.map(|sat| (to % (LEASES * INVOICES), self.amount(sat)));
        let entry = MempoolEntry { inputs_confirmed: true, feerate_msat: 9000 };
        Some(self.node.make(Tx { coins, outputs: outputs.into_iter().collect(), entry }))
    }

    fn reorg(&mut self, depth: usize, take: u32, thief: Option<(usize, Option<usize>)>) {
        let depth = self.node.disconnect(depth);
        let thief = thief.and_then(|(tx, sat)| self.rival(tx, tx / 7, sat));
        for block in 0..=depth {
            let thief = thief.filter(|_| block == 0);
            self.node.mine(self.now, take.rotate_left(u32::try_from(block).unwrap() * 5), thief);
        }
    }

    /// What a holder, the operator or the provisioner may do as things stand.
    fn act(&mut self, lease: usize, what: usize) {
        let record = &self.server.records[lease];
        let phase = record.standing.phase;
        let open = phase != Phase::Ended
            || record.standing.end_reason.is_some_and(EndReason::may_start_again);
        let (live, provisioning) = (phase == Phase::Live, phase == Phase::Provisioning);
        let what = match what % 16 {
            0 if open => What::Returned,
            1 if open => What::Revoked,
            2..=4 if live || provisioning => What::Suspended,
            5..=8 if record.standing.suspended_at.is_some() => What::Resumed,
            9 if provisioning => What::Failed,
            10..=13 if provisioning => What::Ready,
            14 => return self.reprice(what),
            15 => return self.rules.accepting = what.is_multiple_of(32) || !self.rules.accepting,
            _ => return,
        };
        self.server.settle(lease, self.now, &self.rules, Some(what));
    }

    fn reprice(&mut self, by: usize) {
        for record in &mut self.server.records {
            let newest = record.facts.terms.newest().unwrap().clone();
            let mut all: Vec<TermsVersion> = (1..=newest.version)
                .map(|version| record.facts.terms.version(version).unwrap().clone())
                .collect();
            let mut terms = newest.terms;
            let (sat, per_s) = [(10, 1), (7, 3), (500, 3600), (11, 1)][by / 16 % 4];
            terms.price = Price { sat, per_s };
            all.push(TermsVersion { version: newest.version + 1, created_at: self.now, terms });
            record.facts.terms = TermsHistory::new(all);
        }
    }

    /// Everything calms down: the server runs and believes the node, the mempool is mined or
    /// dropped, and enough blocks follow for every confirmation and every risk.
    pub(super) fn calm(&mut self, mine: bool) {
        (self.lazy, self.rules.trusted) = (false, true);
        self.start();
        if !mine {
            self.node.mempool.clear();
        }
        for _ in 0..12 {
            self.node.mine(self.now, u32::MAX, None);
            self.follow(true);
        }
    }

    /// A server that sees the node's chain once, from its first block.
    pub(super) fn afresh(&self) -> Server {
        let mut server = Server::new(self.setup.records(), &self.node);
        let rules = self.setup.rules();
        while server.step(&self.node, self.now, false) {}
        server.settle_due(self.now, &rules);
        server
    }
}
