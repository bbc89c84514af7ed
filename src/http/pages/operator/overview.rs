//! What an operator sees first: the last 30 days as plots, where the money is, what needs a look.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;

use super::blocks::Desk;
use super::days::{self, Plot};
use super::{Cell, HOME, Table, Visitor};
use crate::app::look::Overview;
use crate::domain::uri::sat_text;
use crate::http::HttpState;
use crate::http::pages::problem::Wrong;
use crate::http::pages::{Frame, render};

pub(super) fn router() -> Router<HttpState> {
    Router::new().route(HOME, get(overview))
}

/// Something that needs a look.
struct Notice {
    alarm: bool,
    text: String,
    /// Where it is seen to, unless it is here.
    to: Option<&'static str>,
}

#[derive(Template)]
#[template(path = "operator/overview.html")]
struct OverviewPage {
    frame: Frame,
    desk: Desk,
    notices: Vec<Notice>,
    plots: Vec<Plot>,
    resources: Table,
    each: Vec<Plot>,
    leases: Vec<(String, Cell)>,
    money: Table,
    ending: Table,
    failing: Table,
    payouts: Table,
    server: Vec<(String, Cell)>,
}

async fn overview(State(state): State<HttpState>, visitor: Visitor) -> Result<Response, Wrong> {
    let seen = state.overview().await?;
    Ok(render(&OverviewPage {
        frame: Frame::new(&state),
        desk: Desk::new(&visitor, HOME),
        notices: notices(&seen),
        plots: days::plots(&seen)?,
        resources: days::resources(&seen),
        each: days::of_each(&seen)?,
        leases: leases(&seen),
        money: money(&seen),
        ending: ending(&seen),
        failing: failing(&seen),
        payouts: payouts(&seen),
        server: server(&seen),
    }))
}

fn of_money(seen: &Overview, name: &str) -> i64 {
    seen.money[name].as_i64().unwrap_or(0)
}

fn notices(seen: &Overview) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut say = |alarm, text: String, to: &'static str| {
        notices.push(Notice { alarm, text, to: Some(to).filter(|to| *to != HOME) });
    };
    if seen.node.state != "trusted" {
        let why = seen.node.detail.as_deref().unwrap_or("it catches up with its chain");
        say(seen.node.state == "failing", format!("The node is not relied on: {why}"), HOME);
    }
    if seen.node.wallet == "failing" {
        let why = seen.node.wallet_detail.as_deref().unwrap_or_default();
        say(true, format!("Payouts cannot be made: {why}"), "/operator/payouts");
    }
    if seen.payouts_held_since.is_some() {
        let text = "Payouts are held: this database was restored, and what left since its backup \
                    would be paid again. Run leasehold payouts resume, or look here";
        say(true, text.to_owned(), super::resume::PATH);
    }
    let waits = seen.actions_failed;
    if waits > 0 {
        let text = format!("{waits} of what provisioners were to do waits for you");
        say(true, text, "/operator/actions?state=failed");
    }
    let loose = of_money(seen, "unallocated_sat").unsigned_abs();
    if loose > 0 {
        let text = format!("{} found no lease", sat_text(loose));
        say(false, text, "/operator/payments?inbox=only+money+that+found+no+lease");
    }
    if seen.webhooks_disabled > 0 {
        let text = match seen.webhooks_disabled {
            1 => "1 endpoint is disabled".to_owned(),
            some => format!("{some} endpoints are disabled"),
        };
        say(false, text, "/operator/webhooks");
    }
    if let Some(due) = seen.payouts.iter().find(|owed| owed.state == "due") {
        let what = match due.count {
            1 => "1 payout is due".to_owned(),
            some => format!("{some} payouts are due"),
        };
        let text = format!("{what}: {}", sat_text(due.amount_sat));
        say(false, text, "/operator/payouts?state=due");
    }
    notices
}

fn leases(seen: &Overview) -> Vec<(String, Cell)> {
    let states = seen.leases.as_object().into_iter().flatten();
    let link = |(state, n): (&String, &serde_json::Value)| {
        (state.clone(), Cell::link(format!("/operator/leases?state={state}"), n))
    };
    states.map(link).collect()
}

