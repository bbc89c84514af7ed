//! `leasehold listen`: follows the event log of a running server, prints each event, and forwards
//! it to a developer's machine as a webhook would arrive. Keeps nothing: what it is not running
//! for is in the log.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use super::client::Client;
use super::{Exit, Global, Output, admin};
use crate::app::view_event::EventView;
use crate::clock::{Clock as _, SystemClock};
use crate::domain::webhook::{Secret, Types};
use crate::webhook::{Message, headers};

/// How often the log is asked for what is new.
const POLL: Duration = Duration::from_millis(500);
/// How long a server that went away is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the other side may take.
const LIMIT: Duration = Duration::from_secs(10);
const PAGE: usize = 200;

/// Arguments of `listen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Send each event there, signed as a webhook would be
    #[arg(long, value_name = "URL")]
    forward_to: Option<String>,
    /// Types such as lease.ended or payment.*, by commas; otherwise all
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Begin after this event; otherwise with what is new
    #[arg(long, value_name = "SEQ")]
    after: Option<i64>,
    /// What forwarded events are signed with; otherwise a new one, which is printed
    #[arg(long, value_name = "WHSEC", env = "LEASEHOLD_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// The server's address; default: where the configuration says it listens
    #[arg(long, value_name = "URL", env = "LEASEHOLD_SERVER")]
    server: Option<String>,
}

/// Where events are forwarded to.
struct Forward {
    url: reqwest::Url,
    secret: Secret,
    http: reqwest::Client,
}

impl Forward {
    fn new(url: &str, secret: Secret) -> Result<Self, Exit> {
        let wrong = |why: &dyn std::fmt::Display| Exit::Usage(format!("--forward-to {url}: {why}"));
        let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(wrong(&"give an address with http:// or https://"));
        }
        let http = reqwest::Client::builder()
            .timeout(LIMIT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("cannot make a connection")?;
        Ok(Self { url: parsed, secret, http })
    }

    /// Sends an event once; what came of it, for people.
    async fn send(&self, event: &EventView) -> Result<String, Exit> {
        let body = serde_json::to_vec(event).context("cannot write JSON")?;
        let message = Message { id: event.id.clone(), body };
        let secrets = std::slice::from_ref(&self.secret);
        let mut request = self.http.post(self.url.clone());
        for (name, value) in headers(&message, secrets, SystemClock.now()) {
            request = request.header(name, value);
        }
        let request = request.header("content-type", "application/json").body(message.body);
        Ok(match request.send().await {
            Ok(answer) => format!("  {} <- {}", event.seq, answer.status()),
            Err(error) => {
                format!("  {} <- {:#}", event.seq, anyhow::Error::new(error.without_url()))
            }
        })
    }
}

pub(super) async fn run(args: Args, global: &Global, output: &Output) -> Result<(), Exit> {
    let types = Types::parse(&args.types).map_err(|error| Exit::Usage(error.to_string()))?;
    let secret = secret(args.secret.as_deref())?;
    let shown = args.secret.is_none().then(|| secret.reveal());
    let forward = args.forward_to.as_deref().map(|url| Forward::new(url, secret)).transpose()?;
    let client = admin::client(args.server, global)?;
    let after = match args.after {
        Some(after) => after.max(0),
        None => {
            let log = client.get("/v1/admin/events?limit=1").await?;
            log["last_seq"].as_i64().context("the server does not say how long its log is")?
        }
    };
    if let Some(shown) = shown.filter(|_| forward.is_some()) {
        output.note(&format!("secret {shown}"))?;
    }
    output.note(&format!("listening after event {after}"))?;
    tokio::select! {
        ended = follow(&client, after, &types, forward.as_ref(), output) => ended,
        _ = tokio::signal::ctrl_c() => Ok(()),
    }
}

fn secret(given: Option<&str>) -> Result<Secret, Exit> {
    if let Some(text) = given {
        // The text is not repeated: it may be a real one with a typo.
        let wrong = "--secret: whsec_ and the base64 of 24 to 64 bytes";
        return Secret::parse(text).ok_or_else(|| Exit::Usage(wrong.into()));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the operating system has no randomness")?;
    Ok(Secret::new(random))
}

/// Follows the log until whoever reads has gone.
async fn follow(
    client: &Client,
    mut after: i64,
    types: &Types,
    forward: Option<&Forward>,
    output: &Output,
) -> Result<(), Exit> {
    let (mut heard, mut away) = (false, false);
    loop {
        let answer = client.get(&format!("/v1/admin/events?after={after}&limit={PAGE}")).await;
        let answer = match answer {
            // A server that is restarted goes on where it was.
            Err(Exit::TryAgain(error)) if heard => {
                if !std::mem::replace(&mut away, true) {
                    output.note(&format!("{error:#}; waiting for it"))?;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            answer => answer?,
        };
        (heard, away) = (true, false);
        let events = events(&answer)?;
        for event in &events {
            after = event.seq;
            if !types.want(&event.kind) {
                continue;
            }
            if !output.event(&line(event), event)? {
                return Ok(());
            }
            if let Some(forward) = forward {
                output.note(&forward.send(event).await?)?;
            }
        }
        if events.len() < PAGE {
            tokio::time::sleep(POLL).await;
        }
    }
}

fn events(answer: &Value) -> Result<Vec<EventView>, Exit> {
    let wrong = |error| Exit::Failed(anyhow!("the server's answer cannot be used: {error}"));
    serde_json::from_value(answer["items"].clone()).map_err(wrong)
}

fn line(event: &EventView) -> String {
    let EventView { seq, at, kind, subject, resource, data, .. } = event;
    let resource = resource.as_deref().unwrap_or("-");
    format!("{seq}  {at}  {kind}  {subject}  {resource}  {data}")
}
