//! Leases: the list, one with its whole history, and what can be done with it.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::{Asked, Asking, nothing};
use super::{Button, Cell, DetailPage, FormPage, ListPage, Table, Visitor};
use crate::app::act_on_lease::{ActOnLease, Action};
use crate::app::look::{self, Filter as Which};
use crate::app::mend_action::{Mend, MendAction};
use crate::app::view::{self, EntryView, LeaseView};
use crate::app::{Code, Refusal, read};
use crate::db::action::ActionRow;
use crate::domain::fulfil;
use crate::domain::ids::LeaseId;
use crate::domain::lease::snapshot::LeaseState;
use crate::http::HttpState;
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::form::Sent;
use crate::http::pages::frame::span;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/leases", "Leases");
const STATES: [&str; 6] = ["unfunded", "provisioning", "active", "grace", "suspended", "ended"];

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route("/operator/leases", get(list))
        .route("/operator/leases/{id}", get(one))
        .route("/operator/leases/{id}/{act}", get(ask).post(act))
}

async fn list(
    State(state): State<HttpState>,
    visitor: Visitor,
    asked: Asking,
) -> Result<Response, Wrong> {
    let asked = Asked::new(asked);
    let filter = Which {
        state: asked.choice("state", &STATES)?,
        resource: asked.owned("resource"),
        before: None,
    };
    let found = look::leases(&state.db, filter, &asked.part()).await?;
    let mut page = ListPage::new(&state, &visitor, LIST);
    page.filters = vec![asked.filter("state", "State", &STATES)];
    page.filter_by_resource(&state, &asked).await?;
    let scene = state.scene();
    let columns = ["Lease", "State", "Resource", "Unit", "Ends", "Paid", "Asked for"];
    Ok(page.show(&asked, &columns, found, |row| {
        let lease = view::lease(&row, &scene);
        vec![
            Cell::id("leases", &lease.id),
            Cell::badge(lease.state.as_str()),
            Cell::text(lease.resource),
            Cell::text(lease.unit.unwrap_or_default()),
            Cell::some(lease.expires_at, Cell::time),
            Cell::sat(lease.paid_sat),
            Cell::time(lease.created_at),
        ]
    }))
}

/// What may be done with a lease as it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Suspend,
    Resume,
    Revoke,
    Retry,
    ForceRelease,
}

impl Act {
    const ALL: [Self; 5] =
        [Self::Suspend, Self::Resume, Self::Revoke, Self::Retry, Self::ForceRelease];

    fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
            Self::Retry => "retry",
            Self::ForceRelease => "force-release",
        }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::ALL.into_iter().find(|act| act.name() == text).ok_or_else(nothing)
    }

    /// The button, the question, and what will happen.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Suspend => (
                "Suspend",
                "Suspend this lease?",
                "Its holder cannot use it until you resume it. Its time stands still meanwhile.",
            ),
            Self::Resume => ("Resume", "Resume this lease?", "Its time goes on from here."),
            Self::Revoke => (
                "Revoke",
                "Revoke this lease?",
                "It ends now and for good. Its unit is taken back, and what is unused of its money \
                 can be refunded.",
            ),
            Self::Retry => (
                "Try again",
                "Try what failed again?",
                "Its provisioner is told at once what it could not do.",
            ),
            Self::ForceRelease => (
                "Force the release",
                "Hold the unit for taken back?",
                "It is in stock again, whatever its provisioner says. Make sure first that nobody \
                 can use it any more.",
            ),
        }
    }

    fn fits(self, lease: &LeaseView, actions: &[ActionRow]) -> bool {
        let failed = |row: &&ActionRow| row.done_at.is_none() && row.failure.is_some();
        match self {
            Self::Suspend => lease.state == LeaseState::Active,
            Self::Resume => lease.state == LeaseState::Suspended,
            Self::Revoke => lease.state != LeaseState::Ended,
            // What a retry does once more: of this life, and not what ended it.
            Self::Retry => actions.iter().any(|row| {
                let left = row.outcome.as_deref() == Some("failed")
                    && row.action != fulfil::Action::Provision
                    && row.generation == lease.generation;
                failed(&row) || left
            }),
            Self::ForceRelease => {
                actions.iter().filter(failed).any(|row| row.action == fulfil::Action::Release)
            }
        }
    }
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let row = read::lease(&state.db, &id).await?;
    let lease = view::lease(&row, &state.scene());
    let (entries, invoices) = look::of_lease(&state.db, &row.facts.id).await?;
    let payments = look::payments_of(&state.db, &row.facts.id).await?;
    let payouts = look::payouts_of(&state.db, &id).await?;
    let actions = look::actions_of(&state.db, &id).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, format!("Lease {id}"));
    page.badges = vec![Cell::badge(lease.state.as_str())];
    page.badges.extend(lease.end_reason.map(|reason| Cell::badge(reason.as_str())));
    page.badges.extend(lease.flags.iter().map(Cell::flag));
    if visitor.has(Scope::Manage) {
        let fitting = Act::ALL.into_iter().filter(|act| act.fits(&lease, &actions));
        page.buttons = fitting
            .map(|act| {
                let danger = matches!(act, Act::Revoke | Act::ForceRelease);
                let to = format!("/operator/leases/{id}/{}", act.name());
                Button { danger, ..Button::new(to, act.words().0) }
            })
            .collect();
    }
    page.facts = facts(&lease);
    for (name, value) in &row.params {
        page.facts.push(("Param", Cell::text(format!("{name}: {value}"))));
    }
    let invoice_rows = invoices.iter().map(|row| {
        let invoice = view::invoice(row, &state.scene());
        vec![
            Cell::id("invoices", invoice.id),
            Cell::badge(invoice.status.as_str()),
            Cell::sat(invoice.amount_sat),
            Cell::sat(invoice.received.credited_sat),
            Cell::code(invoice.address),
        ]
    });
    page.tables.push(Table {
        title: "Invoices".into(),
        columns: vec!["Invoice", "Status", "Amount", "Credited", "Address"],
        rows: invoice_rows.collect(),
        empty: "There is none.",
    });
    page.tables.push(super::payments::table(&payments, state.readiness.borrow().height()));
    page.tables.push(counted(&entries.iter().map(view::entry).collect::<Vec<_>>()));
    page.tables.push(super::payouts::table(&payouts));
    if !actions.is_empty() {
        page.tables.push(super::actions::table(&actions));
    }
    let invoices = invoices.iter().map(|row| row.facts.id.to_string());
    let payouts = payouts.iter().map(|row| row.facts.id.to_string());
    let payments = payments.iter().map(|row| row.facts.id.to_string());
    // Anybody may ask for invoices, so what many of these would push out comes first.
    let subjects: Vec<String> =
        std::iter::once(id.clone()).chain(payouts).chain(payments).chain(invoices).collect();
    page.happened(look::history(&state.db, &subjects).await?, &id);
    page.timeline.extend(actions.iter().flat_map(super::actions::steps));
    Ok(page.show())
}

