//! Refunds on a real database and an in-memory chain: over random histories of payments, returns,
//! reversals, batches and reorgs the books keep the equation of SPEC section 8 after every step, and
//! nobody is paid twice.

mod cases;
mod chain;
mod check;
mod operator;

use std::collections::HashSet;

use bitcoin::hashes::Hash as _;
use bitcoin::{Address, Network, OutPoint, ScriptBuf, Transaction, Txid, WPubkeyHash};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::change_claim::ChangeClaim;
use crate::app::operate::{AssignPayment, RefundPayment};
use crate::app::{AppError, Code};
use crate::chain::testing::spend;
use crate::clock::Clock;
use crate::db;
use crate::db::testing::each;
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::keychain::Branch;
use crate::domain::policy::Policy;
use crate::domain::resource::tests::gpu;
use crate::worker::rig::Rig;
use chain::inputs;
use check::Checker;
use operator::{How, Operator, raised, signed};

/// Histories of the everyday tier and of the long one.
const CASES: (u32, u32) = (4, 200);
/// Leases; each has an invoice and a top-up with an address of its own.
const LEASES: usize = 2;
/// An index of the external branch that is never issued.
const UNISSUED: u32 = 15;
/// A few addresses, so that payouts meet at one.
const ADDRESSES: usize = 3;
const AMOUNTS: [u64; 5] = [90, 700, 1037, 6000, 25_000];

#[derive(Clone, Debug)]
enum Op {
    /// To an invoice, a top-up, or an index that was never issued.
    Pay {
        to: usize,
        sat: usize,
    },
    Evict {
        of: usize,
    },
    Mine {
        all: bool,
        more: u32,
    },
    /// Blocks are replaced by one more of others. A thief spends the coin of a payment in them.
    Fork {
        depth: u32,
        thief: Option<usize>,
        keep: bool,
    },
    Pass {
        seconds: i64,
    },
    Crash,
    /// Until it is believed again the node's blocks are recorded and nothing is settled: whatever
    /// is done meanwhile finds facts whose consequences are not written.
    Doubt {
        on: bool,
    },
    End {
        lease: usize,
        revoke: bool,
    },
    Patch {
        lease: usize,
        address: Option<usize>,
    },
    RefundLoose {
        of: usize,
        address: usize,
    },
    AssignLoose {
        of: usize,
        lease: usize,
    },
    Prepare(How),
    Bump {
        of: usize,
    },
    /// A version comes back signed, and is sent or not.
    Submit {
        of: usize,
        send: bool,
    },
    /// Somebody who has the signed transaction sends or mines it, whatever became of its batch.
    Leak {
        of: usize,
        mine: bool,
    },
    /// Somebody with the keys spends the coins of a version with another fee.
    Raise {
        of: usize,
        without: Option<usize>,
        mine: bool,
    },
    Abandon {
        of: usize,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0usize..100;
    let how = (
        prop::sample::select(vec![1000u64, 1000, 5000]),
        prop::option::weighted(0.3, n.clone()),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(feerate_msat, only, careless)| How { feerate_msat, only, careless });
    prop_oneof![
        4 => (n.clone(), n.clone()).prop_map(|(to, sat)| Op::Pay { to, sat }),
        1 => n.clone().prop_map(|of| Op::Evict { of }),
        8 => (prop::bool::weighted(0.8), 0u32..5).prop_map(|(all, more)| Op::Mine { all, more }),
        3 => (1u32..6, prop::option::weighted(0.5, n.clone()), any::<bool>())
            .prop_map(|(depth, thief, keep)| Op::Fork { depth, thief, keep }),
        1 => prop::sample::select(vec![1i64, 130, 3600]).prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Crash),
        2 => prop::bool::weighted(0.4).prop_map(|on| Op::Doubt { on }),
        3 => (n.clone(), any::<bool>()).prop_map(|(lease, revoke)| Op::End { lease, revoke }),
        2 => (n.clone(), prop::option::weighted(0.8, n.clone()))
            .prop_map(|(lease, address)| Op::Patch { lease, address }),
        2 => (n.clone(), n.clone()).prop_map(|(of, address)| Op::RefundLoose { of, address }),
        1 => (n.clone(), n.clone()).prop_map(|(of, lease)| Op::AssignLoose { of, lease }),
        6 => how.prop_map(Op::Prepare),
        2 => n.clone().prop_map(|of| Op::Bump { of }),
        4 => (n.clone(), prop::bool::weighted(0.8)).prop_map(|(of, send)| Op::Submit { of, send }),
        4 => (n.clone(), any::<bool>()).prop_map(|(of, mine)| Op::Leak { of, mine }),
        1 => (n.clone(), prop::option::weighted(0.3, n.clone()), any::<bool>())
            .prop_map(|(of, without, mine)| Op::Raise { of, without, mine }),
        3 => n.prop_map(|of| Op::Abandon { of }),
    ]
}

