//! What strangers can do at little cost, many leases for few units, and a node that is not
//! believed for a while: nobody is held up, nobody is forgotten.

use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::add_invoice::{AddInvoice, Ask};
use crate::app::apply_catalog::ApplyCatalog;
use crate::app::operate::PauseResource;
use crate::app::settle::{Ground, settle};
use crate::app::{AppError, Code};
use crate::clock::Clock;
use crate::db::invoice::InvoiceRow;
use crate::db::lease::LeaseRow;
use crate::db::testing::each;
use crate::db::{self, Db, DbError, Tx, WriteItem};
use crate::domain::ids::{InvoiceId, LeaseId};
use crate::domain::invoice::InvoiceStatus;
use crate::domain::lease::Buys;
use crate::domain::lease::snapshot::LeaseState;
use crate::domain::resource::Terms;
use crate::domain::resource::tests::gpu;
use crate::worker::rig::Rig;

/// Settles a lease for another reason than the chain or the clock.
struct Settle(LeaseId, Ground);

impl WriteItem for Settle {
    type Out = Option<LeaseRow>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Option<LeaseRow>, DbError> {
        settle(tx, &self.1, &self.0, None).await
    }
}

async fn state(rig: &Rig, lease: &LeaseId) -> LeaseState {
    rig.lease(lease).await.doc.announced.state
}

/// Asks for an hour, pays it and has it mined with everything else.
async fn paid(rig: &mut Rig, orders: &[(LeaseId, InvoiceRow)]) {
    for (_, invoice) in orders {
        rig.pay(&[(invoice.script_pubkey.clone(), 500)]);
    }
    rig.chain.mine_pending();
    rig.round().await;
}

async fn top_up(rig: &Rig, lease: &LeaseId) -> InvoiceId {
    let item = AddInvoice {
        shop: rig.shop.clone(),
        now: rig.clock.now(),
        lease: lease.clone(),
        ask: Ask::Amount(500),
        refund_address: None,
        source: None,
        key: None,
    };
    let outcome = rig.db.write(item).await.unwrap();
    InvoiceId::parse(outcome.body["invoice"]["id"].as_str().unwrap()).unwrap()
}

async fn apply(rig: &Rig, catalog: Vec<Terms>) {
    let item =
        ApplyCatalog { catalog, now: rig.clock.now(), actor: None, dry_run: false, expect: None };
    rig.db.write(item).await.unwrap();
}

async fn pause(rig: &Rig, pause: bool) {
    let (ground, actor) = (rig.ground(), "test".to_owned());
    let item = PauseResource { ground, resource: "gpu-small".into(), pause, actor };
    rig.db.write(item).await.unwrap();
}

#[test]
fn a_thousand_outputs_to_one_address_are_a_thousand_credits_and_one_lease() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, invoice) = rig.request(3600).await;
        rig.pay(&vec![(invoice.script_pubkey.clone(), 294); 1000]);
        rig.chain.mine_pending();
        rig.round().await;
        let row = rig.lease(&lease).await;
        assert_eq!(row.doc.announced.state, LeaseState::Active);
        assert_eq!(row.doc.standing.credits.len(), 1000);
        let seconds: u64 = row.doc.standing.credits.iter().map(|line| line.seconds).sum();
        assert_eq!(seconds, 294_000 * 3600 / 500);
        assert_eq!(row.doc.booked.received_sat, 294_000);
        let mut conn = rig.db.read().await.unwrap();
        let its = db::event::Filter::about(lease.as_str());
        let events = db::event::oldest(&mut conn, &its, 0, 10_000);
        let events = events.await.unwrap();
        let count = |kind: &str| events.iter().filter(|event| event.kind == kind).count();
        assert_eq!((count("payment.seen"), count("payment.credited")), (1000, 1000));
        assert_eq!((count("lease.activated"), count("lease.grace")), (1, 0));
    });
}

