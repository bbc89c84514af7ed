//! Everything under one claim token.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::leases::checked_address;
use crate::app::change_claim::ChangeClaim;
use crate::app::view::{self, LeaseView, Scene};
use crate::app::view_payout::{self, PayoutView};
use crate::app::{Code, Refusal};
use crate::db::claim::Claim;
use crate::db::lease::LeaseRow;
use crate::db::payout::Filter;
use crate::db::{self, Conn, DbError};
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;
use crate::http::auth::Holder;
use crate::http::error::ProblemBody;
use crate::http::json::{Body, Query};
use crate::http::{HttpState, Problem};

/// The most leases of one answer.
const MOST: u32 = 200;

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
    /// What goes back, newest first, at most 200: where each payout stands, and its transaction.
    payouts: Vec<PayoutView>,
    /// Where refunds go.
    refund_address: Option<String>,
    /// Where payouts go.
    payout_address: Option<String>,
    /// A page of its leases, newest first. The sums are over all of them.
    leases: Vec<LeaseView>,
    /// Ask with it for what follows; `null` at the end.
    next_cursor: Option<String>,
    /// None in this version.
    donations: Vec<String>,
    /// None in this version.
    bids: Vec<String>,
    /// None in this version.
    investments: Vec<String>,
}

/// Which part of the leases.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Part {
    /// At most so many leases, 1 to 200; 50 if not given.
    limit: Option<u32>,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
}

impl Part {
    fn limit(&self) -> Result<u32, Refusal> {
        let limit = self.limit.unwrap_or(50);
        let wrong = || {
            let detail = format!("limit is {limit}; allowed are 1 to {MOST}");
            Refusal::field(Code::InvalidRequest, "/limit", detail)
        };
        (1..=MOST).contains(&limit).then_some(limit).ok_or_else(wrong)
    }

    /// The (moment, id) that the page begins after.
    fn before(&self) -> Result<Option<(Timestamp, String)>, Refusal> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let parsed = cursor.split_once('.').and_then(|(millis, id)| {
            let id = LeaseId::parse(id)?;
            Some((Timestamp::from_millis(millis.parse().ok()?), id.to_string()))
        });
        let wrong = || Refusal::field(Code::InvalidRequest, "/cursor", "this is no cursor of ours");
        parsed.ok_or_else(wrong).map(Some)
    }
}

/// Sums over all leases of a claim.
#[derive(Default)]
struct Sums {
    received_sat: u64,
    held_sat: u64,
    credited_sat: u64,
    refundable_sat: u64,
    refunded_sat: u64,
    banked_s: u64,
}

impl Sums {
    async fn of(conn: &mut Conn, claim: &str, scene: &Scene<'_>) -> Result<Self, DbError> {
        let (mut sums, mut after) = (Self::default(), String::new());
        loop {
            let rows = db::lease::list_paid_of_claim(conn, claim, &after, 500).await?;
            let Some(last) = rows.last() else { return Ok(sums) };
            after = last.facts.id.to_string();
            for row in &rows {
                let books = row.doc.books(scene.now);
                // What a top-up of somebody else gets back is theirs.
                let own = row.doc.accounts.iter().filter(|account| account.recipient.is_none());
                sums.received_sat += books.received_sat;
                sums.held_sat += books.held_sat;
                sums.credited_sat += books.prepaid_sat + books.earned_sat;
                for account in own {
                    // What is too small to be paid now is still the holder's.
                    sums.refundable_sat += account.refundable_sat() + account.dust_sat;
                    sums.refunded_sat += account.out_sat;
                }
                sums.banked_s += view::lease(row, scene).banked_s;
            }
        }
    }
}

async fn show(state: &HttpState, claim: Claim, part: &Part) -> Result<ClaimView, Problem> {
    let (limit, before) = (part.limit()?, part.before()?);
    let scene = state.scene();
    let mut conn = state.db.snapshot().await?;
    let rows = db::lease::list_of_claim(&mut conn, &claim.id, before, limit).await?;
    let sums = Sums::of(&mut conn, &claim.id, &scene).await?;
    let filter = Filter { claim: Some(claim.id.clone()), ..Filter::default() };
    let payouts = db::payout::list(&mut conn, &filter, MOST).await?;
    drop(conn);
    let full = u32::try_from(rows.len()).is_ok_and(|count| count >= limit);
    let cursor = |row: &LeaseRow| format!("{}.{}", row.facts.created_at.millis(), row.facts.id);
    Ok(ClaimView {
        received_sat: sums.received_sat,
        held_sat: sums.held_sat,
        credited_sat: sums.credited_sat,
        banked_s: sums.banked_s,
        refundable_sat: sums.refundable_sat,
        refunded_sat: sums.refunded_sat,
        payouts: payouts.iter().map(view_payout::payout).collect(),
        refund_address: claim.refund_address,
        payout_address: claim.payout_address,
        leases: rows.iter().map(|row| view::lease(row, &scene)).collect(),
        next_cursor: rows.last().filter(|_| full).map(cursor),
        donations: Vec::new(),
        bids: Vec::new(),
        investments: Vec::new(),
    })
}

/// Everything under the claim token.
#[utoipa::path(get, path = "/v1/claims", tag = "claims", params(Part),
    security(("claim_token" = [])),
    responses((status = 200, description = "The claim", body = ClaimView),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn find(
    State(state): State<HttpState>,
    Query(part): Query<Part>,
    holder: Holder,
) -> Result<Json<ClaimView>, Problem> {
    Ok(Json(show(&state, holder.0, &part).await?))
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
    security(("claim_token" = [])),
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
    Ok(Json(show(&state, claim, &Part::default()).await?))
}
