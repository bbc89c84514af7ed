//! The event log, the ledger, the audit log and the wallet, for operators.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::look::{self, EventFilter};
use crate::app::view_event::EventView;
use crate::app::{Code, Refusal};
use crate::db;
use crate::http::api::page::{Limit, Listed, Page};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};
use crate::worker::watch::LOOKAHEAD;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(events))
        .routes(routes!(event))
        .routes(routes!(ledger))
        .routes(routes!(export))
        .routes(routes!(wallet))
        .routes(routes!(audit_log))
}

/// A part of a numbered log.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct After {
    /// What comes after this number.
    after: Option<u64>,
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// Only of this type, or of this group: `payment.`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Only about this: the id of a lease, an invoice, …
    subject: Option<String>,
}

/// A part of the event log.
#[derive(Serialize, ToSchema)]
struct Events {
    /// The events, oldest first.
    items: Vec<EventView>,
    /// Ask with it as `after` for what follows.
    next_after: i64,
    /// The newest number of the whole log; 0 when it is empty.
    last_seq: i64,
}

/// The event log, oldest first: the way to recover whatever was missed. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/events", tag = "admin", params(After),
    responses((status = 200, description = "A part of the log", body = Events),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn events(
    State(state): State<HttpState>,
    operator: Operator,
    Query(part): Query<After>,
) -> Result<Json<Events>, Problem> {
    operator.may(Scope::Read)?;
    let after = i64::try_from(part.after.unwrap_or(0)).unwrap_or(i64::MAX);
    if let Some(kind) = part.kind.as_deref().filter(|kind| !look::event_types().contains(kind)) {
        let detail = format!("{kind:?} is none of {}", look::event_types().join(", "));
        return Err(Refusal::field(Code::InvalidRequest, "/type", detail).into());
    }
    let filter = EventFilter { kind: part.kind, subject: part.subject, mentions: None };
    let found = look::events_after(&state.db, &filter, after, part.limit.get()).await?;
    let items = found.rows.into_iter().map(EventView::from).collect();
    Ok(Json(Events { items, next_after: found.next_after, last_seq: found.last_seq }))
}

/// One event. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/events/{id}", tag = "admin",
    params(("id" = String, Path, description = "The event's id")),
    responses((status = 200, description = "The event", body = EventView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn event(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<EventView>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(look::event(&state.db, &id).await?.into()))
}

/// Lines of the ledger, newest entry first; debits are positive. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/ledger", tag = "admin", params(Page),
    responses((status = 200, description = "A page of lines", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn ledger(
    State(state): State<HttpState>,
    operator: Operator,
    Query(page): Query<Page>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let found = look::ledger(&state.db, &page.limit.after(page.cursor)).await?;
    Ok(Listed::new(found, |row| {
        json!({
            "entry": row.entry,
            "at": row.happened_at,
            "resource": row.resource,
            "subject": row.subject,
            "account": row.account,
            "amount_sat": row.amount_sat,
        })
    }))
}

/// The whole ledger as CSV, for an accountant. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/export.csv", tag = "admin",
    responses((status = 200, description = "The ledger", content_type = "text/csv", body = String),
        (status = 401, description = "unauthorized", body = ProblemBody)))]
async fn export(State(state): State<HttpState>, operator: Operator) -> Result<Response, Problem> {
    operator.may(Scope::Read)?;
    let mut writer = csv::Writer::from_writer(Vec::new());
    let broken = |_| Problem::internal();
    writer
        .write_record(["entry", "at", "resource", "subject", "account", "amount_sat"])
        .map_err(broken)?;
    let mut after = 0;
    loop {
        // A connection for a page: a long answer must not keep one.
        let mut conn = state.db.read().await?;
        let rows = db::ledger::list(&mut conn, after, 1000).await?;
        let Some(last) = rows.last() else { break };
        after = last.entry;
        for row in &rows {
            let record = [
                row.entry.to_string(),
                row.happened_at.to_string(),
                row.resource.clone().unwrap_or_default(),
                row.subject.clone(),
                row.account.as_str().to_owned(),
                row.amount_sat.to_string(),
            ];
            writer.write_record(&record).map_err(broken)?;
        }
    }
    let text = writer.into_inner().map_err(|_| Problem::internal())?;
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"ledger.csv\""),
    ];
    Ok((headers, text).into_response())
}

/// Keychains: what was issued, what got money, and the gap limit that a wallet needs to see all
/// of it; how the node's watch-only wallet, which payouts are made with, is doing (`unknown`,
/// `ready`, `scanning`, `failing`). Scope `read`.
#[utoipa::path(get, path = "/v1/admin/wallet", tag = "admin",
    responses((status = 200, description = "{keychains, watch_only: {name, state, detail}}", body = Object),
        (status = 401, description = "unauthorized", body = ProblemBody)))]
async fn wallet(
    State(state): State<HttpState>,
    operator: Operator,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let mut conn = state.db.read().await?;
    let keychains = look::keychains(&mut conn, state.shop.keychain_id).await?;
    drop(conn);
    let name = keychains.first().map(|keychain| keychain.wallet.clone());
    let shown = keychains.into_iter().map(|keychain| {
        let end = keychain.first_unused + LOOKAHEAD;
        let mut shown = json!(keychain);
        shown["import_range"] = json!([0, end]);
        shown
    });
    let keychains: Vec<Value> = shown.collect();
    let state = state.wallet.borrow().clone();
    let watch_only = json!({ "name": name, "state": state.as_str(), "detail": state.detail() });
    Ok(Json(json!({ "keychains": keychains, "watch_only": watch_only })))
}

/// Which actions of operators.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ActsQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only to this: the id of a lease, a payment, an endpoint, a resource, …
    subject: Option<String>,
}

/// What operators did, newest first. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/audit-log", tag = "admin", params(ActsQuery),
    responses((status = 200, description = "A page of actions", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn audit_log(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<ActsQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let part = query.limit.after(query.cursor);
    let found = look::audit_log(&state.db, query.subject.as_deref(), &part).await?;
    Ok(Listed::new(found, |row| {
        json!({
            "id": row.id,
            "at": row.happened_at,
            "actor": row.actor,
            "action": row.action,
            "subject": row.subject,
            "detail": row.detail,
        })
    }))
}
