//! What the pages of operators are made of: a list, a detail page, a form that asks once more.
//! Few templates; nouns only fill them.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::asked::{Asked, Filter, resources};
use super::cells::{Cell, Table, When};
use super::session::Visitor;
use crate::app::look::{self, History, Listing};
use crate::app::{AppError, Code};
use crate::domain::site::escaped;
use crate::http::auth::Scope;
use crate::http::pages::field::{Field, Kind, sentence};
use crate::http::pages::form::{Sent, nonce};
use crate::http::pages::problem::Wrong;
use crate::http::pages::{Frame, render};
use crate::http::{HttpState, Problem};

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
        // Batches are below payouts.
        let here =
            if here.starts_with(super::batches::LIST.0) { "/operator/payouts" } else { here };
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

    /// A choice of resources to filter by.
    pub(super) async fn filter_by_resource(
        &mut self,
        state: &HttpState,
        asked: &Asked,
    ) -> Result<(), AppError> {
        let choices = resources(state).await?;
        self.filters.push(Filter { choices, ..asked.filter("resource", "Resource", &[]) });
        Ok(())
    }

    /// What is said when there are no rows.
    pub(super) fn empty(&mut self, empty: &'static str) {
        self.table.empty = empty;
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
    /// Of what more happened than is shown.
    cut: Option<String>,
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
            cut: None,
        }
    }

    /// Shows what happened to `id`, and to nothing else.
    pub(super) async fn history_of(&mut self, state: &HttpState, id: &str) -> Result<(), AppError> {
        self.happened(look::history(&state.db, &[id.to_owned()]).await?, id);
        Ok(())
    }

    /// Shows what happened, on the page of `here`.
    pub(super) fn happened(&mut self, history: History, here: &str) {
        self.cut = history.cut.then(|| here.to_owned());
        self.timeline = history.lines.into_iter().map(|line| When::new(line, here)).collect();
    }

    /// Facts with nothing in them are left out.
    pub(super) fn show(mut self) -> Response {
        self.facts.retain(|(_, cell)| !cell.text.is_empty() || cell.time.is_some());
        self.timeline.sort_by_key(|line| line.at);
        render(&self)
    }
}

/// What is said of a form that comes again with something else in it.
const ONCE_MORE: &str = "this form was sent before with something else in it, and that was done. \
                         Send it once more if you want this, too";

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
    pub(super) fields: Vec<Field>,
    pub(super) button: &'static str,
    pub(super) danger: bool,
    pub(super) back: String,
    pub(super) problem: Option<String>,
    /// What was done, when there is more to do.
    pub(super) said: Option<String>,
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
            hidden: vec![("once", nonce())],
            fields: Vec::new(),
            button,
            danger: false,
            back,
            problem: None,
            said: None,
        }
    }

    /// Whether something is wrong with what was sent.
    fn is_wrong(&self) -> bool {
        self.problem.is_some() || self.fields.iter().any(|field| field.error.is_some())
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

    /// What leads back: an answer where the title asks something.
    fn no(&self) -> &'static str {
        if self.title.ends_with('?') { "No, go back" } else { "Cancel" }
    }

    /// The form once more, with what is wrong beside its fields; what breaks for other reasons is a
    /// page of its own.
    pub(super) fn again(mut self, problem: Problem, sent: &Sent) -> Result<Response, Wrong> {
        use Code::{Conflict, Forbidden, InvalidRequest, LeaseEnded, NotFound, NotReady};
        let body = problem.body();
        let said = match problem.code() {
            // What is shown has a `once` of its own: sent as it is, it is done.
            Code::IdempotencyKeyReused => ONCE_MORE,
            InvalidRequest | NotFound | Conflict | Forbidden | LeaseEnded | NotReady => {
                &body.detail
            }
            _ => return Err(problem.into()),
        };
        for field in &mut self.fields {
            field.take(sent);
        }
        self.problem = body.errors.is_empty().then(|| sentence(said));
        for error in &body.errors {
            let said = Some(sentence(&error.detail));
            // A page may have another unit than the API: `feerate` is `/feerate_msat_vb`.
            let named = |field: &&mut Field| {
                let rest =
                    error.pointer.strip_prefix('/').and_then(|it| it.strip_prefix(&field.name));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
            };
            match self.fields.iter_mut().find(named) {
                Some(field) => field.error = said,
                None => self.problem = said,
            }
        }
        if let Some(field) = self.fields.iter_mut().find(|field| field.error.is_some()) {
            field.first = true;
        }
        let status = StatusCode::from_u16(body.status).unwrap_or(StatusCode::CONFLICT);
        Ok((status, render(&self)).into_response())
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
