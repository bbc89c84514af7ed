//! What the pages of operators are made of: a list, a detail page, a form that asks once more.
//! Few templates; nouns only fill them.

use std::collections::HashMap;

use askama::Template;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::session::Visitor;
use crate::app::look::{Happened, Listing, Part};
use crate::app::{AppError, Code, Refusal};
use crate::domain::site::escaped;
use crate::domain::time::Timestamp;
use crate::domain::uri::sat_text;
use crate::http::auth::Scope;
use crate::http::json::{Form, Query};
use crate::http::pages::frame::Moment;
use crate::http::pages::problem::Wrong;
use crate::http::pages::{Frame, render};
use crate::http::{HttpState, Problem};

/// Rows of a page of a list.
const ROWS: u32 = 50;

/// What stands above every page of operators: who is signed in, and where there is to go.
pub(super) struct Desk {
    pub(super) who: String,
    /// Where it leads, what it is called, whether it is here.
    pub(super) places: Vec<(&'static str, &'static str, bool)>,
}

const PLACES: [(&str, &str, Scope); 13] = [
    ("/operator", "Overview", Scope::Read),
    ("/operator/leases", "Leases", Scope::Read),
    ("/operator/invoices", "Invoices", Scope::Read),
    ("/operator/payments", "Payments", Scope::Read),
    ("/operator/payouts", "Payouts", Scope::Read),
    ("/operator/actions", "Actions", Scope::Read),
    ("/operator/catalog", "Catalogue", Scope::Read),
    ("/operator/events", "Events", Scope::Read),
    ("/operator/webhooks", "Webhooks", Scope::Read),
    ("/operator/deliveries", "Deliveries", Scope::Read),
    ("/operator/ledger", "Ledger", Scope::Read),
    ("/operator/audit-log", "Audit log", Scope::Read),
    ("/operator/keys", "Keys", Scope::Admin),
];

impl Desk {
    /// For a page at or below `here`.
    pub(super) fn new(visitor: &Visitor, here: &str) -> Self {
        let places = PLACES.iter().filter(|(_, _, scope)| visitor.has(*scope));
        let is_here = |place: &str| {
            let below = here.strip_prefix(place).is_some_and(|rest| rest.starts_with('/'));
            here == place || below && place != super::HOME
        };
        Self {
            who: visitor.operator.0.name.clone(),
            places: places.map(|(to, name, _)| (*to, *name, is_here(to))).collect(),
        }
    }
}

/// A value on a page.
#[derive(Clone, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Where it leads.
    pub(super) to: Option<String>,
    /// `code`, `number`, or a badge with its mood.
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

/// Something to filter a list by: a choice of words, or any text.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) choices: Vec<String>,
    pub(super) value: String,
}

/// What the address of a list asks for, as it comes.
pub(super) type Asking = Query<HashMap<String, String>>;

/// What the address of a list asks for.
pub(super) struct Asked(HashMap<String, String>);

impl Asked {
    pub(super) fn new(Query(asked): Asking) -> Self {
        Self(asked)
    }

    /// A value that was given and is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// One of `choices`, if one was given.
    pub(super) fn choice(&self, name: &str, choices: &[&str]) -> Result<Option<String>, Refusal> {
        let Some(given) = self.get(name) else { return Ok(None) };
        if choices.contains(&given) {
            return Ok(Some(given.to_owned()));
        }
        let detail = format!("{given:?} is none of {}", choices.join(", "));
        Err(Refusal::field(Code::InvalidRequest, &format!("/{name}"), detail))
    }

    pub(super) fn part(&self) -> Part {
        Part::new(ROWS, self.owned("cursor"))
    }

    pub(super) fn filter(
        &self,
        name: &'static str,
        label: &'static str,
        choices: &[&str],
    ) -> Filter {
        let choices = choices.iter().map(|choice| (*choice).to_owned()).collect();
        Filter { name, label, choices, value: self.owned(name).unwrap_or_default() }
    }
}

/// What a form sent.
pub(super) struct Sent(pub(super) HashMap<String, String>);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Wrong;

    async fn from_request(request: Request, state: &S) -> Result<Self, Wrong> {
        Ok(Self(Form::from_request(request, state).await?.0))
    }
}

