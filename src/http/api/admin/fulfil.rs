//! What provisioners were told, for operators: what waits, what fails, what is stuck; and how it is
//! mended.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::look::{self, ActionFilter};
use crate::app::mend_action::{Mend, MendAction};
use crate::app::view::{self, LeaseView};
use crate::app::{Code, Refusal};
use crate::db::action::ActionRow;
use crate::domain::fulfil::Action;
use crate::domain::ids::LeaseId;
use crate::domain::time::Timestamp;
use crate::http::api::page::{Limit, Listed};
use crate::http::auth::{Operator, Scope};
use crate::http::error::ProblemBody;
use crate::http::json::{Path, Query};
use crate::http::{HttpState, Problem};

pub(super) fn router() -> OpenApiRouter<HttpState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(retry)).routes(routes!(force_release))
}

/// Which actions.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wanted {
    Open,
    Failing,
    Failed,
    Stuck,
}

impl Wanted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Failing => "failing",
            Self::Failed => "failed",
            Self::Stuck => "stuck",
        }
    }
}

/// Which actions.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ActionQuery {
    /// At most so many, 1 to 200; 50 if not given.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 200)]
    limit: Limit,
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// `open`: not done; `failing`: failed at least once and not made up for; `failed`: those of
    /// them that wait for you; `stuck`: those of them that hold a unit back.
    #[param(value_type = Option<String>)]
    state: Option<Wanted>,
    /// Only of this resource.
    resource: Option<String>,
    /// Only of this lease.
    lease: Option<String>,
}

/// Something that a provisioner has to do.
#[derive(Serialize, ToSchema)]
struct ActionView {
    /// Its id.
    id: String,
    /// What the provisioner gets as `key`: the same at every attempt.
    key: String,
    /// The lease.
    lease: String,
    /// Its resource.
    resource: String,
    /// Its unit.
    unit: Option<String>,
    /// `provision`, `extend`, `suspend`, `resume`, `update` or `release`.
    #[schema(value_type = String, example = "provision")]
    action: Action,
    /// How often it was tried.
    attempt: u32,
    /// What was said when it failed last.
    failure: Option<String>,
    /// When it failed for good: it waits for `retry`.
    #[schema(value_type = Option<String>, format = DateTime)]
    failed_at: Option<Timestamp>,
    /// When it is tried next; `null` when it is done or waits for you.
    #[schema(value_type = Option<String>, format = DateTime)]
    due_at: Option<Timestamp>,
    /// When it was caused.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    done_at: Option<Timestamp>,
    /// `done`, `failed`, `superseded` (another stands for it) or `forced`.
    outcome: Option<String>,
}

fn show(row: &ActionRow) -> ActionView {
    let waits = row.done_at.is_none() && row.failed_at.is_none();
    ActionView {
        id: row.id.clone(),
        key: row.key(),
        lease: row.subject.clone(),
        resource: row.resource.clone(),
        unit: row.unit.clone(),
        action: row.action,
        attempt: row.attempt,
        failure: row.failure.clone(),
        failed_at: row.failed_at,
        due_at: waits.then_some(row.due_at),
        created_at: row.created_at,
        done_at: row.done_at,
        outcome: row.outcome.clone(),
    }
}

/// What provisioners were told, newest first; `?state=failing` is what needs a look. Scope `read`.
#[utoipa::path(get, path = "/v1/admin/actions", tag = "admin", params(ActionQuery),
    responses((status = 200, description = "A page of actions", body = Listed),
        (status = 401, description = "unauthorized", body = ProblemBody),
        (status = 422, description = "invalid_request", body = ProblemBody)))]
async fn list(
    State(state): State<HttpState>,
    operator: Operator,
    Query(query): Query<ActionQuery>,
) -> Result<Json<Listed>, Problem> {
    operator.may(Scope::Read)?;
    let filter = ActionFilter {
        state: query.state.map(|state| state.as_str().to_owned()),
        resource: query.resource,
        lease: query.lease,
        before: None,
    };
    let part = query.limit.after(query.cursor);
    let found = look::actions(&state.db, filter, &part).await?;
    Ok(Listed::new(found, |row| serde_json::json!(show(&row))))
}

async fn mend(
    state: &HttpState,
    operator: &Operator,
    id: &str,
    mend: Mend,
) -> Result<Json<LeaseView>, Problem> {
    operator.may(Scope::Manage)?;
    let unknown = || Refusal::new(Code::NotFound, format!("there is no lease {id}"));
    let lease = LeaseId::parse(id).ok_or_else(unknown)?;
    let (ground, actor) = (state.ground(), operator.name());
    let row = state.db.write(MendAction { ground, lease, mend, actor }).await?;
    Ok(Json(view::lease(&row, &state.scene())))
}

/// Try again at once what a lease's provisioner could not do. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/leases/{id}/retry", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: nothing waits", body = ProblemBody)))]
async fn retry(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<LeaseView>, Problem> {
    mend(&state, &operator, &id, Mend::Retry).await
}

/// Hold a unit for taken back though its release failed: it is in stock again. Scope `manage`.
#[utoipa::path(post, path = "/v1/admin/leases/{id}/force-release", tag = "admin",
    params(("id" = String, Path, description = "The lease's id")),
    responses((status = 200, description = "The lease", body = LeaseView),
        (status = 404, description = "not_found", body = ProblemBody),
        (status = 409, description = "conflict: no release waits", body = ProblemBody)))]
async fn force_release(
    State(state): State<HttpState>,
    operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<LeaseView>, Problem> {
    mend(&state, &operator, &id, Mend::ForceRelease).await
}
