//! What a keychain issued before is found, and nothing is issued until then.

use std::sync::Arc;

use bitcoin::Network;

use super::*;
use crate::app::{AppError, Code};
use crate::db::testing::each;
use crate::db::{DbError, Tx, WriteItem};
use crate::domain::resource::tests::gpu;
use crate::worker::rig::{AddKeychain, Rig};

/// Another account of the same key as [`crate::worker::rig::DESCRIPTOR`].
const OTHER: &str = "wpkh(tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp/9/<0;1>/*)";

struct Restore;

impl WriteItem for Restore {
    type Out = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        db::keychain::begin_recovery(tx.conn()).await
    }
}

async fn keychain(rig: &Rig, id: u32) -> KeychainRow {
    let mut conn = rig.db.read().await.unwrap();
    let rows = db::keychain::list(&mut conn).await.unwrap();
    rows.into_iter().find(|row| row.id == id).unwrap()
}

async fn unallocated(rig: &Rig) -> Vec<u32> {
    let mut conn = rig.db.read().await.unwrap();
    let filter = db::payment::Filter { loose: true, ..Default::default() };
    let rows = db::payment::list(&mut conn, &filter, 100).await.unwrap();
    let mut indexes: Vec<u32> = rows.iter().map(|row| row.index).collect();
    indexes.sort_unstable();
    indexes
}

#[test]
fn a_new_keychain_starts_at_0_and_all_others_far_beyond_what_is_known() {
    let reach = Reach { lookahead: 10, skip: 100 };
    let row = |recovery, next_index, highest_seen| KeychainRow {
        id: 1,
        identity: String::new(),
        descriptor: String::new(),
        next_index,
        highest_seen,
        recovery: Some(recovery),
        next_internal: 0,
    };
    assert_eq!(reach.next_index(&row(Recovery::New, 0, None)), 0);
    assert_eq!(reach.next_index(&row(Recovery::New, 0, Some(7))), 108);
    assert_eq!(reach.next_index(&row(Recovery::Restored, 0, None)), 100);
    assert_eq!(reach.next_index(&row(Recovery::Restored, 5, Some(2))), 105);
    assert_eq!(reach.next_index(&row(Recovery::Restored, 5, Some(20))), 121);
}

#[test]
fn a_restored_database_sells_nothing_until_the_chain_was_searched() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let (_, first) = rig.request(3600).await;
        assert_eq!(first.index, 0);
        rig.db.write(Restore).await.unwrap();
        let refused = rig.try_request(3600).await.unwrap_err();
        assert!(
            matches!(&refused, AppError::Refused(why) if why.code == Code::NotReady),
            "{refused}"
        );
        rig.round().await;
        let (_, next) = rig.request(3600).await;
        assert_eq!(next.index, 51, "50 are left out");
        // The first one is as good as ever.
        rig.pay(&[(first.script_pubkey.clone(), 500)]);
        rig.chain.mine_pending();
        rig.round().await;
        assert_eq!(rig.invoice(&first.facts.id).await.doc.payments.len(), 1);
    });
}

#[test]
fn indexes_are_searched_from_one_used_to_the_next_also_within_a_block() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        rig.db.write(Restore).await.unwrap();
        rig.restart();
        let script = |rig: &Rig, index| rig.shop.keychain.script(Branch::External, index);
        // 20 unused ones are watched: each of these is seen only when the one before it was.
        let pays: Vec<_> = [55, 37, 18].map(|index| (script(&rig, index), 1000)).to_vec();
        rig.pay(&pays);
        rig.chain.mine_pending();
        rig.pay(&[(script(&rig, 70), 1000)]);
        rig.pay(&[(script(&rig, 200), 1000)]);
        rig.chain.mine_pending();
        rig.round().await;
        assert_eq!(unallocated(&rig).await, [18, 37, 55, 70]);
        let row = keychain(&rig, 1).await;
        assert_eq!((row.next_index, row.recovery), (121, None));
        let (_, next) = rig.request(3600).await;
        assert_eq!(next.index, 121);
    });
}

#[test]
fn what_was_left_out_stays_watched_after_a_start() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        rig.request(3600).await;
        rig.db.write(Restore).await.unwrap();
        rig.round().await;
        rig.request(3600).await;
        rig.restart();
        let script = rig.shop.keychain.script(Branch::External, 33);
        rig.pay(&[(script, 1000)]);
        rig.chain.mine_pending();
        rig.round().await;
        assert_eq!(unallocated(&rig).await, [33]);
        let mut conn = rig.db.read().await.unwrap();
        let stored = db::keychain::scripts(&mut conn, 1, 0, 100).await.unwrap();
        assert_eq!(stored.len(), 52, "two invoices and 50 left out, without a gap");
        for (known, index) in stored.iter().zip(0..) {
            assert_eq!(known.index, index);
            assert_eq!(known.script_pubkey, rig.shop.keychain.script(Branch::External, index));
        }
    });
}

#[test]
fn a_descriptor_that_was_used_before_goes_on_beyond_its_coins() {
    each(async |db| {
        let mut rig = Rig::new(db, gpu()).await;
        let other = Arc::new(Keychain::parse(OTHER, Network::Regtest).unwrap());
        // In blocks that were followed before anybody knew of this keychain.
        for index in [3, 19, 30] {
            rig.pay(&[(other.script(Branch::External, index), 1000)]);
        }
        rig.chain.mine_pending();
        rig.round().await;
        rig.db.write(AddKeychain(other)).await.unwrap();
        rig.round().await;
        let row = keychain(&rig, 2).await;
        assert_eq!((row.highest_seen, row.next_index), (Some(30), 81));
        assert_eq!(row.recovery, None);
    });
}
