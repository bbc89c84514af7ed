//! Histories that are worth a name: each was wrong once, or would cost somebody money if it were.

use super::*;
use crate::db::payout::PayoutRow;
use crate::domain::lease::books::Books;
use crate::domain::ledger::Account;
use crate::domain::payout::PayoutState;
use crate::domain::payout::batch::BatchState;

const CHEAP: How = How { feerate_msat: 1000, only: None, careless: false };
const CARELESS: How = How { careless: true, ..CHEAP };

/// The lease's own invoice, its top-up, another lease's invoice, and the index never issued.
const OWN: usize = 0;
const TOP_UP: usize = 1;
const OTHER: usize = 2;
const LOOSE: usize = 2 * LEASES;

impl Play {
    /// A lease paid with 6000 sat and given back, with an address; a coin of 25 000 sat that is
    /// nobody's, so that the batch spends another coin than the lease's.
    async fn returned(db: db::Db) -> Self {
        let mut play = Self::new(db).await;
        play.pay(LOOSE, 25_000);
        play.pay(OWN, 6000);
        play.mine(2).await;
        play.end(0, Action::Return).await;
        play.patch(0, Some(address(1))).await;
        play.step().await;
        play
    }

    async fn books(&self) -> Books {
        self.rig.lease(&self.leases[0]).await.doc.booked
    }

    async fn payouts(&self, subject: &str) -> Vec<PayoutRow> {
        let mut conn = self.rig.db.read().await.unwrap();
        db::payout::list_of_subject(&mut conn, subject).await.unwrap()
    }

    async fn states(&self) -> Vec<PayoutState> {
        self.payouts(self.leases[0].as_str()).await.iter().map(|row| row.state).collect()
    }

    async fn batch_states(&self) -> Vec<BatchState> {
        let mut conn = self.rig.db.read().await.unwrap();
        let mut states = Vec::new();
        for (batch, _, _) in self.operator.made.iter().filter(|(_, n, _)| *n == 1) {
            states.push(db::batch::find(&mut conn, batch.as_str()).await.unwrap().unwrap().state);
        }
        states
    }

    async fn prepare(&mut self, how: How) -> bool {
        let answer = self.operator.prepare(&self.rig, how).await;
        let made = answer.is_some_and(|answer| may_refuse(answer).is_some());
        self.step().await;
        made
    }

    /// The version made last comes back signed, and is sent.
    async fn submit(&mut self) -> Transaction {
        let tx = self.operator.submit(&self.rig, self.operator.made.len() - 1).await.unwrap();
        self.rig.chain.send(tx.clone());
        self.step().await;
        tx
    }

    async fn abandon(&mut self) {
        let batch = self.operator.made.last().unwrap().0.clone();
        self.operator.abandon(&self.rig, &batch).await.unwrap();
        self.step().await;
    }

    /// The last blocks are replaced by one more, with these transactions in the first.
    async fn replace(&mut self, depth: u32, with: Vec<Transaction>) {
        self.rig.chain.fork(depth, vec![with]);
        self.rig.chain.mine_empty(depth);
        self.step().await;
    }
}

#[test]
fn a_refund_leaves_once_whatever_reorgs_do_to_it() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        assert!(play.prepare(CHEAP).await);
        assert_eq!(play.states().await, [PayoutState::Prepared]);
        let tx = play.submit().await;
        assert_eq!(play.states().await, [PayoutState::Broadcast]);
        play.mine(1).await;
        assert_eq!(
            (play.states().await, play.books().await.refunded_sat),
            (vec![PayoutState::Confirmed], 6000)
        );
        play.replace(1, vec![]).await;
        assert_eq!(
            (play.states().await, play.books().await.refundable_sat),
            (vec![PayoutState::Broadcast], 6000)
        );
        play.rig.chain.evict(&tx.compute_txid());
        play.step().await;
        assert!(!play.prepare(CHEAP).await && !play.prepare(CARELESS).await, "it is in a batch");
        play.rig.chain.send(tx);
        play.mine(1).await;
        assert_eq!(
            (play.states().await, play.books().await.refunded_sat),
            (vec![PayoutState::Confirmed], 6000)
        );
    });
}

