//! `leasehold rent`, for customers: asks a server for time on a resource, shows how to pay,
//! waits for the money and then shows the lease. Needs no configuration. The claim token is
//! shown before anything is paid: whoever loses it loses the lease.

mod exec;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::Client;
use super::{Exit, Output};
use crate::domain::bearer::sha256_hex;
use crate::domain::price::Price;
use crate::qr;

/// How often a server that is away is asked again, and after how long.
const TRIES: u32 = 30;
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of `rent`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The resource's id
    resource: String,
    /// How long: 90m, 12h, 30d
    #[arg(value_parser = humantime::parse_duration)]
    duration: Duration,
    /// The server's address
    #[arg(long, value_name = "URL", env = "LEASEHOLD_SERVER")]
    server: String,
    /// Where refunds go
    #[arg(long, value_name = "ADDRESS")]
    refund_address: Option<String>,
    /// What the resource wants to know; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// The key that an earlier run printed: goes on with its request in place of a new one
    #[arg(long, value_name = "KEY", value_parser = key)]
    idempotency_key: Option<String>,
    /// Run this command while the lease lasts, with LEASEHOLD_TOKEN, LEASEHOLD_TOKEN_FILE and
    /// LEASEHOLD_LEASE set; what stands after it belongs to it
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true)]
    exec: Vec<OsString>,
}

/// The server takes no other.
fn key(text: &str) -> Result<String, &'static str> {
    match (16..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err("16 to 255 visible ASCII characters"),
    }
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// What was got.
#[derive(Debug, Serialize)]
struct Rented {
    lease: Value,
    invoice: Value,
    claim_token: String,
}

impl fmt::Display for Rented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lease = &self.lease;
        writeln!(f, "lease   {} is {}", word(&lease["id"]), word(&lease["state"]))?;
        if let Some(unit) = lease["unit"].as_str() {
            writeln!(f, "unit    {unit}")?;
        }
        if let Some(until) = lease["expires_at"].as_str() {
            writeln!(f, "until   {until}")?;
        }
        if lease["access"].is_object() {
            writeln!(f, "access  {:#}", lease["access"])?;
        }
        write!(f, "claim   {}", self.claim_token)
    }
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

pub(super) async fn run(args: Args, output: &Output) -> Result<(), Exit> {
    exec::check(&args.exec)?;
    let (runs, quiet) = (!args.exec.is_empty(), Output::new(true));
    // Standard output belongs to the command.
    let output = if runs { &quiet } else { output };
    let client = Client::new(&args.server, None)?;
    let params: BTreeMap<String, String> = args.param.into_iter().collect();
    let mut body = json!({ "resource": args.resource, "duration_s": args.duration.as_secs(),
        "params": params });
    if let Some(address) = args.refund_address {
        body["refund_address"] = json!(address);
    }
    let key = match args.idempotency_key {
        Some(key) => key,
        None => {
            let key = new_key()?;
            output.note(&format!(
                "key     {key}\n        keep it until there is a claim: \
                 --idempotency-key goes on with this request"
            ))?;
            key
        }
    };
    let created = client.create("/v1/leases", &body, &key, |text| output.note(text)).await?;
    let token = created["claim_token"].as_str().context("the server gave no claim token")?;
    // An earlier run may have been paid: an answer that is given again does not know.
    let invoice = format!("/v1/invoices/{}", word(&created["invoice"]["id"]));
    let invoice = client.get(&invoice).await.unwrap_or_else(|_| created["invoice"].clone());
    show(&invoice, token, output)?;
    if let Some(cost) = upkeep(&client, &args.resource).await {
        output.note(&format!("Keeping it up costs the operator {cost}."))?;
    }
    let (lease, invoice) = wait(&client, &created, output).await?;
    let holder = Client::new(&args.server, Some(token.to_owned()))?;
    let path = format!("/v1/leases/{}", word(&lease["id"]));
    // The public view will do when this one cannot be had.
    let lease = holder.get(&path).await.unwrap_or(lease);
    let (started, id) = (has_started(&lease), word(&lease["id"]).to_owned());
    let rented = Rented { lease, invoice, claim_token: token.to_owned() };
    match runs {
        true => output.note(&rented.to_string())?,
        false => output.answer(&rented)?,
    }
    match started {
        false => Err(Exit::Said),
        true if runs => exec::run(&exec::Held { holder: &holder, lease: &id }, &args.exec).await,
        true => Ok(()),
    }
}

