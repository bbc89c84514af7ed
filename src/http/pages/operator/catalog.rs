//! The catalogue: what is in force, how the file differs from it, pausing and resuming a resource,
//! applying the file.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::asked::nothing;
use super::{Button, Cell, DetailPage, FormPage, Table, Visitor};
use crate::app::apply_catalog::{ApplyCatalog, Change, Fate};
use crate::app::look::{self, Part};
use crate::app::operate::PauseResource;
use crate::app::{AppError, Code, Refusal};
use crate::db::terms::Resource;
use crate::domain::resource::{Access, Terms};
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::api::admin::catalog::read_file;
use crate::http::auth::Scope;
use crate::http::json::Path;
use crate::http::pages::form::Sent;
use crate::http::pages::frame::per;
use crate::http::pages::problem::Wrong;

const LIST: (&str, &str) = ("/operator/catalog", "Catalogue");
/// No resource has this id: none begins with a hyphen.
const APPLY: &str = "/operator/catalog/-/apply";
/// More resources than anybody has.
const ALL: u32 = 10_000;

pub(super) fn router() -> Router<HttpState> {
    Router::new()
        .route(LIST.0, get(list))
        .route(APPLY, get(ask_apply).post(apply))
        .route("/operator/catalog/{id}", get(one))
        .route("/operator/catalog/{id}/{act}", get(ask).post(act))
}

fn state_of(resource: &Resource) -> &'static str {
    match (resource.retired_at, resource.paused_at) {
        (Some(_), _) => "retired",
        (None, Some(_)) => "paused",
        (None, None) => "offered",
    }
}

fn price(terms: &Terms) -> String {
    format!("{} / {}", sat_text(terms.price.sat), per(terms.price.per_s))
}

async fn list(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    let all = look::catalog(&state.db, &Part::new(ALL, None)).await?;
    let mut page = DetailPage::new(&state, &visitor, LIST, "Catalogue");
    let rows = all.rows.iter().map(|resource| {
        let terms = &resource.terms.terms;
        vec![
            Cell { class: "", ..Cell::id("catalog", &resource.id) },
            Cell::text(&terms.title),
            Cell::badge(state_of(resource)),
            Cell::text(price(terms)),
            match terms.access {
                Access::Exclusive => Cell::number(terms.units.len()),
                Access::Shared => Cell::text("shared"),
            },
            Cell::number(resource.terms.version),
            Cell::time(resource.terms.created_at),
        ]
    });
    page.tables.push(Table {
        title: "What is in force".into(),
        columns: vec!["Resource", "Title", "State", "Price", "Units", "Version", "Since"],
        rows: rows.collect(),
        empty: "Nothing is offered.",
    });
    match read_file(&state).await {
        Ok(catalog) => {
            let found = look::difference(&state.db, &catalog).await?;
            let table = differences(&found.changes);
            if !table.rows.is_empty() && visitor.has(Scope::Admin) {
                page.buttons = vec![Button::new(APPLY, "Apply the file")];
            }
            page.tables.push(table);
        }
        Err(refusal) => page.tables.push(Table {
            title: "The file cannot be read".into(),
            columns: vec!["What is wrong with it"],
            rows: refusal.detail.lines().map(|line| vec![Cell::text(line)]).collect(),
            empty: "",
        }),
    }
    Ok(page.show())
}

/// What applying the file would change.
fn differences(changes: &[Change]) -> Table {
    let mut rows = Vec::new();
    for change in changes {
        let mut line = |what: &str, key: &str, old: &str, new: &str| {
            rows.push(vec![
                Cell::text(&change.resource),
                Cell::badge(what),
                Cell::text(key),
                Cell::code(old),
                Cell::code(new),
            ]);
        };
        match (&change.fate, &change.terms) {
            (Fate::Same, _) => {}
            (Fate::Added, _) => line("added", "", "", ""),
            (Fate::Retired, _) | (Fate::Changed { .. }, None) => line("retired", "", "", ""),
            (Fate::Changed { old }, Some(new)) => {
                let found = Terms::difference(old, new);
                if found.is_empty() {
                    line("offered again", "", "", "");
                }
                for one in found {
                    let [old, new] =
                        [&one.old, &one.new].map(|it| it.as_deref().unwrap_or("nothing"));
                    line("changed", &one.key.to_string(), old, new);
                }
            }
        }
    }
    Table {
        title: "How the file differs from it".into(),
        columns: vec!["Resource", "What", "Key", "In force", "In the file"],
        rows,
        empty: "The file is in force: nothing would change.",
    }
}

