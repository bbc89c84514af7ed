//! A database restored from a backup that knows a batch, but not what became of it.

use super::*;
use crate::restore::{back_up, restore, set_wallet};

fn resume(shop: &Shop) -> Value {
    shop.wait_for_wallet();
    let (status, found) = shop.operate(Method::POST, "payouts/resume", Some(&json!({})));
    assert_eq!(status, 200, "{found}");
    found
}

/// Goes back to the backup, and lets payouts go on.
fn go_back(shop: &mut Shop) {
    let copy = shop.folder().join("copy.db");
    set_wallet(shop, "recover_lookahead = 100\nrecover_skip = 100");
    restore(shop, &copy);
    let found = resume(shop);
    assert_eq!(found["resumed"], true, "{found}");
}

/// A bumped version that the backup does not know waits in the mempool when payouts go on.
#[test]
fn a_version_made_since_the_backup_that_is_mined_later_pays_once() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        let holders = holders(shop, 2);
        let batch = shop.prepare(&json!({}));
        shop.sign_and_submit(signer, &batch);
        back_up(shop, &shop.folder().join("copy.db"));
        shop.bump(&batch, 4000);
        let bumped = shop.sign_and_submit(signer, &psbt_of(shop, &batch, 2));
        seen_pending(shop, &bumped["id"], 2);
        go_back(shop);
        nothing_due(shop);
        assert_eq!(shop.node.mempool().len(), 1);
        shop.node.mine(6);
        shop.wait_for_tip();
        nothing_due(shop);
        paid_once(shop, &holders);
    });
}

/// Given up and prepared again since the backup, and sent.
#[test]
fn a_batch_made_since_the_backup_that_is_mined_later_pays_once() {
    each_signed(Kind::Wpkh, STORM, |shop, signer| {
        deposit(shop, 500_000);
        let holders = holders(shop, 2);
        let first = shop.prepare(&json!({}));
        back_up(shop, &shop.folder().join("copy.db"));
        abandon(shop, &first);
        let second = shop.prepare(&json!({}));
        shop.sign_and_submit(signer, &second);
        seen_pending(shop, &second["id"], 1);
        go_back(shop);
        nothing_due(shop);
        shop.node.mine(6);
        shop.wait_for_tip();
        nothing_due(shop);
        paid_once(shop, &holders);
    });
}