/// What it costs to keep a shared resource up; nothing when that is not said, or cannot be had.
async fn upkeep(client: &Client, resource: &str) -> Option<String> {
    let found = client.get(&format!("/v1/resources/{resource}")).await.ok()?;
    let cost = &found["funding"]["running_cost"];
    let per_s = cost["per_s"].as_u64().filter(|per_s| *per_s > 0)?;
    Some(Price { sat: cost["sat"].as_u64()?, per_s }.words())
}

/// Nobody can guess it: who has it gets the same claim token.
fn new_key() -> Result<String, Exit> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| anyhow!("no random numbers: {error}"))?;
    Ok(sha256_hex(&random))
}

/// How to pay what is due.
fn show(invoice: &Value, token: &str, output: &Output) -> Result<(), Exit> {
    let uri = word(&invoice["uri"]);
    let due = &invoice["received"]["due_sat"];
    if *due == 0 {
        return output.note(&format!("claim   {token}"));
    }
    if let Ok(code) = qr::terminal(uri, std::io::stdout().is_terminal()) {
        output.note(&code)?;
    }
    output.note(&format!(
        "pay     {} sat\nto      {}\nlink    {uri}\npage    {}\nbefore  {}\n\
         claim   {token}\n        keep it: it alone manages the lease",
        due,
        word(&invoice["address"]),
        word(&invoice["links"]["checkout"]),
        word(&invoice["expires_at"]),
    ))
}

fn has_started(lease: &Value) -> bool {
    matches!(word(&lease["state"]), "active" | "grace")
}

/// Nothing more is to be expected.
fn is_over(lease: &Value, invoice: &Value) -> bool {
    let received = &invoice["received"];
    let nothing = received["unconfirmed_sat"] == 0 && received["credited_sat"] == 0;
    has_started(lease)
        || lease["state"] == "ended"
        || (nothing && matches!(word(&invoice["status"]), "expired" | "cancelled"))
}

/// Tells each change until the lease runs or nothing will come of it.
async fn wait(client: &Client, created: &Value, output: &Output) -> Result<(Value, Value), Exit> {
    let (lease, invoice) = (word(&created["lease"]["id"]), word(&created["invoice"]["id"]));
    let mut seq = 0;
    let mut shown = String::new();
    let mut failures = 0;
    loop {
        let look = async {
            let lease = client.get(&format!("/v1/leases/{lease}?wait_s=2&after_seq={seq}")).await?;
            let invoice = client.get(&format!("/v1/invoices/{invoice}")).await?;
            Ok::<_, Exit>((lease, invoice))
        };
        let (lease, invoice) = match look.await {
            Ok(both) => both,
            Err(Exit::TryAgain(error)) if failures < TRIES => {
                failures += 1;
                if failures == 1 {
                    output.note(&format!("{error:#}; trying again"))?;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        failures = 0;
        seq = lease["seq"].as_u64().unwrap_or(seq);
        let line = progress(&lease, &invoice);
        if line != shown {
            output.note(&line)?;
            shown = line;
        }
        if is_over(&lease, &invoice) {
            return Ok((lease, invoice));
        }
    }
}

fn progress(lease: &Value, invoice: &Value) -> String {
    let payments = invoice["payments"].as_array();
    let most = payments.into_iter().flatten().filter_map(|one| one["confirmations"].as_u64()).max();
    let (state, status) = (word(&lease["state"]), word(&invoice["status"]));
    let received = &invoice["received"];
    match status {
        "open" => format!("waiting for {} sat", received["due_sat"]),
        "confirming" => format!(
            "{} sat on the way, {} of {} confirmations, {} sat due",
            received["unconfirmed_sat"],
            most.unwrap_or(0),
            invoice["confirmations_required"],
            received["due_sat"],
        ),
        "settled" => format!("paid; the lease is {state}"),
        _ => format!("the invoice is {status}; the lease is {state}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_nothing_more_can_come() {
        let invoice = |status: &str, coming: u64| {
            json!({ "status": status,
            "received": { "unconfirmed_sat": coming, "credited_sat": 0, "due_sat": 5 } })
        };
        let lease = |state: &str| json!({ "state": state });
        assert!(!is_over(&lease("unfunded"), &invoice("open", 0)));
        assert!(!is_over(&lease("unfunded"), &invoice("expired", 7)), "late money counts");
        assert!(is_over(&lease("unfunded"), &invoice("expired", 0)));
        assert!(is_over(&lease("active"), &invoice("settled", 0)));
        assert!(is_over(&lease("ended"), &invoice("settled", 0)));
    }
}
