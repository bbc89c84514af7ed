//! Values as pages of operators show them: in tables, as facts, along a timeline.

use crate::app::look::Happened;
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;
use crate::http::pages::frame::Moment;

/// A value on a page.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Where it leads.
    pub(super) to: Option<String>,
    /// `code`, `number`, `words`, or a badge with its mood.
    pub(super) class: &'static str,
    pub(super) time: Option<Moment>,
}

/// A badge's look.
const GOOD: &[&str] = &[
    "active",
    "settled",
    "delivered",
    "confirmed",
    "final",
    "credited",
    "trusted",
    "ready",
    "done",
    "offered",
    "refunded",
];
const ALARM: &[&str] = &[
    "failed",
    "stuck",
    "reversed",
    "replaced",
    "disabled",
    "failing",
    "conflicted",
    "unallocated",
    "revoked",
    "lost",
];
const WARN: &[&str] = &[
    "grace",
    "expiring_soon",
    "at_risk",
    "suspended",
    "paused",
    "pending",
    "due",
    "doubted",
    "provisioner_error",
    "late",
    "partial",
    "held",
    "gone",
    "catching_up",
    "recovering",
    "waiting",
];

impl Cell {
    pub(super) fn text(text: impl ToString) -> Self {
        Self { text: text.to_string(), ..Self::default() }
    }

    /// Text that may hold long words, which are broken where need be.
    pub(super) fn words(text: impl ToString) -> Self {
        Self { class: "words", ..Self::text(text) }
    }

    pub(super) fn code(text: impl ToString) -> Self {
        Self { class: "code", ..Self::text(text) }
    }

    /// An id that leads to its page.
    pub(super) fn id(place: &str, id: impl ToString) -> Self {
        let id = id.to_string();
        Self { to: Some(format!("/operator/{place}/{id}")), ..Self::code(id) }
    }

    pub(super) fn link(to: impl ToString, text: impl ToString) -> Self {
        Self { to: Some(to.to_string()), ..Self::text(text) }
    }

    /// The page of whatever an id is of; plain when there is none.
    pub(super) fn subject(id: &str) -> Self {
        match place_of(id) {
            Some(place) => Self::id(place, id),
            None => Self::code(id),
        }
    }

    pub(super) fn sat(amount_sat: u64) -> Self {
        Self { class: "number", ..Self::text(sat_text(amount_sat)) }
    }

    pub(super) fn signed_sat(amount_sat: i64) -> Self {
        let sign = if amount_sat < 0 { "−" } else { "" };
        let text = format!("{sign}{}", sat_text(amount_sat.unsigned_abs()));
        Self { class: "number", ..Self::text(text) }
    }

    pub(super) fn number(number: impl ToString) -> Self {
        Self { class: "number", ..Self::text(number) }
    }

    /// A word on a state.
    pub(super) fn badge(word: &str) -> Self {
        let class = if GOOD.contains(&word) {
            "badge good"
        } else if ALARM.contains(&word) {
            "badge alarm"
        } else if WARN.contains(&word) {
            "badge warn"
        } else {
            "badge"
        };
        Self { class, ..Self::text(word.replace('_', " ")) }
    }

    /// A flag, by its name in the API.
    pub(super) fn flag(flag: &impl serde::Serialize) -> Self {
        let word = serde_json::to_value(flag).unwrap_or_default();
        Self::badge(word.as_str().unwrap_or_default())
    }

    pub(super) fn time(at: Timestamp) -> Self {
        Self { time: Some(at.into()), ..Self::default() }
    }

    /// Nothing, or what `show` makes of it.
    pub(super) fn some<T>(value: Option<T>, show: impl FnOnce(T) -> Self) -> Self {
        value.map(show).unwrap_or_default()
    }
}

/// Under which place of `/operator` something with this id is.
pub(super) fn place_of(id: &str) -> Option<&'static str> {
    Some(match id.split_once('_')?.0 {
        "lse" => "leases",
        "inv" => "invoices",
        "pay" => "payments",
        "pyt" => "payouts",
        "bat" => "batches",
        "whk" => "webhooks",
        "dlv" => "deliveries",
        "evt" => "events",
        _ => return None,
    })
}

/// Rows under names of columns.
#[derive(Default)]
pub(super) struct Table {
    pub(super) title: String,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// What is said when there are no rows.
    pub(super) empty: &'static str,
}

impl Table {
    /// Whether a column has numbers in it.
    pub(super) fn counts(&self, column: &usize) -> bool {
        self.rows.iter().any(|row| row.get(*column).is_some_and(|cell| cell.class == "number"))
    }
}

/// A line of a timeline.
pub(super) struct When {
    pub(super) at: Timestamp,
    pub(super) what: String,
    pub(super) cells: Vec<Cell>,
    pub(super) detail: String,
}

impl When {
    /// A line of a history on the page of `here`.
    pub(super) fn new(line: Happened, here: &str) -> Self {
        let subject = Some(Cell::subject(&line.subject)).filter(|_| line.subject != here);
        let event = line.event.map(|id| Cell::link(format!("/operator/events/{id}"), "event"));
        let by = line.by.map(|by| Cell::text(format!("by {by}")));
        Self {
            at: line.at,
            what: line.what,
            cells: [subject, by, event].into_iter().flatten().collect(),
            detail: line.detail,
        }
    }

    pub(super) fn moment(&self) -> Moment {
        self.at.into()
    }
}
