//! Payments for operators: the inbox of money that found no lease, and what becomes of it.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::look::{self, PaymentFilter};
use crate::app::operate::{AssignPayment, RefundPayment};
use crate::app::{Code, Refusal};
use crate::db::payment::PaymentRow;
use crate::domain::ids::LeaseId;
use crate::domain::payment::PaymentState;
use crate::http::api::leases::checked_address;
use crate::http::api::page::{Limit, Listed};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Path, Query};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(assign))
        .routes(routes!(refund))
}

fn show(row: &PaymentRow, tip: u32) -> Value {
    json!({
        "id": row.facts.id,
        "txid": row.facts.outpoint.txid,
        "vout": row.facts.outpoint.vout,
        "amount_sat": row.facts.amount_sat,
        "state": row.state,
        "confirmations": row.facts.confirmations(tip),
        "height": row.facts.mined.as_ref().map(|mined| mined.height),
        "first_seen_at": row.facts.first_seen_at,
        "invoice": row.facts.invoice,
        "lease": row.lease,
        "disposition": look::disposition(row),
        "derivation_index": row.index,
        "refund_address": row.refund_address,
    })
}

/// Which payments.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct PaymentQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Only in this state: `mempool`, `confirming`, `credited`, `final`, `gone`, `conflicted`,
    /// `replaced`, `reversed`.
    #[param(value_type = Option<String>)]
    state: Option<PaymentState>,
    /// Only those of leases of this resource.
    resource: Option<String>,
    /// Only money that found no lease and waits for an operator: it is there, and nobody has said where
    /// it goes.
    #[serde(default)]
    unallocated: bool,
}

/// Payments, newest first; `?unallocated=true` is the inbox. A payment's `disposition` says where its
/// money is: `lease`, `change` (our own), or, of what found no lease, `unallocated`, `refundable`,
/// `refunded`, `dust`, `lost`; `null` when it is not there. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payments", tag = "admin", params(PaymentQuery),
    responses((status = 200, description = "A page of payments", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<PaymentQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let filter = PaymentFilter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        unallocated: query.unallocated,
        ..PaymentFilter::default()
    };
    let part = query.limit.after(query.cursor);
    let found = look::payments(&state.db, filter, &part).await?;
    let tip = state.readiness.borrow().height();
    Ok(Listed::new(found, |row| show(&row, tip)))
}

/// One payment. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/payments/{id}", tag = "admin",
    params(("id" = String, Path, description = "The payment's id")),
    responses((status = 200, description = "The payment", body = Object),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn one(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Read)?;
    let row = look::payment(&state.db, &id).await?;
    Ok(Json(show(&row, state.readiness.borrow().height())))
}

/// The lease that gets the money.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Assignment {
    /// Its id.
    lease: String,
}

/// Give money that found no lease to one. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/payments/{id}/assign", tag = "admin",
    request_body = Assignment, params(("id" = String, Path, description = "The payment's id")),
    responses((status = 200, description = "The payment", body = Object),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn assign(
    State(state): State<HttpState>,
    operator: Operator,
    Path(payment): Path<String>,
    body: Body<Assignment>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Manage)?;
    let unknown = || Refusal::field(Code::InvalidRequest, "/lease", "this is no lease id");
    let lease = LeaseId::parse(&body.value.lease).ok_or_else(unknown)?;
    let actor = operator.name();
    let row =
        state.db.write(AssignPayment { ground: state.ground(), payment, lease, actor }).await?;
    Ok(Json(show(&row, state.readiness.borrow().height())))
}

/// Where money goes back to.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundTo {
    /// An address of whoever paid.
    address: String,
}

/// Say where money that found no lease goes back to. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/payments/{id}/refund", tag = "admin",
    request_body = RefundTo, params(("id" = String, Path, description = "The payment's id")),
    responses((status = 200, description = "The payment", body = Object),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: a batch pays it to another address, or has",
            body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn refund(
    State(state): State<HttpState>,
    operator: Operator,
    Path(payment): Path<String>,
    body: Body<RefundTo>,
) -> Result<Json<Value>, Problem> {
    operator.may(Scope::Manage)?;
    let address =
        checked_address(&state, "/address", Some(&body.value.address))?.unwrap_or_default();
    let actor = operator.name();
    let item = RefundPayment { ground: state.ground(), payment, address, actor };
    let row = state.db.write(item).await?;
    Ok(Json(show(&row, state.readiness.borrow().height())))
}
