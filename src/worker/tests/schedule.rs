//! Any schedule of blocks, forks, mempool, time and crashes on a real database ends as the final
//! chain applied once to a fresh one: the same outputs count, for the same seconds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bitcoin::{OutPoint, Transaction};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

use crate::chain::testing::{MemoryChain, spend};
use crate::clock::Clock;
use crate::db;
use crate::db::testing::{each, on_sqlite};
use crate::domain::ids::LeaseId;
use crate::domain::payment::Counted;
use crate::domain::resource::tests::gpu;
use crate::worker::rig::{Rig, START};

/// Schedules of the everyday tier and of the long one.
const CASES: (u32, u32) = (8, 200);
/// Leases; each has a unit.
const LEASES: usize = 2;
/// Worth whole hours, so that no order of credits matters.
const STEP_SAT: u64 = 500;

#[derive(Clone, Debug)]
enum Op {
    Pay {
        lease: usize,
        hours: u64,
    },
    /// Spends the coin of an earlier payment, to a lease or to nobody.
    Replace {
        of: usize,
        to: Option<usize>,
    },
    Evict {
        of: usize,
    },
    Forget,
    Mine {
        all: bool,
    },
    Fork {
        depth: u32,
        thief: Option<usize>,
    },
    Pass {
        seconds: i64,
    },
    Crash,
    /// The next operations happen before the server looks.
    Away {
        on: bool,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0usize..100;
    let one = || prop::option::weighted(0.5, 0..LEASES);
    prop_oneof![
        5 => (0..LEASES, 1u64..4).prop_map(|(lease, hours)| Op::Pay { lease, hours }),
        2 => (n.clone(), one()).prop_map(|(of, to)| Op::Replace { of, to }),
        1 => n.clone().prop_map(|of| Op::Evict { of }),
        1 => Just(Op::Forget),
        5 => any::<bool>().prop_map(|all| Op::Mine { all }),
        3 => (1u32..5, prop::option::weighted(0.4, n))
            .prop_map(|(depth, thief)| Op::Fork { depth, thief }),
        3 => prop::sample::select(vec![1i64, 130, 601, 3600, 20_000])
            .prop_map(|seconds| Op::Pass { seconds }),
        2 => Just(Op::Crash),
        1 => any::<bool>().prop_map(|on| Op::Away { on }),
    ]
}

fn config() -> Config {
    let wanted = Config::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
    let usual = if long { CASES.1 } else { CASES.0 };
    Config {
        cases: if asked { wanted.cases } else { usual },
        rng_seed: RngSeed::Fixed(8_719_131),
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..wanted
    }
}

/// For each lease what counts, with its seconds, and what was received.
type Outcome = Vec<(BTreeMap<OutPoint, u64>, u64)>;

struct Play {
    rig: Rig,
    leases: Vec<(LeaseId, bitcoin::ScriptBuf)>,
    sent: Vec<(OutPoint, Transaction)>,
    away: bool,
}

impl Play {
    async fn new(db: db::Db) -> Self {
        let rig = Rig::new(db, gpu()).await;
        let mut leases = Vec::new();
        for _ in 0..LEASES {
            let (lease, invoice) = rig.request(7200).await;
            leases.push((lease, invoice.script_pubkey));
        }
        Self { rig, leases, sent: Vec::new(), away: false }
    }

    fn rival(&self, of: usize, to: Option<usize>) -> Option<Transaction> {
        let (coin, _) = self.sent.get(of.checked_rem(self.sent.len())?)?;
        let outputs: Vec<_> =
            to.map(|to| (self.leases[to].1.clone(), 2 * STEP_SAT)).into_iter().collect();
        Some(spend(&[*coin], &outputs))
    }

    fn in_chain(&self, coin: &OutPoint) -> bool {
        self.rig.chain.is_spent(coin)
    }

    async fn happen(&mut self, op: &Op) {
        let chain = self.rig.chain.clone();
        match op {
            Op::Pay { lease, hours } => {
                let coin = self.rig.coin();
                let tx = spend(&[coin], &[(self.leases[*lease].1.clone(), hours * STEP_SAT)]);
                self.sent.push((coin, tx.clone()));
                chain.send(tx);
            }
            Op::Replace { of, to } => {
                if let Some(tx) = self.rival(*of, *to)
                    && !self.in_chain(&tx.input[0].previous_output)
                {
                    chain.send(tx);
                }
            }
            Op::Evict { of } if !self.sent.is_empty() => {
                chain.evict(&self.sent[of % self.sent.len()].1.compute_txid());
            }
            Op::Forget => chain.clear_mempool(),
            Op::Mine { all: true } => drop(chain.mine_pending()),
            Op::Mine { all: false } => chain.mine_empty(1),
            Op::Fork { depth, thief } => {
                let depth = (*depth).min(chain.tip().height - 12);
                chain.fork(depth, Vec::new());
                let thief = thief.and_then(|of| self.rival(of, None));
                let stolen = thief.filter(|tx| !self.in_chain(&tx.input[0].previous_output));
                chain.mine(stolen.into_iter().collect());
                chain.mine_empty(depth);
            }
            Op::Pass { seconds } => self.rig.clock.advance_s(*seconds),
            Op::Crash => self.rig.restart(),
            Op::Away { on } => self.away = *on,
            Op::Evict { .. } => {}
        }
        if !self.away {
            self.rig.round().await;
        }
    }

    /// Everything that waits is mined or forgotten, and no risk is left open.
    async fn calm(&mut self, mine: bool) {
        if mine {
            self.rig.chain.mine_pending();
        }
        self.rig.chain.clear_mempool();
        for _ in 0..12 {
            self.rig.clock.advance_s(130);
            self.rig.chain.mine_empty(1);
            self.rig.round().await;
        }
    }

    async fn outcome(&self) -> Outcome {
        let mut all = Vec::new();
        for (lease, _) in &self.leases {
            let row = self.rig.lease(lease).await;
            let counts = row.doc.standing.credits.iter();
            let counts = counts.filter(|line| line.counted == Counted::Standing);
            let counted = counts.map(|line| (line.outpoint, line.seconds)).collect();
            all.push((counted, row.doc.booked.received_sat));
        }
        all
    }
}

/// What a server makes of `chain` that was not there when it was mined.
fn applied_once(chain: &Arc<MemoryChain>, passed_s: i64) -> Outcome {
    let found = Mutex::new(Outcome::new());
    // A runtime of its own, away from the caller's.
    std::thread::scope(|scope| {
        let run = || {
            on_sqlite(async |place| {
                let node = place.open().await;
                let mut play = Play::new(node.db.clone()).await;
                play.rig.clock.advance_s(passed_s);
                play.rig.chain.hear(chain);
                play.rig.round().await;
                *found.lock().unwrap() = play.outcome().await;
                drop(play);
                node.stop().await;
            });
        };
        scope.spawn(run).join().unwrap();
    });
    found.into_inner().unwrap()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_schedule_on_a_database_ends_as_the_final_chain_applied_once(
        ops in vec(op(), 1..30), mine in any::<bool>(),
    ) {
        each(async |db| {
            let mut play = Play::new(db).await;
            for op in &ops {
                play.happen(op).await;
            }
            play.calm(mine).await;
            let passed_s = play.rig.clock.now().unix_s() - START.unix_s();
            let once = applied_once(&play.rig.chain, passed_s);
            assert_eq!(play.outcome().await, once);
            let mut conn = play.rig.db.read().await.unwrap();
            let events = db::event::list(&mut conn, 0, 10_000).await.unwrap();
            assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "a gap");
        });
    }
}
