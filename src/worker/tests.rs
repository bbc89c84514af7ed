//! The whole way through the real database on an in-memory chain: request, pay, mine, lease.

mod crowd;
mod pair;
mod payouts;
mod schedule;

use std::sync::Arc;

use bitcoin::Network;

use super::rig::{AddKeychain, Rig};
use crate::app::rescan::{self, Progress, RescanState};
use crate::chain::ChainError;
use crate::chain::testing::spend;
use crate::clock::Clock;
use crate::db;
use crate::db::testing::each;
use crate::domain::invoice::InvoiceStatus;
use crate::domain::keychain::{Branch, Keychain};
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::payment::PaymentState;
use crate::domain::resource::tests::gpu;

#[test]
fn a_paid_request_becomes_a_lease_at_its_first_confirmation() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, invoice) = rig.request(7200).await;
        assert_eq!(rig.lease(&lease).await.unit.as_deref(), Some("gpu-1"));
        rig.pay(&[(invoice.script_pubkey.clone(), 1000)]);
        rig.round().await;
        let seen = rig.invoice(&invoice.facts.id).await;
        assert_eq!(seen.status, InvoiceStatus::Confirming);
        assert_eq!(seen.doc.payments[0].state, PaymentState::Mempool);
        rig.chain.mine_pending();
        rig.round().await;
        let paid = rig.invoice(&invoice.facts.id).await;
        assert_eq!(paid.status, InvoiceStatus::Settled);
        let row = rig.lease(&lease).await;
        let look = row.doc.standing.at(rig.clock.now());
        assert_eq!(look.state, LeaseState::Active);
        assert_eq!(look.remaining_s, 7200);
        assert_eq!(
            rig.events(lease.as_str()).await,
            [
                "lease.created",
                "payment.seen",
                "payment.confirmed",
                "payment.credited",
                "lease.provisioning",
                "lease.activated"
            ]
        );
    });
}

#[test]
fn a_lease_runs_out_and_gives_its_unit_back() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, invoice) = rig.request(3600).await;
        rig.pay(&[(invoice.script_pubkey.clone(), 500)]);
        rig.chain.mine_pending();
        rig.round().await;
        rig.clock.advance_s(3601);
        rig.round().await;
        let state = async |rig: &Rig| rig.lease(&lease).await.doc.announced.state;
        assert_eq!(state(&rig).await, LeaseState::Grace);
        rig.clock.advance_s(600);
        rig.round().await;
        assert_eq!(state(&rig).await, LeaseState::Ended);
        assert_eq!(rig.lease(&lease).await.unit, None);
        rig.clock.advance_s(2_592_000);
        rig.round().await;
        rig.pay(&[(invoice.script_pubkey.clone(), 500)]);
        rig.chain.mine_pending();
        rig.round().await;
        let row = rig.lease(&lease).await;
        assert_eq!(
            (row.doc.announced.state, row.doc.announced.generation),
            (LeaseState::Active, 2)
        );
    });
}

#[test]
fn a_double_spent_credit_is_reversed_and_a_returning_one_is_not() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, invoice) = rig.request(7200).await;
        let coin = rig.coin();
        let paying = spend(&[coin], &[(invoice.script_pubkey.clone(), 1000)]);
        rig.chain.send(paying.clone());
        rig.chain.mine_pending();
        rig.round().await;
        let before = rig.lease(&lease).await.doc.standing.paid_until;
        rig.chain.fork(1, vec![vec![], vec![paying.clone()]]);
        rig.round().await;
        assert_eq!(rig.lease(&lease).await.doc.standing.paid_until, before);
        rig.clock.advance_s(3600);
        rig.chain.fork(1, vec![vec![spend(&[coin], &[])], vec![]]);
        rig.round().await;
        let row = rig.lease(&lease).await;
        assert_eq!(row.doc.announced.state, LeaseState::Grace);
        assert_eq!(row.doc.booked.received_sat, 0);
        let events = rig.events(lease.as_str()).await;
        assert!(events.contains(&"payment.reversed".to_owned()), "{events:?}");
    });
}

/// Another account of the same kind.
const LATER: &str = "wpkh(tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUGLnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvosUCJZL5B/<0;1>/*)";

/// A rescan of the whole chain, to its end.
async fn rescan(rig: &Rig) -> Progress {
    let (handle, desk) = rescan::channel();
    handle.reserve().unwrap().start(0, rig.chain.tip().height);
    let progress = handle.progress();
    drop(handle);
    let (chain, db) = (rig.chain.clone(), rig.db.clone());
    super::rescan::run(chain, db, Network::Regtest, desk).await.unwrap();
    progress.borrow().clone()
}

#[test]
fn a_rescan_finds_what_a_known_transaction_pays_an_account_that_came_later() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, invoice) = rig.request(7200).await;
        let later = Keychain::parse(LATER, Network::Regtest).unwrap();
        let script = later.script(Branch::External, 5);
        rig.pay(&[(invoice.script_pubkey.clone(), 1000), (script, 4000)]);
        rig.chain.mine_pending();
        rig.round().await;
        rig.db.write(AddKeychain(Arc::new(later))).await.unwrap();
        rig.round().await;
        rig.chain.fail_next(ChainError::WarmingUp { detail: "loading".into() });
        let first = rescan(&rig).await;
        assert_eq!((first.state, first.found, first.failure), (RescanState::Done, 1, None));
        rig.round().await;
        let payments = async |rig: &Rig| {
            let mut conn = rig.db.read().await.unwrap();
            db::payment::list(&mut conn, &db::payment::Filter::default(), 10).await.unwrap()
        };
        let found = payments(&rig).await;
        let other = found.iter().find(|row| row.lease.is_none()).unwrap();
        assert_eq!(
            (other.facts.amount_sat, other.loose.books.received_sat, other.index),
            (4000, 4000, 5)
        );
        assert_eq!(rig.lease(&lease).await.doc.standing.credits.len(), 1);
        let before = rig.events(lease.as_str()).await;
        assert_eq!(rescan(&rig).await.found, 0);
        rig.round().await;
        assert_eq!(rig.events(lease.as_str()).await, before);
        assert_eq!(payments(&rig).await.len(), 2);
    });
}

#[test]
fn a_rescan_finds_what_took_the_place_of_a_payment() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (_, invoice) = rig.request(7200).await;
        let coin = rig.coin();
        rig.chain.send(spend(&[coin], &[(invoice.script_pubkey.clone(), 1000)]));
        rig.round().await;
        rig.chain.mine(vec![spend(&[coin], &[])]);
        let tip = rig.chain.tip();
        rig.skip_to(tip).await;
        rig.round().await;
        let state = async |rig: &Rig| rig.invoice(&invoice.facts.id).await.doc.payments[0].state;
        assert_eq!(state(&rig).await, PaymentState::Gone);
        assert_eq!(rescan(&rig).await.found, 0);
        rig.round().await;
        assert_eq!(state(&rig).await, PaymentState::Replaced);
    });
}
