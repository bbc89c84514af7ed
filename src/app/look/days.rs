//! How the last days went: what was earned, and how much of what there is was leased. Found by
//! folding every lease that moved, once for all of its days.

use std::collections::HashMap;

use serde::Serialize;
use utoipa::ToSchema;

use crate::db::terms::Resource;
use crate::db::{self, Conn, DbError};
use crate::domain::lease::course::{Course, Tenure, course};
use crate::domain::ledger::Account;
use crate::domain::resource::{Access, TermsHistory};
use crate::domain::time::Timestamp;

/// So many days are looked back, today included.
pub const DAYS: usize = 30;
const DAY_MS: i64 = 86_400_000;
/// Leases whose entries are in memory at a time.
const TOGETHER: usize = 512;

/// A day of UTC; today until now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Day {
    /// `2026-11-25`.
    pub day: String,
    /// What came in and counts, less what a reversal took back.
    pub received_sat: i64,
    /// Time that elapsed on this day, at the price paid, and what was kept; less what a reversal
    /// took back.
    pub earned_sat: i64,
    /// Seconds that units of exclusive resources were leased.
    pub leased_s: i64,
    /// Seconds that there were of them.
    pub capacity_s: i64,
}

/// A day of one resource; today until now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct UsedDay {
    /// `2026-11-25`.
    pub day: String,
    /// As of [`Day`].
    pub earned_sat: i64,
    /// Seconds that its units were leased, from the start of a lease to its end: while it was made
    /// ready, in grace and suspended, too. Of units that are offered now only.
    pub leased_s: i64,
    /// Seconds of the units that are offered now, from when the resource first was.
    pub capacity_s: i64,
}

/// How a resource was used in the last 30 days.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Used {
    /// Its id.
    pub resource: String,
    /// A short name.
    pub title: String,
    /// `exclusive` or `shared`.
    #[schema(value_type = String)]
    pub access: Access,
    /// Units that are offered now; `null` for a shared resource.
    pub units: Option<usize>,
    /// Leases that run now: units of an exclusive resource, users of a shared one.
    pub running: u64,
    /// How many of them are on units that are no longer offered.
    pub running_unoffered: u64,
    /// The sum of its days.
    pub earned_sat: i64,
    /// The sum of its days; 0 for a shared resource.
    pub leased_s: i64,
    /// The sum of its days; 0 for a shared resource.
    pub capacity_s: i64,
    /// Oldest first.
    pub days: Vec<UsedDay>,
}

/// The last days, of all resources and of each; resources in the catalogue's order, retired ones
/// only if something ran or was earned.
pub(super) async fn look_back(
    conn: &mut Conn,
    now: Timestamp,
) -> Result<(Vec<Day>, Vec<Used>), DbError> {
    let marks = marks(now);
    let mut counts = HashMap::new();
    let resources = db::terms::list(conn).await?;
    for resource in &resources {
        let terms = db::terms::history(conn, &resource.id).await?;
        counts.insert(resource.id.as_str(), Count::new(resource, terms));
    }
    let leases = db::days::moved(conn, marks[0]).await?;
    for part in leases.chunks(TOGETHER) {
        let ids: Vec<_> = part.iter().map(|lease| lease.id.clone()).collect();
        let entries = db::entry::list_of(conn, &ids).await?;
        for lease in part {
            let Some(count) = counts.get_mut(lease.resource.as_str()) else { continue };
            let entries = entries.get(&lease.id).map(Vec::as_slice).unwrap_or_default();
            if let Some(course) = course(lease, &count.terms, entries, &marks) {
                count.add(&course, &marks);
            }
        }
    }
    let used = resources.iter().filter_map(|resource| {
        let used = counts.remove(resource.id.as_str())?.used(resource, &marks);
        let idle = used.running == 0 && used.days.iter().all(|day| day.earned_sat == 0);
        (resource.retired_at.is_none() || !idle).then_some(used)
    });
    let used: Vec<Used> = used.collect();
    let received = db::days::booked(conn, Account::Received, marks[0]).await?;
    Ok((days(&marks, &received, &used), used))
}