#[test]
fn whatever_was_given_up_and_is_mined_all_the_same_has_paid() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        assert!(play.prepare(CHEAP).await);
        let first = signed(&play.operator.made[0].2);
        play.abandon().await;
        assert_eq!(play.states().await, [PayoutState::Due]);
        // The next one spends a coin of the first, with another fee.
        assert!(play.prepare(How { feerate_msat: 3000, ..CHEAP }).await);
        assert_eq!(play.batch_states().await, [BatchState::Replaced, BatchState::Prepared]);
        play.submit().await;
        play.rig.chain.mine(vec![first]);
        play.step().await;
        assert_eq!(play.batch_states().await, [BatchState::Confirmed, BatchState::Conflicted]);
        assert_eq!(
            (play.states().await, play.books().await.refunded_sat),
            (vec![PayoutState::Confirmed], 6000)
        );
        // The block is lost, and the second one is mined instead.
        let second = signed(&play.operator.made[1].2);
        play.replace(1, vec![second]).await;
        assert_eq!(play.batch_states().await, [BatchState::Conflicted, BatchState::Confirmed]);
        assert_eq!(play.books().await.refunded_sat, 6000);
    });
}

#[test]
fn whoever_does_not_make_the_earlier_transaction_impossible_is_refused() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        assert!(play.prepare(How { only: Some(0), ..CHEAP }).await);
        play.abandon().await;
        // A larger coin comes, which a careless draft takes first.
        play.pay(LOOSE, 90_000);
        play.mine(2).await;
        assert!(!play.prepare(CARELESS).await);
        assert!(play.prepare(CHEAP).await);
    });
}

#[test]
fn a_payout_waits_while_what_took_a_coin_of_its_batch_may_be_undone() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        assert!(play.prepare(CHEAP).await);
        play.submit().await;
        // The coin it spends was paid to us by somebody who takes it back.
        let coin = play.sent[0].0;
        let depth = play.rig.chain.tip().height - 12;
        let lease = play.sent[1].1.clone();
        play.replace(depth, vec![spend(&[coin], &[]), lease]).await;
        assert_eq!(play.batch_states().await, [BatchState::Conflicted]);
        let thief_at = play.rig.chain.tip().height - depth;
        play.pay(LOOSE, 30_000);
        play.mine(2).await;
        assert_eq!(play.states().await, [PayoutState::Due]);
        while play.rig.chain.tip().height < thief_at + 7 {
            assert!(!play.prepare(CARELESS).await, "it may still be mined");
            assert!(!play.prepare(CHEAP).await, "no coin of it can be spent");
            play.mine(1).await;
        }
        assert!(play.prepare(CHEAP).await, "what took its coin is eight deep");
    });
}

#[test]
fn what_is_reversed_after_it_was_paid_is_lost_until_it_comes_back() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        assert!(play.prepare(CHEAP).await);
        let batch = play.submit().await;
        play.mine(1).await;
        let (coin, payment) = play.sent[1].clone();
        let loose = play.sent[0].1.clone();
        let depth = play.rig.chain.tip().height - 12;
        let thief = spend(&[coin], &[]);
        play.replace(depth, vec![thief, loose.clone(), batch.clone()]).await;
        let books = play.books().await;
        assert_eq!((books.received_sat, books.lost_sat, books.refunded_sat), (0, 6000, 6000));
        let events = play.rig.events(play.leases[0].as_str()).await;
        assert!(events.contains(&"payout.lost".to_owned()), "{events:?}");
        // New money of the same lease is not paid back as long as so much is lost.
        play.pay(OWN, 7000);
        play.mine(2).await;
        let books = play.books().await;
        assert_eq!((books.lost_sat, books.refundable_sat), (0, 1000));
        let depth = play.rig.chain.tip().height - 12;
        play.replace(depth, vec![payment, loose, batch]).await;
        play.mine(2).await;
        let books = play.books().await;
        assert_eq!((books.lost_sat, books.refundable_sat, books.refunded_sat), (0, 7000, 6000));
    });
}

