//! A database restored from a backup: what was issued since is never issued again, and what was
//! paid since is found.

use serde_json::json;

use crate::harness::daemon::once;

#[test]
fn a_restored_backup_issues_no_index_twice_and_finds_what_was_paid_since() {
    once(|shop| {
        let before = shop.rent("shared", 3600);
        let copy = shop.folder().join("copy.db");
        let file = copy.to_str().expect("the folder's name is text");
        let status = shop.command(&["backup", file]).status().expect("the program starts");
        assert!(status.success(), "{status}");

        // Issued after the backup: one is paid, the other never.
        let paid = shop.rent("shared", 3600);
        let unpaid = shop.rent("shared", 3600);
        shop.node.send(&paid.address, 3600);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &paid.lease, |it| it["state"] == "active");
        shop.stop();
        for ending in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(shop.folder().join(format!("leasehold.db{ending}")));
        }
        std::fs::rename(&copy, shop.folder().join("leasehold.db")).expect("the folder is ours");
        shop.start();

        let next = shop.rent("shared", 3600);
        for known in [&before, &paid, &unpaid] {
            assert_ne!(next.address, known.address);
        }
        let index = |id: &str| shop.invoice(id)["derivation_index"].as_u64();
        assert!(index(&next.invoice) > Some(2), "{:?}", index(&next.invoice));
        let key = std::fs::read_to_string(shop.folder().join("admin.key")).expect("it is there");
        let inbox = crate::harness::wait::until("the money to be found", || {
            let path = "/v1/admin/payments?unallocated=true";
            let (_, list) = shop.ask(reqwest::Method::GET, path, Some(key.trim()), None);
            Some(list.clone()).filter(|list| list["items"][0]["state"] == "credited").ok_or(list)
        });
        assert_eq!(inbox["items"][0]["amount_sat"], json!(3600));
        assert_eq!(inbox["items"][0]["disposition"], "unallocated");
        // The first request can still be paid.
        shop.node.send(&before.address, 3600);
        shop.node.mine(1);
        shop.lease_until("the lease to be active", &before.lease, |it| it["state"] == "active");
    });
}
