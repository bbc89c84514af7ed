//! The last 30 days on the overview: what was earned, how much of what there is was leased; in all,
//! and of each resource.

use super::plot::{self, Unit};
use super::{Cell, Table};
use crate::app::look::{Day, Overview, Used, UsedDay};
use crate::domain::time::span;
use crate::http::pages::problem::Wrong;

/// A plot, and its numbers for who cannot see it.
pub(super) struct Plot {
    pub(super) title: String,
    pub(super) lead: String,
    pub(super) svg: String,
    pub(super) numbers: Table,
}

/// What of a day is shown.
struct Shown<D> {
    unit: Unit,
    /// What the plot shows.
    value: fn(&D) -> i64,
    name: fn(&D) -> &str,
    /// What the table shows besides the name.
    columns: &'static [&'static str],
    cells: fn(&D) -> Vec<Cell>,
}

impl<D> Shown<D> {
    /// A plot of `days`, and a table with the newest first.
    fn plot(&self, title: &str, lead: String, days: &[D]) -> Result<Plot, Wrong> {
        let point = |day: &D| ((self.name)(day).to_owned(), (self.value)(day));
        let points: Vec<plot::Point> = days.iter().map(point).collect();
        let row = |day: &D| [vec![Cell::text((self.name)(day))], (self.cells)(day)].concat();
        Ok(Plot {
            title: title.to_owned(),
            svg: plot::draw(self.unit, &points, &format!("{title}. {lead}"))?,
            numbers: Table {
                title: String::new(),
                columns: [&["Day"], self.columns].concat(),
                rows: days.iter().rev().map(row).collect(),
                empty: "",
            },
            lead,
        })
    }
}

/// Revenue of everything, and occupancy where there are units.
pub(super) fn plots(seen: &Overview) -> Result<Vec<Plot>, Wrong> {
    let days = seen.days.as_slice();
    let sum = |of: fn(&Day) -> i64| days.iter().map(of).sum::<i64>();
    let [earned, received] = [sum(|day| day.earned_sat), sum(|day| day.received_sat)]
        .map(|sat| Cell::signed_sat(sat).text);
    let revenue = Shown::<Day> {
        unit: Unit::Sat,
        value: |day| day.earned_sat,
        name: |day| &day.day,
        columns: &["Earned", "Received"],
        cells: |day| [day.earned_sat, day.received_sat].map(Cell::signed_sat).into(),
    };
    let occupancy = Shown::<Day> {
        unit: Unit::Percent,
        value: |day| percent(day.leased_s, day.capacity_s),
        name: |day| &day.day,
        columns: &OCCUPANCY,
        cells: |day| occupied(day.leased_s, day.capacity_s),
    };
    let count = days.len();
    let earned = format!("{earned} earned in {count} days, as time elapsed; {received} received.");
    let mut plots = vec![revenue.plot("Revenue: earned, satoshis a day", earned, days)?];
    let (leased_s, capacity_s) = (sum(|day| day.leased_s), sum(|day| day.capacity_s));
    if capacity_s > 0 {
        let leased = format!(
            "{} in {count} days, of the units that are offered now. A unit is leased from the start \
             of a lease to its end.",
            share(leased_s, capacity_s)
        );
        plots.push(occupancy.plot("Occupancy: share of unit time leased", leased, days)?);
    }
    Ok(plots)
}

/// The occupancy of each resource that has units, where there are several.
pub(super) fn of_each(seen: &Overview) -> Result<Vec<Plot>, Wrong> {
    let with_units: Vec<&Used> = seen.resources.iter().filter(|used| used.capacity_s > 0).collect();
    if with_units.len() < 2 {
        return Ok(Vec::new());
    }
    let occupancy = Shown::<UsedDay> {
        unit: Unit::Percent,
        value: |day| percent(day.leased_s, day.capacity_s),
        name: |day| &day.day,
        columns: &OCCUPANCY,
        cells: |day| occupied(day.leased_s, day.capacity_s),
    };
    let one = |used: &Used| {
        let share = share(used.leased_s, used.capacity_s);
        occupancy.plot(&used.title, format!("{share} in {} days.", used.days.len()), &used.days)
    };
    with_units.into_iter().map(one).collect()
}

const OCCUPANCY: [&str; 3] = ["Share", "Leased", "Of"];

fn occupied(leased_s: i64, capacity_s: i64) -> Vec<Cell> {
    let time = |seconds: i64| Cell::text(span(seconds.unsigned_abs()));
    vec![Cell::number(share(leased_s, capacity_s)), time(leased_s), time(capacity_s)]
}

/// Rounded; 0 of nothing.
fn percent(part: i64, whole: i64) -> i64 {
    match whole {
        0 => 0,
        whole => (part.saturating_mul(100) + whole / 2) / whole,
    }
}

fn share(part: i64, whole: i64) -> String {
    match whole {
        0 => "no units".to_owned(),
        whole => format!("{} %", percent(part, whole)),
    }
}

/// How each resource is used.
pub(super) fn resources(seen: &Overview) -> Table {
    let rows = seen.resources.iter().map(|used| {
        let what = match (used.units, used.running) {
            (Some(_), _) => "leased",
            (None, 1) => "user",
            (None, _) => "users",
        };
        let (units, occupied) = match used.units {
            Some(units) => (units.to_string(), share(used.leased_s, used.capacity_s)),
            None => ("shared".to_owned(), "–".to_owned()),
        };
        vec![
            Cell::link(format!("/operator/catalog/{}", used.resource), &used.title),
            Cell::number(units),
            Cell::number(match used.running_unoffered {
                0 => format!("{} {what}", used.running),
                some => {
                    format!("{} {what}, {some} of them on units no longer offered", used.running)
                }
            }),
            Cell::number(occupied),
            Cell::signed_sat(used.earned_sat),
        ]
    });
    Table {
        title: "Resources".into(),
        columns: vec!["Resource", "Units", "Now", "Occupied", "Earned"],
        rows: rows.collect(),
        empty: "Nothing is offered.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_to_the_nearest_and_of_nothing_it_is_said() {
        for (part, whole, says) in
            [(0, 8, "0 %"), (1, 8, "13 %"), (1, 3, "33 %"), (8, 8, "100 %"), (0, 0, "no units")]
        {
            assert_eq!(share(part, whole), says);
        }
    }
}