#[test]
fn invoices_that_nobody_pays_are_not_read_but_late_money_to_one_counts() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let order = rig.request(3600).await;
        paid(&mut rig, std::slice::from_ref(&order)).await;
        let mut invoices = Vec::new();
        for _ in 0..5 {
            invoices.push(top_up(&rig, &order.0).await);
        }
        let read = async |rig: &Rig| {
            let mut conn = rig.db.read().await.unwrap();
            db::invoice::list_to_settle(&mut conn, &order.0).await.unwrap().len()
        };
        assert_eq!(read(&rig).await, 6);
        rig.clock.advance_s(1801);
        rig.round().await;
        assert_eq!(read(&rig).await, 1, "the first only");
        assert_eq!(rig.invoice(&invoices[2]).await.status, InvoiceStatus::Expired);
        let script = rig.invoice(&invoices[2]).await.script_pubkey;
        rig.pay(&[(script, 500)]);
        rig.chain.mine_pending();
        rig.round().await;
        assert_eq!(rig.invoice(&invoices[2]).await.status, InvoiceStatus::Settled);
        assert_eq!(read(&rig).await, 2);
        assert_eq!(rig.lease(&order.0).await.doc.standing.credits.len(), 2);
    });
}

/// Four paid requests for two units: the first two run, the others wait.
async fn two_run_two_wait(db: Db) -> (Rig, Vec<(LeaseId, InvoiceRow)>) {
    let mut rig = Rig::new(db, gpu()).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        orders.push(rig.request(3600).await);
    }
    paid(&mut rig, &orders[..2]).await;
    for order in &orders[2..] {
        rig.clock.advance_s(30);
        paid(&mut rig, std::slice::from_ref(order)).await;
    }
    for (place, (lease, _)) in orders.iter().enumerate() {
        let expected = if place < 2 { LeaseState::Active } else { LeaseState::Unfunded };
        assert_eq!(state(&rig, lease).await, expected, "{place}");
    }
    (rig, orders)
}

#[test]
fn units_that_come_free_at_once_go_to_all_who_wait() {
    each(async |db| {
        let (mut rig, orders) = two_run_two_wait(db).await;
        rig.clock.advance_s(3600 + 600);
        rig.round().await;
        for (place, (lease, _)) in orders.iter().enumerate() {
            let expected = if place < 2 { LeaseState::Ended } else { LeaseState::Active };
            assert_eq!(state(&rig, lease).await, expected, "{place}");
        }
    });
}

#[test]
fn who_waits_while_a_resource_is_paused_starts_when_it_goes_on() {
    each(async |db| {
        let (mut rig, orders) = two_run_two_wait(db).await;
        pause(&rig, true).await;
        rig.clock.advance_s(3600 + 600);
        rig.round().await;
        for (lease, _) in &orders[2..] {
            rig.db.write(Settle(lease.clone(), rig.ground())).await.unwrap();
            assert_eq!(state(&rig, lease).await, LeaseState::Unfunded);
        }
        pause(&rig, false).await;
        rig.round().await;
        for (lease, _) in &orders[2..] {
            assert_eq!(state(&rig, lease).await, LeaseState::Active);
        }
    });
}

#[test]
fn a_unit_that_came_free_is_not_held_for_a_new_request_while_somebody_waits() {
    each(async |db| {
        let (mut rig, orders) = two_run_two_wait(db).await;
        let sold_out = rig.try_request(3600).await.unwrap_err();
        let refusal = sold_out.refusal().expect("it is refused");
        let grace_end = rig.clock.now().plus_s(3600 - 60 + 600);
        assert_eq!((refusal.code, refusal.available_at), (Code::SoldOut, Some(grace_end)));
        let item = ActOnLease {
            ground: rig.ground(),
            lease: orders[0].0.clone(),
            action: Action::Return,
            actor: None,
        };
        rig.db.write(item).await.unwrap();
        let (new, _) = rig.request(3600).await;
        assert_eq!(rig.lease(&new).await.unit, None, "it belongs to who waits");
        rig.round().await;
        assert_eq!(state(&rig, &orders[2].0).await, LeaseState::Active, "who waited longest");
        assert_eq!(state(&rig, &orders[3].0).await, LeaseState::Unfunded);
    });
}