fn facts(lease: &LeaseView) -> Vec<(&'static str, Cell)> {
    let seconds = |seconds: u64| match seconds {
        0 => Cell::default(),
        some => Cell::text(span(some)),
    };
    let sat = |sat: u64| if sat == 0 { Cell::default() } else { Cell::sat(sat) };
    vec![
        ("Resource", Cell::id("catalog", &lease.resource)),
        ("Unit", Cell::text(lease.unit.clone().unwrap_or_default())),
        ("Asked for", Cell::time(lease.created_at)),
        ("Started", Cell::some(lease.starts_at, Cell::time)),
        ("Ends", Cell::some(lease.expires_at, Cell::time)),
        ("Left", seconds(lease.remaining_s)),
        ("Kept until", Cell::some(lease.grace_until, Cell::time)),
        ("Banked", seconds(lease.banked_s)),
        ("Generation", Cell::text(lease.generation)),
        ("Paid", Cell::sat(lease.paid_sat)),
        ("Refundable", sat(lease.refundable_sat)),
        ("Not a second yet", sat(lease.balance_sat)),
        ("Its page", Cell::link(format!("/leases/{}", lease.id), "as customers see it")),
    ]
}

/// What the fold counts, in its order.
fn counted(entries: &[EntryView]) -> Table {
    let rows = entries.iter().map(|entry| {
        let unit = entry.unit.clone().unwrap_or_default();
        let more = match entry.generation {
            Some(generation) => format!("generation {generation} {unit}"),
            None => entry.seconds.map(span).unwrap_or_default(),
        };
        vec![
            Cell::number(entry.n),
            Cell::time(entry.at),
            Cell::badge(entry.what),
            Cell::some(entry.amount_sat, Cell::sat),
            Cell::text(more),
            Cell::some(entry.payment.as_ref(), |payment| Cell::id("payments", payment)),
        ]
    });
    Table {
        title: "What counts".into(),
        columns: vec!["No", "Moment", "What", "Money", "Time", "Payment"],
        rows: rows.collect(),
        empty: "Nothing has counted yet.",
    }
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let act = Act::parse(&act)?;
    Ok(question(&state, &visitor, &id, act).await?.show())
}

async fn question(
    state: &HttpState,
    visitor: &Visitor,
    id: &str,
    act: Act,
) -> Result<FormPage, Wrong> {
    let row = read::lease(&state.db, id).await?;
    let (button, question, words) = act.words();
    let path = format!("/operator/leases/{id}");
    let lease = view::lease(&row, &state.scene());
    let unit = lease.unit.map(|unit| format!(", unit {unit}")).unwrap_or_default();
    let place = (format!("{path}/{}", act.name()), path);
    let page = FormPage::new(state, visitor, place, (question, button));
    let page = page.words(format!("{id}: {}{unit}, {}.", lease.resource, lease.state.as_str()));
    Ok(page.words(words).danger(matches!(act, Act::Revoke | Act::ForceRelease)))
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let act = Act::parse(&act)?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    let lease = LeaseId::parse(&id).ok_or_else(unknown)?;
    let (ground, actor) = (state.ground(), visitor.name());
    let to = format!("/operator/leases/{id}");
    let path = format!("{to}/{}", act.name());
    let form = (path.as_str(), &sent);
    let action = match act {
        Act::Suspend => Ok(Action::Suspend),
        Act::Resume => Ok(Action::Resume),
        Act::Revoke => Ok(Action::Revoke),
        Act::Retry => Err(Mend::Retry),
        Act::ForceRelease => Err(Mend::ForceRelease),
    };
    let done = match action {
        Ok(action) => {
            let item = ActOnLease { ground, lease, action, actor: Some(actor) };
            visitor.change(&state, form, item).await
        }
        Err(mend) => visitor.change(&state, form, MendAction { ground, lease, mend, actor }).await,
    };
    if let Err(problem) = done {
        return question(&state, &visitor, &id, act).await?.again(problem, &sent);
    }
    state.live.caught_up().await;
    Ok(Redirect::to(&to).into_response())
}