/// The beginnings of the days, and now.
fn marks(now: Timestamp) -> Vec<Timestamp> {
    let today = now.millis().div_euclid(DAY_MS);
    let mut marks = vec![now];
    marks.extend((0..=today).rev().take(DAYS).map(|day| Timestamp::from_millis(day * DAY_MS)));
    marks.reverse();
    marks
}

/// Each day with its beginning and its end.
fn stretches(marks: &[Timestamp]) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    marks.windows(2).map(|pair| (pair[0], pair[1]))
}

fn name(begin: Timestamp) -> String {
    begin.to_string()[..10].to_owned()
}

fn days(marks: &[Timestamp], received: &[(i64, i64)], used: &[Used]) -> Vec<Day> {
    let one = |(place, (begin, _)): (usize, (Timestamp, Timestamp))| {
        let number = begin.millis().div_euclid(DAY_MS);
        let booked = received.iter().find(|(found, _)| *found == number);
        let sum = |of: fn(&UsedDay) -> i64| used.iter().map(|used| of(&used.days[place])).sum();
        Day {
            day: name(begin),
            received_sat: booked.map_or(0, |(_, sat)| *sat),
            earned_sat: sum(|day| day.earned_sat),
            leased_s: sum(|day| day.leased_s),
            capacity_s: sum(|day| day.capacity_s),
        }
    };
    stretches(marks).enumerate().map(one).collect()
}

/// What is counted of a resource, by day.
struct Count {
    terms: TermsHistory,
    /// The units that are offered now.
    units: Vec<String>,
    running: u64,
    running_unoffered: u64,
    earned_sat: [i64; DAYS],
    leased_ms: [i64; DAYS],
}

impl Count {
    fn new(resource: &Resource, terms: TermsHistory) -> Self {
        let units = match resource.retired_at {
            None => resource.terms.terms.units.clone(),
            Some(_) => Vec::new(),
        };
        let (earned_sat, leased_ms) = ([0; DAYS], [0; DAYS]);
        Self { terms, units, running: 0, running_unoffered: 0, earned_sat, leased_ms }
    }

    fn add(&mut self, course: &Course, marks: &[Timestamp]) {
        let signed = |sat: u64| i64::try_from(sat).unwrap_or(i64::MAX);
        for (sum, pair) in self.earned_sat.iter_mut().zip(course.earned_sat.windows(2)) {
            *sum += signed(pair[1]) - signed(pair[0]);
        }
        let offered =
            |tenure: &&Tenure| tenure.unit.as_ref().is_some_and(|unit| self.units.contains(unit));
        if let Some(now) = course.tenures.iter().find(|tenure| tenure.until.is_none()) {
            self.running += 1;
            self.running_unoffered += u64::from(now.unit.is_some() && !offered(&now));
        }
        for tenure in course.tenures.iter().filter(offered) {
            for (sum, (from, until)) in self.leased_ms.iter_mut().zip(stretches(marks)) {
                *sum += tenure.within_ms(from, until);
            }
        }
    }

    fn used(self, resource: &Resource, marks: &[Timestamp]) -> Used {
        // There were as many units as there are, since the first terms.
        let first = self.terms.at(Timestamp::default()).map_or(marks[0], |terms| terms.created_at);
        let offered = Tenure { unit: None, from: first, until: None };
        let units = i64::try_from(self.units.len()).unwrap_or(i64::MAX);
        let day = |place: usize, (from, until)| UsedDay {
            day: name(from),
            earned_sat: self.earned_sat[place],
            leased_s: self.leased_ms[place] / 1000,
            capacity_s: units.saturating_mul(offered.within_ms(from, until) / 1000),
        };
        let days: Vec<UsedDay> =
            stretches(marks).enumerate().map(|(place, stretch)| day(place, stretch)).collect();
        let terms = &resource.terms.terms;
        Used {
            resource: resource.id.clone(),
            title: terms.title.clone(),
            access: terms.access.clone(),
            units: (terms.access == Access::Exclusive).then_some(self.units.len()),
            running: self.running,
            running_unoffered: self.running_unoffered,
            earned_sat: days.iter().map(|day| day.earned_sat).sum(),
            leased_s: days.iter().map(|day| day.leased_s).sum(),
            capacity_s: days.iter().map(|day| day.capacity_s).sum(),
            days,
        }
    }
}