fn config() -> Config {
    let wanted = Config::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
    let usual = if long { CASES.1 } else { CASES.0 };
    Config {
        cases: if asked { wanted.cases } else { usual },
        rng_seed: match wanted.rng_seed {
            RngSeed::Random => RngSeed::Fixed(8_719_131),
            fixed => fixed,
        },
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..wanted
    }
}

/// Payouts leave at two confirmations, what is eight deep is final: no fork here goes so deep.
fn policy() -> Policy {
    Policy {
        payout_confirmations: 2,
        final_confirmations: 8,
        at_risk_blocks: 2,
        min_payout_sat: 500,
        ..Policy::default()
    }
}

fn script(n: usize) -> ScriptBuf {
    let hash = WPubkeyHash::from_byte_array([u8::try_from(n % ADDRESSES).unwrap(); 20]);
    ScriptBuf::new_p2wpkh(&hash)
}

fn address(n: usize) -> String {
    Address::from_script(&script(n), Network::Regtest).unwrap().to_string()
}

/// A shop, whoever pays it, and its operator.
struct Play {
    rig: Rig,
    operator: Operator,
    checker: Checker,
    leases: Vec<LeaseId>,
    /// What can be paid: invoices and top-ups in turns, and the index that nobody was given.
    scripts: Vec<ScriptBuf>,
    /// The coin of each payment, and the payment.
    sent: Vec<(OutPoint, Transaction)>,
    foreign: HashSet<OutPoint>,
    /// What somebody else made of the coins of a version.
    raised: Vec<Transaction>,
    /// True while nothing is settled.
    doubted: bool,
}

/// What a use case may answer to a random request.
fn may_refuse<T>(answer: Result<T, AppError>) -> Option<T> {
    match answer {
        Ok(done) => Some(done),
        Err(AppError::Refused(refusal)) => {
            let known = [Code::Conflict, Code::InvalidRequest, Code::LeaseEnded];
            assert!(known.contains(&refusal.code), "{refusal:?}");
            None
        }
        Err(other) => panic!("{other:?}"),
    }
}

impl Play {
    async fn new(db: db::Db) -> Self {
        let rig = Rig::with_policy(db, gpu(), policy()).await;
        let (mut leases, mut scripts) = (Vec::new(), Vec::new());
        for n in 0..LEASES {
            let (lease, invoice) = rig.request(7200).await;
            scripts.push(invoice.script_pubkey);
            scripts.push(top_up(&rig, &lease, n).await);
            leases.push(lease);
        }
        scripts.push(rig.shop.keychain.script(Branch::External, UNISSUED));
        let (operator, checker) = (Operator::default(), Checker::default());
        let (sent, foreign) = (Vec::new(), HashSet::new());
        Self {
            rig,
            operator,
            checker,
            leases,
            scripts,
            sent,
            foreign,
            raised: Vec::new(),
            doubted: false,
        }
    }

    /// Every script is paid, one lease is over, and everyone has said where the money goes.
    async fn begin(&mut self) {
        for to in 0..self.scripts.len() {
            self.pay(to, 6000);
            // Coins to spend that nobody asks back.
            self.pay(2 * LEASES, 100_000);
        }
        self.mine(2).await;
        self.end(0, Action::Return).await;
        for lease in 0..LEASES {
            self.patch(lease, Some(address(2))).await;
        }
        self.loose_op(&Op::RefundLoose { of: 0, address: 0 }).await;
        self.step().await;
    }

    /// Pays to a script by its number; the payment's number.
    fn pay(&mut self, to: usize, sat: u64) -> usize {
        let coin = self.rig.coin();
        let tx = spend(&[coin], &[(self.scripts[to].clone(), sat)]);
        self.foreign.insert(coin);
        self.sent.push((coin, tx.clone()));
        self.rig.chain.send(tx);
        self.sent.len() - 1
    }

