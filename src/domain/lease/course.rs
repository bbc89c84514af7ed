//! How a lease went: what it had earned, and which unit it had, at moments that are past. By the
//! fold that says where it stands now: grace and suspended time earn nothing here either.

use super::super::resource::TermsHistory;
use super::super::time::Timestamp;
use super::fold::{Phase, Standing};
use super::{Entry, Lease};

/// How a lease went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Satoshis that it had earned, by mark.
    pub earned_sat: Vec<u64>,
    /// Its generations from start to end, oldest first.
    pub tenures: Vec<Tenure>,
}

/// A generation: it has its unit from the start to the end, in grace and suspended, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenure {
    /// The unit of an exclusive resource.
    pub unit: Option<String>,
    /// When it started.
    pub from: Timestamp,
    /// When it ended; `None` while it has not.
    pub until: Option<Timestamp>,
}

impl Tenure {
    /// Milliseconds of it between `from` and `until`.
    pub fn within_ms(&self, from: Timestamp, until: Timestamp) -> i64 {
        let end = self.until.map_or(until, |end| end.min(until));
        (end.millis() - from.max(self.from).millis()).max(0)
    }
}

/// How a lease went by `marks`, which ascend; the last one is now, and has all `entries` behind it.
/// What it earned between two marks is the difference: all of them add up to what is booked.
/// `None` without the terms of its first generation.
pub fn course(
    lease: &Lease,
    terms: &TermsHistory,
    entries: &[Entry],
    marks: &[Timestamp],
) -> Option<Course> {
    let mut standing = Standing::unfunded(lease, terms)?;
    let mut course = Course { earned_sat: Vec::new(), tenures: Vec::new() };
    let mut rest = entries;
    for (place, mark) in marks.iter().enumerate() {
        let last = place + 1 == marks.len();
        let mut known = course.earned_sat.last().copied();
        while let Some((entry, after)) =
            rest.split_first().filter(|(e, _)| last || e.moment_at <= *mark)
        {
            standing.apply(entry, terms);
            course.follow(&standing, entry.moment_at);
            (rest, known) = (after, None);
        }
        // Nothing else moves money by the clock alone.
        known = known.filter(|_| standing.phase != Phase::Live);
        let books = || standing.books(standing.last_at.max(*mark));
        course.earned_sat.push(known.unwrap_or_else(|| books().earned_sat));
    }
    Some(course)
}

impl Course {
    /// Takes in what an entry made of its unit.
    fn follow(&mut self, standing: &Standing, at: Timestamp) {
        let has = matches!(standing.phase, Phase::Provisioning | Phase::Live);
        let open = self.tenures.last_mut().filter(|tenure| tenure.until.is_none());
        match open {
            Some(tenure) if !has => tenure.until = Some(at),
            None if has => {
                let unit = standing.unit.clone();
                self.tenures.push(Tenure { unit, from: at, until: None });
            }
            _ => {}
        }
    }
}
