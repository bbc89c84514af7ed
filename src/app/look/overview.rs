//! What an operator wants to see first: how the last days went, where the money is, what needs a
//! look, how node and database are.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::app::readiness::{NodeNow, Readiness};
use crate::app::wallet_state::WalletState;
use crate::app::{AppError, read};
use crate::db::{self, Backend, Conn, Db, DbError};
use crate::domain::time::Timestamp;
use crate::domain::webhook::EndpointState;

use super::days::{Day, Used, look_back};
use super::keychains;

/// Leases that end within a day are shown, and so many of a kind.
const SOON_S: u64 = 86_400;
const MOST: u32 = 20;

/// A lease that ends soon.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Ending {
    /// Its id.
    pub id: String,
    /// Its resource.
    pub resource: String,
    /// Its unit.
    pub unit: Option<String>,
    /// When it ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends_at: Option<Timestamp>,
}

/// Something that a provisioner could not do.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Failing {
    /// The action.
    pub id: String,
    /// Its lease.
    pub lease: String,
    /// What was to be done.
    pub action: String,
    /// What was said.
    pub failure: Option<String>,
    /// True when it waits for an operator.
    pub waits: bool,
}

/// How the node is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NodeView {
    /// `trusted`, `catching_up`, `recovering`, `doubted` or `failing`.
    pub state: &'static str,
    /// Why it is not trusted.
    pub detail: Option<String>,
    /// What it is.
    pub version: Option<String>,
    /// Our tip.
    pub height: u32,
    /// Blocks that it has and we have not.
    pub tip_lag: u32,
    /// When it was last followed to the end.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub followed_at: Option<Timestamp>,
    /// The watch-only wallet: `unknown`, `ready`, `scanning` or `failing`.
    pub wallet: &'static str,
    /// More of it.
    pub wallet_detail: Option<String>,
}

/// How the database is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DatabaseView {
    /// `sqlite` or `postgres`.
    pub kind: &'static str,
    /// The schema's version.
    pub schema: i64,
    /// The newest event.
    pub last_seq: i64,
}

/// Addresses that no money came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Gap {
    /// The keychain.
    pub keychain: u32,
    /// Whether new addresses are of it.
    pub issues: bool,
    /// The first index never issued.
    pub next_index: u32,
    /// What a wallet needs to see all money.
    pub gap_limit: u32,
}

/// How many wait, and what they come to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Owed {
    /// `waiting`, `due`, `prepared`, `broadcast` or `confirmed`.
    pub state: String,
    /// How many.
    pub count: u64,
    /// What they come to.
    pub amount_sat: u64,
}

/// What there is to see first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Overview {
    /// When this was so.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The last 30 days, oldest first.
    pub days: Vec<Day>,
    /// The last 30 days of each resource.
    pub resources: Vec<Used>,
    /// Where the money is, as of `GET /v1/resources/{id}/accounts`, of all resources.
    #[schema(value_type = Object)]
    pub money: Value,
    /// Leases by state.
    #[schema(value_type = Object)]
    pub leases: Value,
    /// Leases that end within a day, first one first.
    pub ending_soon: Vec<Ending>,
    /// Actions that wait for a provisioner.
    pub actions_waiting: u64,
    /// How many failed for good and wait for an operator.
    pub actions_failed: u64,
    /// The newest 20 that failed, those that are tried again included.
    pub failing: Vec<Failing>,
    /// Payouts by state.
    pub payouts: Vec<Owed>,
    /// When this database was restored, while payouts are held: none is prepared until `leasehold
    /// payouts resume` has found what left since its backup.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub payouts_held_since: Option<Timestamp>,
    /// Messages that wait for endpoints.
    pub deliveries_pending: u64,
    /// Endpoints that were disabled.
    pub webhooks_disabled: usize,
    /// The node.
    pub node: NodeView,
    /// The database.
    pub database: DatabaseView,
    /// Keychains, oldest first.
    pub gaps: Vec<Gap>,
}

/// What there is to see first, all as of one moment. It folds every lease that moved in 30 days:
/// keep it for a while.
///
/// # Errors
/// Those of the database.
pub async fn overview(
    db: &Db,
    now: Timestamp,
    issuing: u32,
    (readiness, wallet): (&Readiness, &WalletState),
) -> Result<Overview, AppError> {
    let mut conn = db.snapshot().await?;
    let (days, resources) = look_back(&mut conn, now).await?;
    let gaps = keychains(&mut conn, issuing).await?.into_iter().map(|view| Gap {
        keychain: view.keychain,
        issues: view.issues,
        next_index: view.next_index,
        gap_limit: view.gap_limit,
    });
    let by_state = db::lease::count_by_state(&mut conn).await?;
    let ending = db::lease::list_ending(&mut conn, now.plus_s(SOON_S), MOST).await?;
    let ending = ending.into_iter().map(|row| Ending {
        ends_at: row.doc.standing.at(now).expires_at,
        id: row.facts.id.to_string(),
        resource: row.facts.resource,
        unit: row.unit,
    });
    let payouts = db::payout::sums(&mut conn).await?;
    let owed = |(state, count, amount_sat)| Owed { state, count, amount_sat };
    Ok(Overview {
        at: now,
        days,
        resources,
        money: read::money(&mut conn, None, now).await?.into_iter().collect(),
        leases: by_state.iter().map(|(state, n)| (state.as_str(), *n)).collect(),
        ending_soon: ending.collect(),
        actions_waiting: db::action::depth(&mut conn).await?.0,
        actions_failed: db::action::count_failed(&mut conn).await?,
        failing: failing(&mut conn).await?,
        payouts: payouts.into_iter().map(owed).collect(),
        payouts_held_since: db::meta::payouts_held(&mut conn).await?.map(|(at, _)| at),
        deliveries_pending: db::delivery::pending(&mut conn, None).await?,
        webhooks_disabled: db::webhook::in_state(&mut conn, EndpointState::Disabled).await?.len(),
        node: NodeView::new(readiness, wallet),
        database: DatabaseView {
            kind: match db.backend() {
                Backend::Sqlite => "sqlite",
                Backend::Postgres => "postgres",
            },
            schema: db::migrate::known(),
            last_seq: db::event::last_seq(&mut conn).await?,
        },
        gaps: gaps.collect(),
    })
}

async fn failing(conn: &mut Conn) -> Result<Vec<Failing>, DbError> {
    let filter =
        db::action::Filter { state: Some("failing".into()), ..db::action::Filter::default() };
    let rows = db::action::list(conn, &filter, MOST).await?;
    let show = |row: db::action::ActionRow| Failing {
        waits: row.failed_at.is_some(),
        id: row.id,
        lease: row.subject,
        action: row.action.as_str().to_owned(),
        failure: row.failure,
    };
    Ok(rows.into_iter().map(show).collect())
}

impl NodeView {
    /// From what is known of it now.
    pub fn new(readiness: &Readiness, wallet: &WalletState) -> Self {
        let (state, detail) = match &readiness.node {
            NodeNow::CatchingUp => ("catching_up", None),
            NodeNow::Recovering => ("recovering", None),
            NodeNow::Trusted => ("trusted", None),
            NodeNow::Doubted(why) => ("doubted", Some(why.clone())),
            NodeNow::Failing(why) => ("failing", Some(why.clone())),
        };
        Self {
            state,
            detail,
            version: readiness.node_version.clone(),
            height: readiness.height(),
            tip_lag: readiness.lag,
            followed_at: readiness.followed_at,
            wallet: wallet.as_str(),
            wallet_detail: wallet.detail(),
        }
    }
}