    /// Blocks, the first with the whole mempool.
    async fn mine(&mut self, count: u32) {
        self.rig.chain.mine_pending();
        self.rig.chain.mine_empty(count - 1);
        self.step().await;
    }

    /// The server follows, and everything must hold.
    async fn step(&mut self) {
        self.rig.round().await;
        self.check().await;
    }

    async fn check(&mut self) {
        let view = self.operator.view(&self.rig).await;
        match self.doubted {
            true => self.checker.check_chain(&self.rig, &view).await,
            false => self.checker.check(&self.rig, &view).await,
        }
    }

    fn doubt(&mut self, on: bool) {
        self.doubted = on;
        self.rig.chain.pretend(move |node| node.initial_block_download = on);
    }

    async fn end(&mut self, lease: usize, action: Action) {
        let (ground, lease) = (self.rig.ground(), self.leases[lease].clone());
        may_refuse(self.rig.db.write(ActOnLease { ground, lease, action, actor: None }).await);
    }

    async fn patch(&mut self, lease: usize, address: Option<String>) {
        let claim = self.rig.lease(&self.leases[lease]).await.claim;
        let item = ChangeClaim { claim, refund_address: Some(address), payout_address: None };
        self.rig.db.write(item).await.unwrap();
    }

    /// Payments that found no lease.
    async fn loose(&self) -> Vec<String> {
        let mut conn = self.rig.db.read().await.unwrap();
        let filter = db::payment::Filter { loose: true, ..Default::default() };
        let rows = db::payment::list(&mut conn, &filter, 1000).await.unwrap();
        rows.into_iter().map(|row| row.facts.id.to_string()).collect()
    }

    /// Leaves the mempool with everything that spends what it made.
    fn evict(&mut self, txid: Txid) {
        let mut gone = HashSet::from([txid]);
        let made = self.operator.made.iter().map(|(_, _, draft)| draft.transaction());
        let spending: Vec<Transaction> = made.chain(self.raised.iter().cloned()).collect();
        loop {
            let before = gone.len();
            let hit = |tx: &&Transaction| inputs(tx).any(|coin| gone.contains(&coin.txid));
            let more: Vec<Txid> =
                spending.iter().filter(hit).map(Transaction::compute_txid).collect();
            gone.extend(more);
            if gone.len() == before {
                break;
            }
        }
        gone.iter().for_each(|txid| self.rig.chain.evict(txid));
    }

    async fn fork(&mut self, depth: u32, thief: Option<usize>, keep: bool) {
        let chain = self.rig.chain.clone();
        let depth = depth.min(chain.tip().height - 12);
        chain.fork(depth, Vec::new());
        let view = self.operator.view(&self.rig).await;
        // Of the payments that the fork can reach, most of the time.
        let sent = self.sent.len();
        let place = |of: usize| if of < 70 { sent - 1 - of % sent.min(4) } else { of % sent };
        let thief = thief.filter(|_| sent > 0).map(|of| &self.sent[place(of)]);
        let thief = thief.map(|(coin, _)| spend(&[*coin], &[]));
        let stolen = thief.filter(|tx| view.takes(tx, &self.foreign, true));
        chain.mine(stolen.into_iter().collect());
        if keep {
            chain.mine_pending();
        }
        chain.mine_empty(depth.saturating_sub(u32::from(keep)));
    }

    /// Sends or mines a version, if a node takes it.
    async fn leak(&mut self, tx: Transaction, mine: bool) {
        let view = self.operator.view(&self.rig).await;
        if !view.takes(&tx, &self.foreign, mine) {
            return;
        }
        match mine {
            true => drop(self.rig.chain.mine(vec![tx])),
            false => drop(self.rig.chain.send(tx)),
        }
    }

