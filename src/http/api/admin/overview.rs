//! What operators look at first, and the search over everything.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::look::{self, Found, Overview};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::Query;
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(overview)).routes(routes!(search))
}

/// The last 30 days, where the money is, what ends soon, what failed, how node and database are.
/// Scope `read`.
#[utoipa::path(get, path = "/v1/admin/overview", tag = "admin",
    responses((status = 200, description = "The overview", body = Overview),
        (status = 401, description = "unauthorized", body = ProblemBody)))]
async fn overview(
    State(state): State<HttpState>,
    operator: Operator,
) -> Result<Json<Overview>, Problem> {
    operator.may(Scope::Read)?;
    Ok(Json(state.overview().await?))
}

/// What to look for.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// An id, an address or payment link, a txid, or an output: `txid:vout`.
    q: String,
}

/// What was found.
#[derive(Serialize, ToSchema)]
struct Results {
    /// Everything that has this id, address or txid; a hundred or so at most.
    items: Vec<Found>,
}

/// Find what an id, an address, a txid or an output names. Scope `read`; keys with `admin` only.
#[utoipa::path(get, path = "/v1/admin/search", tag = "admin", params(Wanted),
    responses((status = 200, description = "What was found", body = Results),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn search(
    State(state): State<HttpState>,
    operator: Operator,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Results>, Problem> {
    operator.may(Scope::Read)?;
    let found = look::search(&state.db, &wanted.q, operator.may(Scope::Admin).is_ok()).await?;
    Ok(Json(Results { items: found }))
}
