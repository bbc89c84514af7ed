//! The whole way through the real database on an in-memory chain: request, pay, mine, lease.

mod pair;
mod schedule;

use super::rig::Rig;
use crate::chain::testing::spend;
use crate::clock::Clock;
use crate::db::testing::each;
use crate::domain::invoice::InvoiceStatus;
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