async fn one(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<Response, Wrong> {
    let (resource, units) = look::resource(&state.db, &id).await?;
    let terms = &resource.terms.terms;
    let mut page = DetailPage::new(&state, &visitor, LIST, &terms.title);
    page.badges = vec![Cell::badge(state_of(&resource))];
    if visitor.has(Scope::Manage) && resource.retired_at.is_none() {
        page.buttons = vec![match resource.paused_at {
            Some(_) => Button::new(format!("/operator/catalog/{id}/resume"), "Take money again"),
            None => Button::new(format!("/operator/catalog/{id}/pause"), "Pause"),
        }];
    }
    page.facts = vec![
        ("Resource", Cell::code(&id)),
        ("Price", Cell::text(price(terms))),
        ("Paused", Cell::some(resource.paused_at, Cell::time)),
        ("Retired", Cell::some(resource.retired_at, Cell::time)),
        ("Version", Cell::text(resource.terms.version)),
        ("Since", Cell::time(resource.terms.created_at)),
        ("Its page", Cell::link(format!("/resources/{id}"), "as customers see it")),
        ("Leases", Cell::link(format!("/operator/leases?resource={id}"), "of it")),
    ];
    let rows = units.iter().map(|unit| {
        let name = match unit.offered {
            true => unit.unit.clone(),
            false => format!("{} (no longer offered)", unit.unit),
        };
        vec![
            Cell::text(name),
            Cell::badge(&unit.state),
            Cell::some(unit.lease.as_ref(), |lease| Cell::id("leases", lease)),
        ]
    });
    if !units.is_empty() {
        page.tables.push(Table {
            title: "Units".into(),
            columns: vec!["Unit", "State", "Lease"],
            rows: rows.collect(),
            empty: "",
        });
    }
    let all = serde_json::to_value(terms).unwrap_or_default();
    let rows = all.as_object().into_iter().flatten().map(|(key, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![Cell::text(key), Cell::code(text)]
    });
    page.tables.push(Table {
        title: "Its terms".into(),
        columns: vec!["Key", "Value"],
        rows: rows.collect(),
        empty: "",
    });
    page.history_of(&state, &id).await?;
    Ok(page.show())
}

/// True to pause.
fn pauses(act: &str) -> Result<bool, Refusal> {
    match act {
        "pause" => Ok(true),
        "resume" => Ok(false),
        _ => Err(nothing()),
    }
}

async fn ask(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    Ok(pausing(&state, &visitor, &id, pauses(&act)?).await?.show())
}

/// Asks whether to pause or to go on.
async fn pausing(
    state: &HttpState,
    visitor: &Visitor,
    id: &str,
    pause: bool,
) -> Result<FormPage, Wrong> {
    let (resource, _) = look::resource(&state.db, id).await?;
    let path = format!("/operator/catalog/{id}");
    let title = resource.terms.terms.title;
    let (question, button, words) = match pause {
        true => (
            format!("Pause {title}?"),
            "Pause",
            "Nothing new is sold, and money that comes can be refunded. Running leases go on.",
        ),
        false => (format!("Take money for {title} again?"), "Take money", "It is sold again."),
    };
    let place = (format!("{path}/{}", if pause { "pause" } else { "resume" }), path);
    Ok(FormPage::new(state, visitor, place, (question, button)).words(words))
}

async fn act(
    State(state): State<HttpState>,
    visitor: Visitor,
    Path((id, act)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Manage)?;
    let (pause, actor) = (pauses(&act)?, visitor.name());
    let to = format!("/operator/catalog/{id}");
    let item = PauseResource { ground: state.ground(), resource: id.clone(), pause, actor };
    match visitor.change(&state, (&format!("{to}/{act}"), &sent), item).await {
        Ok(()) => Ok(Redirect::to(&to).into_response()),
        Err(problem) => pausing(&state, &visitor, &id, pause).await?.again(problem, &sent),
    }
}

/// Shows what applying the file would change; what is sent back holds for this difference only.
async fn question(state: &HttpState, visitor: &Visitor) -> Result<FormPage, Wrong> {
    let found = look::difference(&state.db, &read_file(state).await?).await?;
    let place = (APPLY.to_owned(), LIST.0.to_owned());
    let mut page = FormPage::new(state, visitor, place, ("Apply the file?", "Apply it"));
    page.table = differences(&found.changes);
    page.hidden.push(("difference", found.hash));
    let words = "Running leases and open invoices keep the terms that they have. What is missing in \
                 the file is retired.";
    Ok(page.words(words))
}

async fn ask_apply(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    Ok(question(&state, &visitor).await?.show())
}

async fn apply(
    State(state): State<HttpState>,
    visitor: Visitor,
    sent: Sent,
) -> Result<Response, Wrong> {
    visitor.may(Scope::Admin)?;
    let item = ApplyCatalog {
        catalog: read_file(&state).await?,
        now: state.clock.now(),
        actor: Some(visitor.name()),
        dry_run: false,
        expect: Some(sent.text("difference").to_owned()),
    };
    match state.db.write(item).await {
        Ok(_) => Ok(Redirect::to(LIST.0).into_response()),
        Err(AppError::Refused(why)) if why.code == Code::Conflict => {
            question(&state, &visitor).await?.again(why.into(), &sent)
        }
        Err(error) => Err(error.into()),
    }
}