#[test]
fn nothing_is_due_when_the_money_behind_it_is_gone() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        let loose = play.loose().await[0].clone();
        play.loose_op(&Op::RefundLoose { of: 0, address: 0 }).await;
        play.step().await;
        assert_eq!(play.payouts(&loose).await[0].state, PayoutState::Due);
        assert_eq!(play.states().await, [PayoutState::Due]);
        let thieves = play.sent.iter().map(|(coin, _)| spend(&[*coin], &[])).collect();
        let depth = play.rig.chain.tip().height - 12;
        play.replace(depth, thieves).await;
        assert!(play.payouts(&loose).await.is_empty() && play.states().await.is_empty());
        assert_eq!(play.books().await, Books::default());
    });
}

#[test]
fn what_is_left_at_an_address_waits_when_it_is_not_enough_any_more() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        play.patch(0, Some(address(0))).await; // as the top-up's
        play.pay(TOP_UP, 300);
        play.mine(2).await;
        assert_eq!(play.states().await, [PayoutState::Due, PayoutState::Due]);
        let mut conn = play.rig.db.read().await.unwrap();
        let rows = db::payout::list_due(&mut conn, 100).await.unwrap();
        drop(conn);
        let large = rows.iter().position(|row| row.facts.amount_sat == 6000).unwrap();
        assert!(play.prepare(How { only: Some(large), ..CHEAP }).await);
        let mut states = play.states().await;
        states.sort_unstable();
        assert_eq!(states, [PayoutState::Waiting, PayoutState::Prepared]);
    });
}

#[test]
fn what_is_too_small_at_one_feerate_is_dust_in_the_books_until_it_goes_elsewhere() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        // Another lease is owed less, which a batch leaves out.
        play.pay(OTHER, 700);
        play.mine(2).await;
        play.end(1, Action::Return).await;
        play.patch(1, Some(address(2))).await;
        play.step().await;
        let other = async |play: &Play| play.rig.lease(&play.leases[1]).await.doc.booked;
        assert!(play.prepare(How { feerate_msat: 5000, ..CHEAP }).await);
        let books = other(&play).await;
        assert_eq!((books.dust_sat, books.refundable_sat), (700, 0));
        // More comes: it is another amount.
        play.pay(OTHER, 800);
        play.mine(2).await;
        let books = other(&play).await;
        assert_eq!((books.dust_sat, books.refundable_sat), (0, 1500));
    });
}

#[test]
fn another_address_takes_dust_back() {
    each(async |db| {
        let mut play = Play::new(db).await;
        play.pay(OWN, 700);
        play.mine(2).await;
        play.end(0, Action::Return).await;
        play.patch(0, Some(address(1))).await;
        play.step().await;
        assert!(!play.prepare(How { feerate_msat: 5000, ..CHEAP }).await);
        let books = play.books().await;
        assert_eq!((books.dust_sat, books.refundable_sat), (700, 0));
        play.patch(0, Some(address(2))).await;
        play.step().await;
        let books = play.books().await;
        assert_eq!((books.dust_sat, books.refundable_sat), (0, 700));
        assert!(play.prepare(CHEAP).await);
    });
}

#[test]
fn an_abandoned_transaction_that_somebody_raises_has_paid_all_that_it_pays() {
    each(async |db| {
        let mut play = Play::returned(db).await;
        play.loose_op(&Op::RefundLoose { of: 0, address: 0 }).await;
        play.pay(OTHER, 90_000);
        play.mine(2).await;
        assert!(play.prepare(CHEAP).await);
        play.abandon().await;
        // The next one pays only one of the two, and spends a coin of the first.
        assert!(play.prepare(How { only: Some(0), ..CHEAP }).await);
        let first = raised(&play.operator.made[0].2, None).unwrap();
        play.rig.chain.mine(vec![first]);
        play.step().await;
        let mut conn = play.rig.db.read().await.unwrap();
        let sums = db::ledger::sums(&mut conn, None).await.unwrap();
        let refunded = sums.iter().find(|(account, _)| *account == Account::Refunded);
        assert_eq!(refunded.map(|(_, sat)| *sat), Some(-31_000));
        drop(conn);
        assert!(!play.prepare(CHEAP).await, "nothing is owed any more");
    });
}
