//! What an operator does through the running server's admin API: leases, invoices, payments,
//! events, keys, the catalogue. Shows what the server answers. Never opens the database.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{Client, Sent};
use super::table::Shown;
use super::{Exit, Global, Output};
use crate::domain::site::escaped;
use crate::keys;

/// Holds an admin key in place of `[admin] bootstrap_key_file`.
const KEY: &str = "LEASEHOLD_ADMIN_KEY";

/// Which server, and what to do.
#[derive(Debug, clap::Args)]
pub struct Args<C: Subcommand> {
    /// The server's address; default: where the configuration says it listens
    #[arg(long, global = true, value_name = "URL", env = "LEASEHOLD_SERVER")]
    pub(super) server: Option<String>,
    #[command(subcommand)]
    pub(super) command: C,
}

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// The catalogue
    catalog: PathBuf,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// The server's address; default: where the configuration says it listens
    #[arg(long, value_name = "URL", env = "LEASEHOLD_SERVER")]
    server: Option<String>,
}

/// Which part of a list.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only in this state or status
    #[arg(long, value_parser = name)]
    state: Option<String>,
    /// Only of this resource
    #[arg(long, value_parser = name)]
    resource: Option<String>,
    /// At most so many, newest first
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// What the page before ended with
    #[arg(long)]
    cursor: Option<String>,
}

/// What can be done with leases.
#[derive(Debug, Subcommand)]
pub enum Lease {
    /// Leases, newest first
    List(List),
    /// A lease with its invoices and all that happened
    Show(Id),
    /// End a lease; what is unused can be refunded
    Revoke(Id),
    /// Stop a lease; its time stands still
    Suspend(Id),
    /// Let a suspended lease go on
    Resume(Id),
    /// Try again at once what its provisioner could not do
    Retry(Id),
    /// Hold its unit for taken back though the release failed
    ForceRelease(Id),
    /// What provisioners were told, newest first; --state failing is what needs a look
    Actions(List),
}

/// What can be done with invoices and payments.
#[derive(Debug, Subcommand)]
pub enum Look {
    /// All, newest first
    List(List),
    /// One of them
    Show(Id),
}

/// What can be done with events.
#[derive(Debug, Subcommand)]
pub enum Event {
    /// Events, oldest first
    List {
        /// Only those after this number
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
        /// Only of this type, or of this group: payment.
        #[arg(long = "type")]
        kind: Option<String>,
        /// Only about this: the id of a lease, an invoice, …
        #[arg(long)]
        subject: Option<String>,
    },
    /// The event with this number
    Show {
        /// Its number
        seq: u64,
    },
}

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key; its token is shown this once
    Create {
        /// A name for people
        name: String,
        /// read, manage, payout or admin; may be given again
        #[arg(long, required = true)]
        scope: Vec<String>,
    },
    /// All keys
    List,
    /// Refuse a key from now on
    Revoke(Id),
}

/// One object.
#[derive(Debug, clap::Args)]
pub struct Id {
    #[arg(value_parser = name)]
    pub(super) id: String,
}

/// Ids and names go into paths as they are.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => Ok(text.to_owned()),
        false => Err("letters, digits, - and _ only"),
    }
}

/// What was shown before is so now.
#[derive(Debug, serde::Serialize)]
#[serde(transparent)]
struct Applied(Value);

impl std::fmt::Display for Applied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("applied")
    }
}

/// A client with an admin key; `server` is what `--server` says.
pub(super) fn client(server: Option<String>, global: &Global) -> Result<Client, Exit> {
    let key = std::env::var(KEY).ok();
    if let (Some(server), Some(key)) = (&server, &key) {
        return Client::new(server, Some(key.trim().to_owned()));
    }
    let config = global.load()?;
    let key = match key {
        Some(key) => key,
        None => keys::read_api_key(&config.admin.bootstrap_key_file)
            .with_context(|| format!("no admin key; set {KEY} or run as the server's user"))?,
    };
    // Never `public_url`: that may be another machine, and it would get the key.
    let server = match server {
        Some(server) => server,
        None if config.listen.port() == 0 => {
            return Err(Exit::Usage("listen has no fixed port; give --server".into()));
        }
        None => config.local_url(),
    };
    Client::new(&server, Some(key.trim().to_owned()))
}