    async fn operate(&mut self, op: &Op) {
        let made = self.operator.made.len();
        // The newest ones most of the time.
        let place = |of: usize| if of < 70 { made - 1 - of % made.min(3) } else { of % made };
        let batch = |of: usize| self.operator.made[place(of)].0.clone();
        match op {
            Op::Prepare(how) => {
                if let Some(answer) = self.operator.prepare(&self.rig, *how).await {
                    may_refuse(answer);
                }
            }
            Op::Bump { of } if made > 0 => {
                let batch = batch(*of);
                if let Some(answer) = self.operator.bump(&self.rig, &batch).await {
                    may_refuse(answer);
                }
            }
            Op::Submit { of, send } if made > 0 => {
                let tx = may_refuse(self.operator.submit(&self.rig, place(*of)).await);
                if let Some(tx) = tx.filter(|_| *send) {
                    self.leak(tx, false).await;
                }
            }
            Op::Leak { of, mine } if made > 0 => {
                let tx = signed(&self.operator.made[place(*of)].2);
                self.leak(tx, *mine).await;
            }
            Op::Raise { of, without, mine } if made > 0 => {
                if let Some(tx) = raised(&self.operator.made[place(*of)].2, *without) {
                    self.raised.push(tx.clone());
                    self.leak(tx, *mine).await;
                }
            }
            Op::Abandon { of } if made > 0 => {
                may_refuse(self.operator.abandon(&self.rig, &batch(*of)).await);
            }
            _ => {}
        }
    }

    async fn loose_op(&mut self, op: &Op) {
        let loose = self.loose().await;
        let (ground, actor) = (self.rig.ground(), "key_test".to_owned());
        match op {
            Op::RefundLoose { of, address: to } if !loose.is_empty() => {
                let (payment, address) = (loose[of % loose.len()].clone(), address(*to));
                let item = RefundPayment { ground, payment, address, actor };
                may_refuse(self.rig.db.write(item).await);
            }
            Op::AssignLoose { of, lease } if !loose.is_empty() => {
                let payment = loose[of % loose.len()].clone();
                let lease = self.leases[lease % LEASES].clone();
                let item = AssignPayment { ground, payment, lease, actor };
                may_refuse(self.rig.db.write(item).await);
            }
            _ => {}
        }
    }

    async fn happen(&mut self, op: &Op) {
        match op {
            Op::Pay { to, sat } => {
                self.pay(to % self.scripts.len(), AMOUNTS[sat % AMOUNTS.len()]);
            }
            Op::Evict { of } if !self.sent.is_empty() => {
                self.evict(self.sent[of % self.sent.len()].1.compute_txid());
            }
            Op::Mine { all, more } => {
                if *all {
                    self.rig.chain.mine_pending();
                }
                self.rig.chain.mine_empty(*more);
            }
            Op::Fork { depth, thief, keep } => self.fork(*depth, *thief, *keep).await,
            Op::Pass { seconds } => self.rig.clock.advance_s(*seconds),
            Op::Crash => self.rig.restart(),
            Op::Doubt { on } => self.doubt(*on),
            Op::End { lease, revoke } => {
                let action = if *revoke { Action::Revoke } else { Action::Return };
                self.end(lease % LEASES, action).await;
            }
            Op::Patch { lease, address: to } => {
                self.patch(lease % LEASES, to.map(address)).await;
            }
            Op::RefundLoose { .. } | Op::AssignLoose { .. } => self.loose_op(op).await,
            other => self.operate(other).await,
        }
        self.step().await;
    }

    /// Everything is mined, and every risk and every conflict comes to its end.
    async fn calm(&mut self) {
        self.doubt(false);
        self.mine(1).await;
        self.rig.chain.clear_mempool();
        for _ in 0..10 {
            self.rig.clock.advance_s(130);
            self.rig.chain.mine_empty(1);
            self.step().await;
        }
        let stuck = self.operator.stuck(&self.rig).await;
        assert!(stuck.is_empty(), "these can never be paid: {stuck:?}");
    }
}

/// A top-up invoice whose payments go back to an address of its own; its script.
async fn top_up(rig: &Rig, lease: &LeaseId, to: usize) -> ScriptBuf {
    let item = AddInvoice {
        shop: rig.shop.clone(),
        now: rig.clock.now(),
        lease: lease.clone(),
        ask: Ask::Duration(7200),
        refund_address: Some(address(to)),
        source: None,
        key: None,
    };
    let outcome = rig.db.write(item).await.unwrap();
    let id = InvoiceId::parse(outcome.body["invoice"]["id"].as_str().unwrap()).unwrap();
    rig.invoice(&id).await.script_pubkey
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn over_any_history_the_books_keep_the_equation_and_nobody_is_paid_twice(
        ops in vec(op(), 10..40),
    ) {
        each(async |db| {
            let mut play = Play::new(db).await;
            play.begin().await;
            for op in &ops {
                play.happen(op).await;
            }
            play.calm().await;
        });
    }
}
