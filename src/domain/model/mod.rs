//! The whole of it at once: a node, a server and a schedule of everything that can happen to
//! them. However it went, it ends as if the final chain had been applied once.

mod node;
mod schedule;
mod server;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed};

use self::schedule::{Play, ops, setups};
use self::server::Record;
use super::event::EventKind;
use super::lease::course::course;
use super::lease::fold::{Phase, Standing, fold};
use super::lease::tests::check;
use super::lease::{Buys, Facts, What};
use super::payment::Counted;
use super::time::Timestamp;

/// Schedules of the everyday tier and of the long one.
const CASES: (u32, u32) = (10_000, 100_000);

/// The same schedules at every run, so that nobody meets the failure of another's change;
/// `PROPTEST_CASES` and `PROPTEST_RNG_SEED` ask for more and for others.
fn config() -> Config {
    let wanted = Config::default();
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    let long = std::env::var_os("LEASEHOLD_TEST_LONG").is_some();
    let usual = if long { CASES.1 } else { CASES.0 };
    Config {
        cases: if asked { wanted.cases } else { usual },
        rng_seed: match wanted.rng_seed {
            RngSeed::Random => RngSeed::Fixed(8_719_131),
            fixed => fixed,
        },
        // The default generator takes most of the time without optimisation.
        rng_algorithm: RngAlgorithm::XorShift,
        failure_persistence: None,
        ..wanted
    }
}

/// Milliseconds of use between two moments.
fn used_ms(standing: &Standing, from: Timestamp, to: Timestamp) -> i64 {
    match (standing.phase, standing.paid_until) {
        (Phase::Live, Some(until)) if standing.suspended_at.is_none() => {
            (until.min(to).millis() - from.millis()).max(0)
        }
        _ => 0,
    }
}

/// Milliseconds that a lease was usable and still is.
fn usable_ms(record: &Record) -> i64 {
    let first = &record.facts.terms.version(1).unwrap().terms;
    let mut standing = Standing::new(record.facts.lease.created_at, 1, first);
    let mut total = 0;
    for entry in &record.facts.entries {
        total += used_ms(&standing, standing.last_at, entry.moment_at);
        standing.apply(entry, &record.facts.terms);
    }
    let at = standing.suspended_at.unwrap_or(standing.last_at);
    let left = match standing.paid_until {
        Some(until) => (until.millis() - at.millis()).max(0),
        None => ms(standing.pending_s),
    };
    total + left
}

fn ms(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap() * 1000
}

/// Seconds of all credits that ever counted as time.
fn ever_bought_s(record: &Record) -> u64 {
    let time = |line: &&super::lease::fold::CreditLine| line.buys == Buys::Time;
    record.standing.credits.iter().filter(time).map(|line| line.seconds).sum()
}

/// What it earned by any moment is what its entries until then say; in the end, what is booked.
fn assert_course(record: &Record) {
    let Facts { lease, terms, entries, .. } = &record.facts;
    let end = record.standing.last_at.plus_s(3600);
    let eighth = (end.millis() - lease.created_at.millis()) / 8;
    let mark = |n: i64| lease.created_at.plus_millis(n * eighth);
    let marks: Vec<Timestamp> = (0..8).map(mark).chain([end]).collect();
    let went = course(lease, terms, entries, &marks).unwrap();
    for (mark, earned_sat) in marks.iter().zip(&went.earned_sat) {
        let mut standing = Standing::unfunded(lease, terms).unwrap();
        let until = entries.iter().filter(|entry| entry.moment_at <= *mark);
        until.for_each(|entry| standing.apply(entry, terms));
        assert_eq!(standing.books(*mark).earned_sat, *earned_sat, "{mark}: {record:#?}");
    }
    let booked = record.standing.books(end).earned_sat;
    assert_eq!(went.earned_sat.last(), Some(&booked));
    assert_eq!(went.tenures.len(), record.standing.generation as usize);
    let runs = matches!(record.standing.phase, Phase::Provisioning | Phase::Live);
    let open = went.tenures.iter().filter(|tenure| tenure.until.is_none()).count();
    assert_eq!(open, usize::from(runs), "{went:?}");
    assert!(went.tenures.windows(2).all(|pair| pair[0].until.unwrap() <= pair[1].from));
}

/// What holds of every record at any time.
fn assert_sound(record: &Record) {
    assert_course(record);
    let replayed = fold(&record.facts).unwrap();
    let written = [&replayed, &record.standing].map(|it| serde_json::to_vec(it).unwrap());
    assert_eq!(written[0], written[1], "replayed, the facts give other bytes: {record:#?}");
    check::folds(&record.facts, &record.standing);
    let count = |kind| record.events.iter().filter(|event| **event == kind).count();
    let entries =
        |is: fn(&What) -> bool| record.facts.entries.iter().filter(|entry| is(&entry.what)).count();
    assert_eq!(count(EventKind::LeaseProvisioning), record.standing.generation as usize);
    assert_eq!(count(EventKind::LeaseActivated), entries(|what| *what == What::Ready));
    let ends =
        |what: &What| matches!(what, What::Returned | What::Revoked | What::Failed | What::Expired);
    let again = entries(|what| *what == What::Returned || *what == What::Revoked);
    let (told, ended) = (count(EventKind::LeaseEnded), entries(ends));
    assert!(told <= ended && told + again >= ended, "{told} ends told of {ended}");
    let (usable, bought) = (usable_ms(record), ms(ever_bought_s(record)));
    assert!(usable <= bought, "{usable} ms used and left of {bought} ms bought: {record:#?}");
    for line in &record.standing.credits {
        let of = |entry: &&super::lease::Entry| match &entry.what {
            What::Credit(credit) => credit.payment == line.payment,
            What::Reversal { payment, .. } | What::Restoration { payment, .. } => {
                *payment == line.payment
            }
            _ => false,
        };
        let own: Vec<&What> =
            record.facts.entries.iter().filter(of).map(|entry| &entry.what).collect();
        assert!(matches!(own[0], What::Credit(_)));
        for (n, what) in own.iter().enumerate().skip(1) {
            let reversal = matches!(what, What::Reversal { .. });
            assert_eq!(reversal, n % 2 == 1, "reversals and restorations take turns");
        }
    }
}

