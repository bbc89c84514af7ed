//! Invoices: their status and their picture for anybody.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::cancel_invoice::CancelInvoice;
use crate::app::view::{self, InvoiceView};
use crate::app::{Code, Refusal, read};
use crate::domain::ids::InvoiceId;
use crate::domain::uri::payment_uri_for_qr;
use crate::http::auth::Holder;
use crate::http::error::ProblemBody;
use crate::http::json::Path;
use crate::http::{HttpState, Problem};
use crate::qr;

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(find)).routes(routes!(picture)).routes(routes!(cancel))
}

/// An invoice.
#[utoipa::path(get, path = "/v1/invoices/{id}", tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "The invoice", body = InvoiceView),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn find(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<InvoiceView>, Problem> {
    let row = read::invoice(&state.db, &id).await?;
    Ok(Json(view::invoice(&row, &state.scene())))
}

/// The payment link as a QR code.
#[utoipa::path(get, path = "/v1/invoices/{id}/qr.svg", tag = "invoices",
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "A picture", content_type = "image/svg+xml",
            body = String),
        (status = 404, description = "not_found", body = ProblemBody)))]
async fn picture(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = read::invoice(&state.db, &id).await?;
    let due = row.doc.standing.due_sat();
    let due = (due > 0).then_some(due);
    let uri = payment_uri_for_qr(&row.address, due, Some(&row.resource));
    let svg = qr::svg(&uri).map_err(|_| Problem::internal())?;
    Ok(([(header::CONTENT_TYPE, "image/svg+xml")], svg).into_response())
}

/// Give an invoice up before anything came. The address stays watched for ever.
#[utoipa::path(post, path = "/v1/invoices/{id}/cancel", tag = "invoices",
    security(("claim_token" = [])),
    params(("id" = String, Path, description = "The invoice's id")),
    responses((status = 200, description = "The invoice", body = InvoiceView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 403, description = "forbidden", body = ProblemBody),
        (status = 409, description = "not_cancellable", body = ProblemBody)))]
async fn cancel(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    holder: Holder,
) -> Result<Json<InvoiceView>, Problem> {
    let row = read::invoice(&state.db, &id).await?;
    let lease = read::lease(&state.db, row.facts.lease.as_str()).await?;
    holder.must_hold(&lease.claim)?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no invoice {id}"));
    let invoice = InvoiceId::parse(&id).ok_or_else(unknown)?;
    let row = state.db.write(CancelInvoice { ground: state.ground(), invoice }).await?;
    Ok(Json(view::invoice(&row, &state.scene())))
}
