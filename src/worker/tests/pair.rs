//! Two servers on one database, each with a node of its own, and the nodes differ.

use std::sync::Arc;

use bitcoin::Txid;

use crate::chain::testing::{MemoryChain, spend};
use crate::db;
use crate::db::testing::each;
use crate::domain::ids::InvoiceId;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::payment::PaymentState;
use crate::domain::resource::tests::gpu;
use crate::worker::follow::Follow;
use crate::worker::rig::Rig;

type Other = (Arc<MemoryChain>, Follow<MemoryChain>);

/// Both servers follow, in turns; the stored tip does not move.
async fn rest(rig: &mut Rig, other: &mut Other) {
    let tip = rig.tip().await.hash;
    for _ in 0..3 {
        rig.round().await;
        assert_eq!(rig.tip().await.hash, tip, "the first server moved the tip");
        other.1.round().await.unwrap();
        assert_eq!(rig.tip().await.hash, tip, "the second server moved the tip");
    }
}

async fn state(rig: &Rig, invoice: &InvoiceId) -> PaymentState {
    rig.invoice(invoice).await.doc.payments[0].state
}

async fn last_seq(rig: &Rig) -> i64 {
    let mut conn = rig.db.read().await.unwrap();
    db::event::last_seq(&mut conn).await.unwrap()
}

#[test]
fn nodes_with_different_last_blocks_leave_the_tip_until_one_has_more() {
    //  A  ─12─X          B  ─12─Y      then  B  ─12─Y─Z
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let mut other = rig.beside();
        let (lease, invoice) = rig.request(7200).await;
        let paying = rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
        let ours = rig.chain.mine_pending();
        other.0.mine_empty(1);
        rig.round().await;
        assert_eq!(rig.tip().await.hash, ours.hash);
        let told = last_seq(&rig).await;
        rest(&mut rig, &mut other).await;
        // Each knows of the other's block, as nodes that are connected do.
        rig.chain.hear(&other.0);
        other.0.hear(&rig.chain);
        rest(&mut rig, &mut other).await;
        assert_eq!(last_seq(&rig).await, told, "nothing happened");
        // The other branch wins, without the payment.
        let theirs = other.0.mine(Vec::new());
        other.1.round().await.unwrap();
        assert_eq!(rig.tip().await.hash, theirs.hash);
        assert!(rig.lease(&lease).await.doc.at_risk);
        rest(&mut rig, &mut other).await;
        rig.chain.hear(&other.0);
        rest(&mut rig, &mut other).await;
        other.0.send(paying);
        let last = other.0.mine_pending();
        rig.chain.hear(&other.0);
        rig.round().await;
        assert_eq!(rig.tip().await.hash, last.hash);
        rest(&mut rig, &mut other).await;
        let row = rig.lease(&lease).await;
        assert_eq!((row.doc.at_risk, row.doc.announced.state), (false, LeaseState::Active));
        assert_eq!(row.doc.standing.credits.len(), 1);
    });
}

#[test]
fn a_chain_taken_back_on_one_node_alone_is_rewound_though_nothing_takes_its_place() {
    //  0─…─12─13*─14  →  0─…─12*╳13╳14
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let height = rig.tip().await.height;
        rig.chain.mine_empty(2);
        rig.round().await;
        rig.chain.fork(2, Vec::new());
        rig.round().await;
        assert_eq!(rig.tip().await.height, height);
    });
}

/// A payment that waits in the mempool of the first server's node alone.
async fn pay_one_node(rig: &mut Rig) -> (InvoiceId, Txid) {
    let (_, invoice) = rig.request(7200).await;
    let txid = rig.pay(&[(invoice.script_pubkey, 1000)]).compute_txid();
    rig.round().await;
    (invoice.facts.id, txid)
}

#[test]
fn a_payment_in_the_mempool_of_one_node_alone_is_on_its_way() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let mut other = rig.beside();
        let (invoice, txid) = pay_one_node(&mut rig).await;
        let told = last_seq(&rig).await;
        for _ in 0..10 {
            rest(&mut rig, &mut other).await;
            assert_eq!(state(&rig, &invoice).await, PaymentState::Mempool);
            rig.clock.advance_s(30);
        }
        assert_eq!(last_seq(&rig).await, told, "nothing happened");
        rig.chain.evict(&txid);
        rig.round().await;
        assert_eq!(state(&rig, &invoice).await, PaymentState::Gone);
        rest(&mut rig, &mut other).await;
        assert_eq!(state(&rig, &invoice).await, PaymentState::Gone);
    });
}

#[test]
fn what_one_node_lost_and_another_has_is_on_its_way() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let mut other = rig.beside();
        let (_, invoice) = rig.request(7200).await;
        let paying = rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
        other.0.send(paying.clone());
        rest(&mut rig, &mut other).await;
        rig.chain.evict(&paying.compute_txid());
        rest(&mut rig, &mut other).await;
        for _ in 0..3 {
            assert_eq!(state(&rig, &invoice.facts.id).await, PaymentState::Mempool);
            rig.round().await;
        }
    });
}

#[test]
fn a_payment_that_only_a_server_that_died_had_seen_is_gone_after_a_while() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let mut other = rig.beside();
        let (invoice, _) = pay_one_node(&mut rig).await;
        rig.clock.advance_s(119);
        other.1.round().await.unwrap();
        assert_eq!(state(&rig, &invoice).await, PaymentState::Mempool);
        rig.clock.advance_s(1);
        other.1.round().await.unwrap();
        assert_eq!(state(&rig, &invoice).await, PaymentState::Gone);
        // It lives: what it has counts again.
        rig.round().await;
        assert_eq!(state(&rig, &invoice).await, PaymentState::Mempool);
    });
}

#[test]
fn a_payment_that_conflicts_on_one_node_alone_is_conflicted_until_it_is_mined() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let mut other = rig.beside();
        let (_, invoice) = rig.request(7200).await;
        let coin = rig.coin();
        rig.chain.send(spend(&[coin], &[(invoice.script_pubkey.clone(), 1000)]));
        rig.round().await;
        other.0.send(spend(&[coin], &[]));
        other.1.round().await.unwrap();
        for _ in 0..3 {
            rest(&mut rig, &mut other).await;
            assert_eq!(state(&rig, &invoice.facts.id).await, PaymentState::Conflicted);
            rig.clock.advance_s(60);
        }
        rig.chain.mine_pending();
        rig.round().await;
        assert_eq!(state(&rig, &invoice.facts.id).await, PaymentState::Credited);
    });
}