#[test]
fn a_hold_that_ends_while_the_node_is_not_believed_is_given_back_afterwards() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (lease, _) = rig.request(3600).await;
        assert_eq!(rig.lease(&lease).await.unit.as_deref(), Some("gpu-1"));
        rig.clock.advance_s(1900);
        let ground = Ground { trusted: false, ..rig.ground() };
        rig.db.write(Settle(lease.clone(), ground)).await.unwrap();
        assert_eq!(rig.lease(&lease).await.unit.as_deref(), Some("gpu-1"), "nothing is released");
        rig.round().await;
        assert_eq!(rig.lease(&lease).await.unit, None);
    });
}

#[test]
fn money_that_was_mined_before_a_resource_closed_buys_time_also_when_it_is_found_later() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let order = rig.request(3600).await;
        paid(&mut rig, std::slice::from_ref(&order)).await;
        rig.restart();
        rig.clock.advance_s(1200);
        rig.chain.set_next_time(rig.clock.now());
        rig.pay(&[(order.1.script_pubkey.clone(), 500)]);
        rig.chain.mine_pending();
        rig.clock.advance_s(600);
        apply(&rig, Vec::new()).await;
        rig.chain.set_next_time(rig.clock.now().plus_s(60));
        rig.pay(&[(order.1.script_pubkey.clone(), 500)]);
        rig.chain.mine_pending();
        rig.clock.advance_s(600);
        rig.round().await;
        let credits = rig.lease(&order.0).await.doc.standing.credits;
        let buys: Vec<Buys> = credits.iter().map(|line| line.buys).collect();
        assert_eq!(buys, [Buys::Time, Buys::Time, Buys::Refund]);
    });
}

#[test]
fn what_is_done_to_a_lease_comes_after_its_end() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let order = rig.request(3600).await;
        paid(&mut rig, std::slice::from_ref(&order)).await;
        rig.clock.advance_s(3600 + 600);
        let suspend = |rig: &Rig| ActOnLease {
            ground: rig.ground(),
            lease: order.0.clone(),
            action: Action::Suspend,
            actor: Some("test".into()),
        };
        // Its end is due and was not written yet.
        let row = rig.db.write(suspend(&rig)).await.unwrap();
        assert_eq!(row.doc.announced.state, LeaseState::Ended);
        let refused = rig.db.write(suspend(&rig)).await.unwrap_err();
        assert!(matches!(&refused, AppError::Refused(it) if it.code == Code::LeaseEnded));
        paid(&mut rig, std::slice::from_ref(&order)).await;
        assert_eq!(state(&rig, &order.0).await, LeaseState::Active, "not suspended");
    });
}

#[test]
fn while_the_node_is_syncing_nothing_counts_and_nothing_ends() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let order = rig.request(3600).await;
        paid(&mut rig, std::slice::from_ref(&order)).await;
        rig.chain.pretend(|node| {
            node.initial_block_download = true;
            node.headers += 100;
        });
        let other = rig.request(3600).await;
        paid(&mut rig, std::slice::from_ref(&other)).await;
        rig.clock.advance_s(3600 + 600);
        rig.round().await;
        assert_eq!(state(&rig, &order.0).await, LeaseState::Active, "as it was settled last");
        assert_eq!(rig.lease(&order.0).await.unit.as_deref(), Some("gpu-1"));
        assert!(rig.lease(&other.0).await.doc.standing.credits.is_empty());
        rig.chain.pretend(|_| {});
        rig.round().await;
        assert_eq!(state(&rig, &order.0).await, LeaseState::Ended);
        assert_eq!(state(&rig, &other.0).await, LeaseState::Active);
    });
}