pub(super) fn page(kind: &str, list: &List) -> String {
    let mut path = format!("/v1/admin/{kind}?limit={}", list.limit);
    let given = [("state", &list.state), ("resource", &list.resource), ("cursor", &list.cursor)];
    for (name, value) in given {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={value}"));
        }
    }
    path
}

pub(super) async fn lease(args: Args<Lease>, global: &Global, output: &Output) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let act = async |Id { id }: Id, what: &str| {
        client.post(&format!("/v1/admin/leases/{id}/{what}"), Sent::Nothing).await
    };
    let answer = match args.command {
        Lease::List(list) => client.get(&page("leases", &list)).await?,
        Lease::Show(Id { id }) => client.get(&format!("/v1/admin/leases/{id}")).await?,
        Lease::Revoke(id) => act(id, "revoke").await?,
        Lease::Suspend(id) => act(id, "suspend").await?,
        Lease::Resume(id) => act(id, "resume").await?,
        Lease::Retry(id) => act(id, "retry").await?,
        Lease::ForceRelease(id) => act(id, "force-release").await?,
        Lease::Actions(list) => client.get(&page("actions", &list)).await?,
    };
    output.answer(&Shown(answer))
}

/// `kind` is `invoices` or `payments`.
pub(super) async fn look(
    kind: &str,
    args: Args<Look>,
    global: &Global,
    output: &Output,
) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let path = match args.command {
        Look::List(list) => page(kind, &list),
        Look::Show(Id { id }) => format!("/v1/admin/{kind}/{id}"),
    };
    output.answer(&Shown(client.get(&path).await?))
}

pub(super) async fn event(args: Args<Event>, global: &Global, output: &Output) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let part = |after: u64, limit: u32| format!("/v1/admin/events?after={after}&limit={limit}");
    let answer = match args.command {
        Event::List { after, limit, kind, subject } => {
            let filters = [("type", kind), ("subject", subject)];
            let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let filters = filters.map(|(name, value)| format!("&{name}={}", escaped(&value)));
            client.get(&format!("{}{}", part(after, limit), filters.collect::<String>())).await?
        }
        Event::Show { seq } => {
            let answer = client.get(&part(seq.saturating_sub(1), 1)).await?;
            let found = answer["items"].get(0).filter(|event| event["seq"] == seq);
            found.cloned().with_context(|| format!("there is no event {seq}"))?
        }
    };
    output.answer(&Shown(answer))
}

pub(super) async fn key(args: Args<Key>, global: &Global, output: &Output) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let answer = match args.command {
        Key::List => client.get("/v1/admin/keys").await?,
        Key::Create { name, scope } => {
            let body = json!({ "name": name, "scopes": scope });
            client.post("/v1/admin/keys", Sent::Json(&body)).await?
        }
        Key::Revoke(Id { id }) => {
            client.post(&format!("/v1/admin/keys/{id}/revoke"), Sent::Nothing).await?;
            json!({ "revoked": id })
        }
    };
    output.answer(&Shown(answer))
}

pub(super) async fn apply(args: Apply, global: &Global, output: &Output) -> Result<(), Exit> {
    let wrong = |error| Exit::Usage(format!("{}: {error}", args.catalog.display()));
    let text = std::fs::read_to_string(&args.catalog).map_err(wrong)?;
    // The server says the same, but of a file that it does not know.
    crate::catalog::load(&args.catalog)?;
    let client = client(args.server, global)?;
    const PATH: &str = "/v1/admin/catalog?dry_run=";
    let planned: Value = client.post(&format!("{PATH}true"), Sent::Toml(&text)).await?;
    if args.dry_run {
        return output.answer(&Shown(planned));
    }
    // Nothing else than what is shown here.
    let expect = planned["hash"].as_str().unwrap_or_default();
    let path = format!("{PATH}false&expect={expect}");
    output.note(&Shown(planned.clone()).to_string())?;
    let done = client.post(&path, Sent::Toml(&text)).await?;
    output.answer(&Applied(done))
}
