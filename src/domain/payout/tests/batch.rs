//! Where a batch stands, from where its versions are.

use super::txid;
use crate::domain::payout::batch::{Batch, BatchState, Version};

/// Where a version is, besides the number.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    submitted: bool,
    in_mempool: bool,
    height: Option<u32>,
    conflict: Option<u32>,
}

const NEW: At = At { submitted: false, in_mempool: false, height: None, conflict: None };
const SIGNED: At = At { submitted: true, ..NEW };
const SENT: At = At { in_mempool: true, ..SIGNED };
const SEEN: At = At { in_mempool: true, ..NEW };
const MINED: At = At { height: Some(100), ..NEW };
const LOST: At = At { submitted: true, conflict: Some(100), ..NEW };

fn batch(versions: &[At]) -> Batch {
    let version = |(n, at): (u32, &At)| Version {
        n,
        txid: txid(u8::try_from(n).unwrap()),
        submitted: at.submitted,
        in_mempool: at.in_mempool,
        height: at.height,
        conflict_height: at.conflict,
    };
    let versions = (1..).zip(versions).map(version).collect();
    Batch { abandoned: false, replaced: false, versions }
}

fn abandoned(versions: &[At]) -> Batch {
    Batch { abandoned: true, ..batch(versions) }
}

fn replaced(versions: &[At]) -> Batch {
    Batch { replaced: true, ..abandoned(versions) }
}

#[test]
fn a_batch_stands_where_its_furthest_version_is() {
    for (versions, expected) in [
        (vec![NEW], BatchState::Prepared),
        (vec![NEW, NEW], BatchState::Prepared),
        (vec![SIGNED], BatchState::Broadcast),
        (vec![SIGNED, NEW], BatchState::Broadcast),
        (vec![SEEN], BatchState::Broadcast),
        (vec![NEW, SEEN], BatchState::Broadcast),
        (vec![MINED], BatchState::Confirmed),
        (vec![MINED, SEEN], BatchState::Confirmed),
        (vec![LOST, MINED], BatchState::Confirmed),
        (vec![LOST], BatchState::Conflicted),
        (vec![LOST, LOST], BatchState::Conflicted),
        (vec![LOST, NEW], BatchState::Broadcast),
        (vec![At { conflict: Some(100), ..NEW }, NEW], BatchState::Prepared),
        (vec![LOST, SEEN], BatchState::Broadcast),
    ] {
        assert_eq!(batch(&versions).state(), expected, "{versions:?}");
    }
}

#[test]
fn what_was_given_up_stays_so_until_somebody_sends_it() {
    for (versions, given_up, taken) in [
        (vec![NEW], BatchState::Abandoned, BatchState::Replaced),
        (vec![SIGNED], BatchState::Abandoned, BatchState::Replaced),
        (vec![SIGNED, SEEN], BatchState::Broadcast, BatchState::Broadcast),
        (vec![SIGNED, MINED], BatchState::Confirmed, BatchState::Confirmed),
        (vec![LOST, NEW], BatchState::Abandoned, BatchState::Replaced),
        (vec![LOST, LOST], BatchState::Conflicted, BatchState::Conflicted),
    ] {
        assert_eq!(abandoned(&versions).state(), given_up, "{versions:?}");
        assert_eq!(replaced(&versions).state(), taken, "{versions:?}");
    }
}

#[test]
fn only_a_batch_that_waits_or_is_on_its_way_binds_its_payouts() {
    let alive: Vec<_> = BatchState::ALL.into_iter().filter(|state| state.is_alive()).collect();
    assert_eq!(alive, [BatchState::Prepared, BatchState::Broadcast]);
    for state in BatchState::ALL {
        assert_eq!(BatchState::parse(state.as_str()), Some(state));
    }
}

#[test]
fn the_version_to_show_is_the_mined_one_else_the_newest_which_is_to_be_signed() {
    for (versions, expected) in [
        (vec![], None),
        (vec![NEW, NEW], Some(2)),
        (vec![SEEN, NEW], Some(2)),
        (vec![SEEN, SIGNED, SEEN, NEW], Some(4)),
        (vec![MINED, SEEN, NEW], Some(1)),
        (vec![LOST, SIGNED], Some(2)),
    ] {
        let leading = batch(&versions).leading().map(|version| version.n);
        assert_eq!(leading, expected, "{versions:?}");
    }
}

#[test]
fn the_newest_signed_version_is_sent_until_it_or_a_newer_one_is_somewhere() {
    for (versions, expected) in [
        (vec![NEW], None),
        (vec![SIGNED], Some(1)),
        (vec![SIGNED, NEW], Some(1)),
        (vec![SIGNED, SIGNED], Some(2)),
        (vec![SIGNED, LOST], Some(1)),
        (vec![LOST], None),
        (vec![SIGNED, SEEN], None),
        (vec![SEEN, SIGNED], Some(2)),
        (vec![SENT, SIGNED], Some(2)),
        (vec![SENT, NEW], None),
        (vec![SENT, LOST], None),
        (vec![MINED, SIGNED], None),
    ] {
        let sent = |batch: &Batch| batch.to_send().map(|version| version.n);
        assert_eq!(sent(&batch(&versions)), expected, "{versions:?}");
        assert_eq!(sent(&abandoned(&versions)), None);
        assert_eq!(sent(&replaced(&versions)), None);
    }
}

#[test]
fn a_version_is_dead_once_what_took_its_coin_is_final() {
    for (at, tip, expected) in [
        (LOST, 104, false), // five confirmations
        (LOST, 105, true),
        (LOST, 200, true),
        (LOST, 99, false), // the tip went back
        (LOST, 0, false),
        (SIGNED, 200, false),
        (At { conflict: Some(100), ..MINED }, 200, false),
    ] {
        let version = &batch(&[at]).versions[0];
        assert_eq!(version.is_dead(tip, 6), expected, "{at:?} at {tip}");
    }
}

#[test]
fn the_chain_alone_changes_a_batch_next_when_a_version_dies() {
    let other = At { conflict: Some(103), ..SIGNED };
    for (versions, tip, expected) in [
        (vec![SIGNED, MINED], 100, None),
        (vec![LOST], 100, Some(105)),
        (vec![LOST], 104, Some(105)),
        (vec![LOST], 105, None),
        (vec![LOST, other], 104, Some(105)),
        (vec![LOST, other], 105, Some(108)),
    ] {
        let next = batch(&versions).next_height(tip, 6);
        assert_eq!(next, expected, "{versions:?} at {tip}");
        if let Some(height) = next {
            let dead = |at| {
                let all = batch(&versions).versions;
                all.iter().filter(|version| version.is_dead(at, 6)).count()
            };
            assert!(dead(height) > dead(height - 1), "that is the height at which one dies");
        }
    }
}
