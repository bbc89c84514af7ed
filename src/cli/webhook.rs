//! `leasehold webhook` and `leasehold delivery`: endpoints that hear of events, and what came of
//! each event, through the running server.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use serde_json::{Value, json};

use super::admin::{Args, Id, client, name};
use super::client::{Client, Sent};
use super::table::Shown;
use super::{Exit, Global, Output};
use crate::domain::ids::base32;
use crate::domain::time::Timestamp;

const WEBHOOKS: &str = "/v1/admin/webhooks";
const DELIVERIES: &str = "/v1/admin/deliveries";

/// How often, and how long in all, the result of a test is asked for.
const PAUSE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(30);

/// What can be done with endpoints.
#[derive(Debug, Subcommand)]
pub enum Webhook {
    /// Send events to a URL from now on; the secret is shown this once
    Create {
        /// Where signed messages go
        url: String,
        /// Types such as lease.ended or payment.*, by commas; otherwise all
        #[arg(long, value_name = "TYPES", value_delimiter = ',')]
        types: Vec<String>,
    },
    /// Endpoints, newest first
    List(Page),
    /// One of them
    Show(Id),
    /// Let its events wait
    Pause(Id),
    /// Let a paused or disabled one get its events again
    Resume(Id),
    /// Give it another secret, shown this once; both sign for a while
    Rotate {
        /// The endpoint
        #[arg(value_parser = name)]
        id: String,
        /// How long both sign: 0s to 7d
        #[arg(long, value_name = "TIME", default_value = "1d", value_parser = humantime::parse_duration)]
        overlap: Duration,
    },
    /// Give it up
    Delete(Id),
    /// Send it an event of type webhook.test and wait for what it answers
    Test(Id),
    /// Deliver all events since a time again
    Redeliver {
        /// The endpoint
        #[arg(value_parser = name)]
        id: String,
        /// RFC 3339, e.g. 2026-11-18T09:00:00Z
        #[arg(long, value_name = "TIME")]
        since: Timestamp,
    },
}

/// What can be done with deliveries.
#[derive(Debug, Subcommand)]
pub enum Delivery {
    /// Deliveries, newest first
    List {
        /// Only to this endpoint
        #[arg(long, value_parser = name)]
        webhook: Option<String>,
        /// Only with this status: pending, delivered, failed
        #[arg(long, value_parser = name)]
        status: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// A delivery with its attempts
    Show(Id),
    /// Deliver it again
    Redeliver(Id),
}

/// Which part of a list.
#[derive(Debug, clap::Args)]
pub struct Page {
    /// At most so many, newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// What the page before ended with
    #[arg(long)]
    cursor: Option<String>,
}

impl Page {
    fn query(&self) -> String {
        let cursor = self.cursor.as_ref().map(|cursor| format!("&cursor={cursor}"));
        format!("limit={}{}", self.limit, cursor.unwrap_or_default())
    }
}

pub(super) async fn webhook(
    args: Args<Webhook>,
    global: &Global,
    output: &Output,
) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let act = async |id: &str, what: &str, sent: Sent<'_>| {
        client.post(&format!("{WEBHOOKS}/{id}/{what}"), sent).await
    };
    let answer = match args.command {
        Webhook::Create { url, types } => {
            let body = json!({ "url": url, "types": types });
            create(&client, WEBHOOKS, &body, output).await?
        }
        Webhook::List(page) => client.get(&format!("{WEBHOOKS}?{}", page.query())).await?,
        Webhook::Show(Id { id }) => client.get(&format!("{WEBHOOKS}/{id}")).await?,
        Webhook::Pause(Id { id }) => act(&id, "pause", Sent::Nothing).await?,
        Webhook::Resume(Id { id }) => act(&id, "resume", Sent::Nothing).await?,
        Webhook::Rotate { id, overlap } => {
            let body = json!({ "overlap_s": overlap.as_secs() });
            create(&client, &format!("{WEBHOOKS}/{id}/rotate"), &body, output).await?
        }
        Webhook::Delete(Id { id }) => {
            client.delete(&format!("{WEBHOOKS}/{id}")).await?;
            json!({ "deleted": id })
        }
        Webhook::Test(Id { id }) => return test(&client, &id, output).await,
        Webhook::Redeliver { id, since } => {
            act(&id, "redeliver", Sent::Json(&json!({ "since": since }))).await?
        }
    };
    output.answer(&Shown(answer))
}

pub(super) async fn delivery(
    args: Args<Delivery>,
    global: &Global,
    output: &Output,
) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let answer = match args.command {
        Delivery::List { webhook, status, page } => {
            let mut path = format!("{DELIVERIES}?{}", page.query());
            for (name, value) in [("webhook", webhook), ("status", status)] {
                path.push_str(&value.map(|value| format!("&{name}={value}")).unwrap_or_default());
            }
            client.get(&path).await?
        }
        Delivery::Show(Id { id }) => client.get(&format!("{DELIVERIES}/{id}")).await?,
        Delivery::Redeliver(Id { id }) => {
            client.post(&format!("{DELIVERIES}/{id}/redeliver"), Sent::Nothing).await?
        }
    };
    output.answer(&Shown(answer))
}

/// Asks until it is known what became of it: a secret must not be lost with an answer.
async fn create(client: &Client, path: &str, body: &Value, output: &Output) -> Result<Value, Exit> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the operating system has no randomness")?;
    client.create(path, body, &base32(&random), |told| output.note(told)).await
}

/// Waits for the first attempt.
async fn test(client: &Client, id: &str, output: &Output) -> Result<(), Exit> {
    let made = client.post(&format!("{WEBHOOKS}/{id}/test"), Sent::Nothing).await?;
    let path = format!("{DELIVERIES}?webhook={id}&limit=200");
    let seen = async {
        loop {
            let list = client.get(&path).await?;
            let items = list["items"].as_array().into_iter().flatten();
            let mut ours = items.filter(|item| item["event"] == made["event"]);
            if let Some(item) = ours.find(|item| !item["latency_ms"].is_null()) {
                return Ok::<Value, Exit>(item.clone());
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let waits = "nothing was sent yet: others wait before it; see leasehold delivery list";
    let seen = tokio::time::timeout(PATIENCE, seen).await;
    let seen = seen.map_err(|_| Exit::TryAgain(anyhow!(waits)))??;
    let failure = seen["failure"].as_str().map(str::to_owned);
    output.answer(&Shown(seen))?;
    match failure {
        None => Ok(()),
        Some(why) => Err(Exit::Failed(anyhow!("the endpoint did not take it: {why}"))),
    }
}