fn reversals(record: &Record) -> usize {
    let reversal = |entry: &&super::lease::Entry| matches!(entry.what, What::Reversal { .. });
    record.facts.entries.iter().filter(reversal).count()
}

/// The same payments count on both, for the same seconds. Seconds of amounts that are not worth
/// whole ones depend on the order in which they were credited and on what counted meanwhile, so
/// their sum is compared, exactly or to a second a reversal.
fn assert_same_money(play: &Play, once: &server::Server) {
    let (counted, expected) = (play.server.counted(), once.counted());
    let keys = |map: &std::collections::BTreeMap<_, u64>| map.keys().copied().collect::<Vec<_>>();
    assert_eq!(keys(&counted), keys(&expected), "the same payments count");
    if !play.setup.odd {
        assert_eq!(counted, expected, "for the same seconds");
    }
    for (record, expected) in play.server.records.iter().zip(&once.records) {
        let sum = |record: &Record| -> u64 {
            let stands = |line: &&super::lease::fold::CreditLine| line.counted == Counted::Standing;
            record.standing.credits.iter().filter(stands).map(|line| line.seconds).sum()
        };
        let apart = sum(record).abs_diff(sum(expected));
        let most = if play.setup.odd { reversals(record) as u64 } else { 0 };
        assert!(apart <= most, "{apart} s apart after {most} reversals: {record:#?}");
        let received = |record: &Record| record.standing.books(play.now).received_sat;
        assert_eq!(received(record), received(expected));
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn with_the_clock_held_any_schedule_ends_as_the_final_chain_applied_once(
        setup in setups(true, false), ops in ops(false), mine in any::<bool>(),
    ) {
        let mut play = Play::new(&setup);
        play.run(&ops);
        play.calm(mine);
        let once = play.afresh();
        assert_same_money(&play, &once);
        for (record, expected) in play.server.records.iter().zip(&once.records) {
            assert_sound(record);
            let (got, want) = (&record.standing, &expected.standing);
            if reversals(record) == 0 {
                prop_assert_eq!(got.phase, want.phase);
                prop_assert_eq!(got.generation, want.generation);
                prop_assert_eq!(got.paid_until, want.paid_until);
                prop_assert_eq!(got.pending_s, want.pending_s);
                prop_assert_eq!(got.books(play.now), want.books(play.now));
            } else if !setup.odd {
                // A lease that started by money that was lost then has started all the same.
                let waiting = |standing: &Standing| {
                    let books = standing.books(play.now);
                    (standing.left_s(play.now), books.held_sat + books.prepaid_sat, books.received_sat)
                };
                prop_assert_eq!(waiting(got), waiting(want));
            }
        }
    }

    #[test]
    fn with_the_clock_moving_the_same_payments_count_for_the_same_seconds(
        setup in setups(false, false), ops in ops(false), mine in any::<bool>(),
    ) {
        let mut play = Play::new(&setup);
        play.run(&ops);
        play.calm(mine);
        let once = play.afresh();
        assert_same_money(&play, &once);
        for record in &play.server.records {
            assert_sound(record);
            let all = record.standing.credits.iter().all(|line| line.counted == Counted::Standing);
            if all {
                prop_assert_eq!(usable_ms(record), ms(ever_bought_s(record)), "{:#?}", record);
            }
        }
    }

    #[test]
    fn whatever_is_done_to_a_lease_meanwhile_its_books_balance_and_nothing_is_told_twice(
        setup in setups(false, true), ops in ops(true), mine in any::<bool>(),
    ) {
        let mut play = Play::new(&setup);
        play.run(&ops);
        play.server.records.iter().for_each(assert_sound);
        play.calm(mine);
        play.server.counted();
        play.server.records.iter().for_each(assert_sound);
    }

    #[test]
    fn a_block_connected_and_disconnected_leaves_the_facts_as_they_were(
        setup in setups(false, false), ops in ops(false), take in any::<u32>(),
    ) {
        let mut play = Play::new(&setup);
        play.run(&ops);
        play.start();
        play.follow(true);
        let facts = |play: &Play| {
            let mut all: Vec<_> = play.server.records.iter().map(|r| r.facts.payments.clone()).collect();
            // That it was in a block once stays; of several rivals one is named.
            for payment in all.iter_mut().flatten() {
                payment.left_chain = None;
                if let Some(rival) = &mut payment.conflict {
                    rival.txid = node::txid(0);
                }
            }
            all
        };
        let before = facts(&play);
        play.node.mine(play.now, take, None);
        while play.server.step(&play.node, play.now, true) {}
        play.node.disconnect(1);
        while play.server.step(&play.node, play.now, true) {}
        play.server.look(&play.node, play.now);
        prop_assert_eq!(facts(&play), before);
    }
}