impl Sent {
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map(|text| text.trim()).unwrap_or_default()
    }

    /// The words whose boxes of `name` were ticked.
    pub(super) fn ticked(&self, name: &str, words: &[&str]) -> Vec<String> {
        let sent = words.iter().filter(|word| self.0.contains_key(&format!("{name}.{word}")));
        sent.map(|word| (*word).to_owned()).collect()
    }
}

/// A button that leads to where its action is asked for, or elsewhere.
pub(super) struct Button {
    pub(super) to: String,
    pub(super) text: &'static str,
    pub(super) danger: bool,
}

impl Button {
    pub(super) fn new(to: impl ToString, text: &'static str) -> Self {
        Self { to: to.to_string(), text, danger: false }
    }

    pub(super) fn danger(to: impl ToString, text: &'static str) -> Self {
        Self { danger: true, ..Self::new(to, text) }
    }
}

/// A list, a page at a time.
#[derive(Template)]
#[template(path = "operator/list.html")]
pub(super) struct ListPage {
    frame: Frame,
    desk: Desk,
    pub(super) title: &'static str,
    pub(super) lead: &'static str,
    pub(super) filters: Vec<Filter>,
    pub(super) buttons: Vec<Button>,
    table: Table,
    /// Where it begins, unless this is there.
    first: Option<String>,
    next: Option<String>,
}

impl Table {
    /// Whether a column has numbers in it.
    pub(super) fn counts(&self, column: &usize) -> bool {
        self.rows.iter().any(|row| row.get(*column).is_some_and(|cell| cell.class == "number"))
    }
}

impl ListPage {
    pub(super) fn new(
        state: &HttpState,
        visitor: &Visitor,
        (path, title): (&'static str, &'static str),
    ) -> Self {
        Self {
            frame: Frame::new(state),
            desk: Desk::new(visitor, path),
            title,
            lead: "",
            filters: Vec::new(),
            buttons: Vec::new(),
            table: Table { empty: "Nothing is here.", ..Table::default() },
            first: None,
            next: None,
        }
    }

