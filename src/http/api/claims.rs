//! Everything under one claim token.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::leases::checked_address;
use crate::app::change_claim::ChangeClaim;
use crate::app::view::{self, LeaseView};
use crate::db;
use crate::db::claim::Claim;
use crate::http::auth::Holder;
use crate::http::error::ProblemBody;
use crate::http::json::Body;
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(find, change))
}

/// A claim: what came, what it bought, what can go back.
#[derive(Serialize, ToSchema)]
struct ClaimView {
    /// Money that counts.
    received_sat: u64,
    /// Waits for more money, or for a unit.
    held_sat: u64,
    /// Bought time.
    credited_sat: u64,
    /// Seconds beyond the horizon, or waiting for the start.
    banked_s: u64,
    /// Can go back.
    refundable_sat: u64,
    /// Went back.
    refunded_sat: u64,
    /// Where refunds go.
    refund_address: Option<String>,
    /// Where payouts go.
    payout_address: Option<String>,
    /// Its leases, newest first.
    leases: Vec<LeaseView>,
    /// None in this version.
    donations: Vec<String>,
    /// None in this version.
    bids: Vec<String>,
    /// None in this version.
    investments: Vec<String>,
}

async fn show(state: &HttpState, claim: Claim) -> Result<ClaimView, Problem> {
    let mut conn = state.db.read().await?;
    let rows = db::lease::list_of_claim(&mut conn, &claim.id).await?;
    drop(conn);
    let scene = state.scene();
    let books: Vec<_> = rows.iter().map(|row| row.doc.standing.books(scene.now)).collect();
    let leases: Vec<LeaseView> = rows.iter().map(|row| view::lease(row, &scene)).collect();
    let received_sat = books.iter().map(|books| books.received_sat).sum::<u64>();
    let held_sat = books.iter().map(|books| books.held_sat).sum::<u64>();
    let refundable_sat = books.iter().map(|books| books.refundable_sat).sum::<u64>();
    Ok(ClaimView {
        received_sat,
        held_sat,
        credited_sat: received_sat - held_sat - refundable_sat,
        banked_s: leases.iter().map(|lease| lease.banked_s).sum(),
        refundable_sat,
        refunded_sat: 0,
        refund_address: claim.refund_address,
        payout_address: claim.payout_address,
        leases,
        donations: Vec::new(),
        bids: Vec::new(),
        investments: Vec::new(),
    })
}

/// Everything under the claim token.
#[utoipa::path(get, path = "/v1/claims", tag = "claims",
    responses((status = 200, description = "The claim", body = ClaimView),
        (status = 401, description = "unauthorized", body = ProblemBody)))]
async fn find(State(state): State<HttpState>, holder: Holder) -> Result<Json<ClaimView>, Problem> {
    Ok(Json(show(&state, holder.0).await?))
}

/// Where money goes. A field that is missing stays as it is, `null` takes an address away.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ClaimChange {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    refund_address: Option<Option<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    payout_address: Option<Option<String>>,
}

/// Tells a field that is `null` from one that is missing.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(input).map(Some)
}

/// Say where money goes.
#[utoipa::path(patch, path = "/v1/claims", tag = "claims", request_body = ClaimChange,
    responses((status = 200, description = "The claim", body = ClaimView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn change(
    State(state): State<HttpState>,
    holder: Holder,
    body: Body<ClaimChange>,
) -> Result<Json<ClaimView>, Problem> {
    let checked = |pointer, address: Option<Option<String>>| match address {
        Some(text) => checked_address(&state, pointer, text.as_deref()).map(Some),
        None => Ok(None),
    };
    let item = ChangeClaim {
        claim: holder.0.id,
        refund_address: checked("/refund_address", body.value.refund_address)?,
        payout_address: checked("/payout_address", body.value.payout_address)?,
    };
    let claim = state.db.write(item).await?;
    Ok(Json(show(&state, claim).await?))
}