/// What each place of money means.
const MEANINGS: [(&str, &str); 9] = [
    ("received_sat", "Received: came and counts"),
    ("lost_sat", "Lost: reversed after it had been paid out"),
    ("held_sat", "Held: waits for more money, or for a unit"),
    ("prepaid_sat", "Prepaid: time that has not elapsed"),
    ("earned_sat", "Earned: time that elapsed, and what is kept"),
    ("refundable_sat", "Refundable: can go back"),
    ("refunded_sat", "Refunded: went back"),
    ("dust_sat", "Dust: too little to go back"),
    ("unallocated_sat", "Unallocated: found no lease"),
];

fn money(seen: &Overview) -> Table {
    let rows = MEANINGS
        .iter()
        .map(|(key, means)| vec![Cell::text(means), Cell::signed_sat(of_money(seen, key))]);
    Table {
        title: "Money".into(),
        columns: vec!["Where", "How much"],
        rows: rows.collect(),
        empty: "",
    }
}

fn ending(seen: &Overview) -> Table {
    let rows = seen.ending_soon.iter().map(|lease| {
        vec![
            Cell::id("leases", &lease.id),
            Cell::text(&lease.resource),
            Cell::text(lease.unit.clone().unwrap_or_default()),
            Cell::some(lease.ends_at, Cell::time),
        ]
    });
    Table {
        title: "Leases ending within a day".into(),
        columns: vec!["Lease", "Resource", "Unit", "Ends"],
        rows: rows.collect(),
        empty: "None does.",
    }
}

fn failing(seen: &Overview) -> Table {
    let rows = seen.failing.iter().map(|action| {
        vec![
            Cell::id("leases", &action.lease),
            Cell::text(&action.action),
            Cell::badge(if action.waits { "failed" } else { "failing" }),
            Cell::words(action.failure.clone().unwrap_or_default()),
        ]
    });
    Table {
        title: "Failed and stuck".into(),
        columns: vec!["Lease", "Was to", "State", "What was said"],
        rows: rows.collect(),
        empty: "Nothing failed.",
    }
}

fn payouts(seen: &Overview) -> Table {
    let rows = seen.payouts.iter().map(|owed| {
        let to = format!("/operator/payouts?state={}", owed.state);
        vec![Cell::link(to, &owed.state), Cell::number(owed.count), Cell::sat(owed.amount_sat)]
    });
    Table {
        title: "Payouts".into(),
        columns: vec!["State", "How many", "Together"],
        rows: rows.collect(),
        empty: "Nothing was ever owed.",
    }
}

fn server(seen: &Overview) -> Vec<(String, Cell)> {
    let node = &seen.node;
    let mut rows = vec![
        ("Node".to_owned(), Cell::badge(node.state)),
        ("Version".to_owned(), Cell::text(node.version.clone().unwrap_or_default())),
        ("Tip".to_owned(), Cell::text(format!("height {}, {} behind", node.height, node.tip_lag))),
        ("Followed".to_owned(), Cell::some(node.followed_at, Cell::time)),
        ("Wallet for payouts".to_owned(), Cell::badge(node.wallet)),
        (
            "Database".to_owned(),
            Cell::text(format!("{}, schema {}", seen.database.kind, seen.database.schema)),
        ),
        ("Events".to_owned(), Cell::link("/operator/events", seen.database.last_seq)),
        (
            "Messages waiting".to_owned(),
            Cell::link("/operator/deliveries", seen.deliveries_pending),
        ),
        ("Provisioners".to_owned(), Cell::text(format!("{} actions wait", seen.actions_waiting))),
    ];
    for gap in &seen.gaps {
        let issues = if gap.issues { "" } else { ", old" };
        let text = format!("{} needed, next index {}{issues}", gap.gap_limit, gap.next_index);
        rows.push((format!("Gap limit, keychain {}", gap.keychain), Cell::text(text)));
    }
    rows
}