    /// Shows what was found.
    pub(super) fn show<R>(
        mut self,
        asked: &Asked,
        columns: &[&'static str],
        found: Listing<R>,
        row: impl FnMut(R) -> Vec<Cell>,
    ) -> Response {
        let set = self.filters.iter().filter(|filter| !filter.value.is_empty());
        let query: Vec<String> =
            set.map(|filter| format!("{}={}", filter.name, escaped(&filter.value))).collect();
        let at = |cursor: Option<&str>| {
            let cursor = cursor.map(|cursor| format!("cursor={}", escaped(cursor)));
            let all: Vec<String> = query.iter().cloned().chain(cursor).collect();
            format!("?{}", all.join("&"))
        };
        self.next = found.next.as_deref().map(|next| at(Some(next)));
        self.first = asked.get("cursor").map(|_| at(None));
        let Listing { rows, .. } = found.map(row);
        self.table.columns = columns.to_vec();
        self.table.rows = rows;
        if !query.is_empty() {
            self.table.empty = "Nothing fits these filters.";
        }
        render(&self)
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
    /// Of a history on the page of `here`.
    pub(super) fn all(history: Vec<Happened>, here: &str) -> Vec<Self> {
        history.into_iter().map(|line| Self::new(line, here)).collect()
    }

    fn new(line: Happened, here: &str) -> Self {
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

    fn moment(&self) -> Moment {
        self.at.into()
    }
}

/// One thing, and everything about it.
#[derive(Template)]
#[template(path = "operator/detail.html")]
pub(super) struct DetailPage {
    frame: Frame,
    desk: Desk,
    pub(super) title: String,
    pub(super) badges: Vec<Cell>,
    pub(super) facts: Vec<(&'static str, Cell)>,
    pub(super) buttons: Vec<Button>,
    pub(super) tables: Vec<Table>,
    pub(super) timeline: Vec<When>,
    /// The list that it is of.
    back: Option<(&'static str, &'static str)>,
}

impl DetailPage {
    pub(super) fn new(
        state: &HttpState,
        visitor: &Visitor,
        back: (&'static str, &'static str),
        title: impl ToString,
    ) -> Self {
        let title = title.to_string();
        Self {
            frame: Frame::new(state),
            desk: Desk::new(visitor, &format!("{}/", back.0)),
            back: Some(back).filter(|(_, name)| *name != title),
            title,
            badges: Vec::new(),
            facts: Vec::new(),
            buttons: Vec::new(),
            tables: Vec::new(),
            timeline: Vec::new(),
        }
    }

    /// Facts with nothing in them are left out.
    pub(super) fn show(mut self) -> Response {
        self.facts.retain(|(_, cell)| !cell.text.is_empty() || cell.time.is_some());
        self.timeline.sort_by_key(|line| line.at);
        render(&self)
    }
}

/// A field of a form: one line of text, or boxes to tick.
pub(super) struct Input {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) value: String,
    pub(super) boxes: &'static [&'static str],
}

impl Input {
    pub(super) fn line(name: &'static str, label: &'static str, hint: &'static str) -> Self {
        Self { name, label, hint, value: String::new(), boxes: &[] }
    }

    fn ticked(&self, word: &str) -> bool {
        self.value.split(' ').any(|ticked| ticked == word)
    }
}

/// A page that asks once more, or for what is needed, before something is changed.
#[derive(Template)]
#[template(path = "operator/form.html")]
pub(super) struct FormPage {
    frame: Frame,
    desk: Desk,
    pub(super) title: String,
    pub(super) words: Vec<String>,
    pub(super) table: Table,
    /// Where the form goes.
    pub(super) action: String,
    pub(super) hidden: Vec<(&'static str, String)>,
    pub(super) inputs: Vec<Input>,
    pub(super) button: &'static str,
    pub(super) danger: bool,
    pub(super) back: String,
    pub(super) problem: Option<String>,
}

impl FormPage {
    /// Of an action at `action`; back to `back`.
    pub(super) fn new(
        state: &HttpState,
        visitor: &Visitor,
        (action, back): (String, String),
        (title, button): (impl ToString, &'static str),
    ) -> Self {
        Self {
            frame: Frame::new(state),
            desk: Desk::new(visitor, &action),
            title: title.to_string(),
            words: Vec::new(),
            table: Table::default(),
            action,
            hidden: Vec::new(),
            inputs: Vec::new(),
            button,
            danger: false,
            back,
            problem: None,
        }
    }

    pub(super) fn words(mut self, words: impl ToString) -> Self {
        self.words.push(words.to_string());
        self
    }

    pub(super) fn danger(mut self, danger: bool) -> Self {
        self.danger = danger;
        self
    }

    pub(super) fn show(self) -> Response {
        render(&self)
    }

    /// The form once more with what was wrong in it; what is no mistake of the form stays one.
    pub(super) fn again(
        mut self,
        problem: Problem,
        sent: &HashMap<String, String>,
    ) -> Result<Response, Wrong> {
        if !matches!(problem.code(), Code::InvalidRequest | Code::NotFound | Code::Conflict) {
            return Err(problem.into());
        }
        for input in &mut self.inputs {
            if input.boxes.is_empty() {
                input.value = sent.get(input.name).cloned().unwrap_or_default();
            }
        }
        self.problem = Some(problem.body().detail.clone());
        Ok((StatusCode::UNPROCESSABLE_ENTITY, render(&self)).into_response())
    }
}

/// A secret that is shown this once.
#[derive(Template)]
#[template(path = "operator/secret.html")]
pub(super) struct SecretPage {
    frame: Frame,
    desk: Desk,
    title: &'static str,
    words: &'static str,
    secret: String,
    back: String,
}

impl SecretPage {
    pub(super) fn show(
        state: &HttpState,
        visitor: &Visitor,
        (title, words): (&'static str, &'static str),
        secret: String,
        back: impl ToString,
    ) -> Response {
        let back = back.to_string();
        let desk = Desk::new(visitor, &back);
        render(&Self { frame: Frame::new(state), desk, title, words, secret, back })
    }
}

/// There is no such page.
pub(super) fn nothing() -> Refusal {
    Refusal::new(Code::NotFound, "there is nothing at this path")
}

/// The ids of resources, for filters.
pub(super) async fn resources(state: &HttpState) -> Result<Vec<String>, AppError> {
    let all = crate::app::look::catalog(&state.db, &Part::new(200, None)).await?;
    Ok(all.rows.into_iter().map(|resource| resource.id).collect())
}
