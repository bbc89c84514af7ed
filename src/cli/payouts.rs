//! `leasehold payouts`: what is owed, and batches: prepare a PSBT, hand it in signed, bump, abandon.
//! Speaks to the running server; never signs, and writes no file over another.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::Subcommand;
use data_encoding::BASE64;
use serde::Serialize;
use serde_json::{Value, json};

use super::admin::{Args, Id, List, client, name, page};
use super::client::{Client, Sent};
use super::table::Shown;
use super::{Exit, Global, Output};

/// What can be done with payouts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// What is owed to customers, newest first
    List(List),
    /// Batches, newest first
    Batches(List),
    /// A payout (pyt_…) or a batch (bat_…)
    Show(Id),
    /// Show what would be paid; with --out make the batch and write its PSBT for signing
    Prepare(Prepare),
    /// Hand in signed PSBTs; those of several signers of one batch are combined
    Submit {
        /// PSBTs in base64 or binary, or a finished transaction in hex
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Make another version of a batch with a higher fee, to be signed again
    Bump(Bump),
    /// Agree to a batch that another API key prepared
    Approve {
        /// The batch
        #[arg(value_parser = name)]
        id: String,
        /// The version that you looked at; asked for in a terminal otherwise
        #[arg(long)]
        version: Option<u32>,
    },
    /// Give a batch up: its payouts are due again
    Abandon(Id),
    /// After a restore: find what the wallet has paid since the backup, then go on
    Resume {
        /// Also when something is unclear
        #[arg(long)]
        force: bool,
    },
    /// Write a batch's PSBT once more, with the signatures that came so far
    Export {
        /// The batch
        #[arg(value_parser = name)]
        id: String,
        /// A new file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Arguments of `prepare`.
#[derive(Debug, clap::Args)]
pub struct Prepare {
    /// Only these payouts, also such below the minimum
    #[arg(long, value_name = "ID", value_delimiter = ',', num_args = 1.., value_parser = name)]
    only: Vec<String>,
    #[command(flatten)]
    fee: Fee,
    /// A new file for the PSBT; without it nothing is made
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not ask in a terminal
    #[arg(long)]
    yes: bool,
}

/// Arguments of `bump`.
#[derive(Debug, clap::Args)]
pub struct Bump {
    /// The batch
    #[arg(value_parser = name)]
    id: String,
    #[command(flatten)]
    fee: Fee,
    /// A new file for the PSBT
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What the miner may get.
#[derive(Debug, clap::Args)]
struct Fee {
    /// Satoshis a vbyte, e.g. 2.5; otherwise the node's estimate
    #[arg(long, value_name = "SAT/VB", value_parser = crate::payout::feerate)]
    feerate: Option<u64>,
    /// The most that the fee may be of a payout, in percent; otherwise what is configured
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u64).range(1..=100))]
    max_fee_pct: Option<u64>,
}

impl Fee {
    fn body(&self) -> Value {
        let mut body = json!({});
        if let Some(feerate) = self.feerate {
            body["feerate_msat_vb"] = feerate.into();
        }
        if let Some(percent) = self.max_fee_pct {
            body["max_fee_pct"] = percent.into();
        }
        body
    }
}

/// What a batch pays, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Made(Value);

fn sat(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn pays(f: &mut fmt::Formatter<'_>, pays: &Value) -> fmt::Result {
    for output in list(&pays["outputs"]) {
        let (amount, address) = (sat(&output["amount_sat"]), text(&output["address"]));
        match output["change"] == true {
            true => writeln!(f, "{amount:>12} sat  {address}  change, comes back")?,
            false => writeln!(f, "{amount:>12} sat  {address}")?,
        }
        for share in list(&output["payouts"]) {
            let (id, whole, fee) =
                (text(&share["id"]), sat(&share["amount_sat"]), sat(&share["fee_sat"]));
            writeln!(f, "{:>18}{id}  {whole} sat, {fee} of them fee", "")?;
        }
    }
    let (fee, vsize) = (sat(&pays["fee_sat"]), sat(&pays["vsize"]).max(1));
    let (inputs, total) = (list(&pays["inputs"]).count(), sat(&pays["total_sat"]));
    let rate = fee * 100 / vsize;
    write!(
        f,
        "{total} sat paid back from {inputs} coin(s), fee {fee} sat ({}.{:02} sat/vB)",
        rate / 100,
        rate % 100
    )
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = match &self.0["batch"] {
            Value::Null => None,
            batch => Some(batch),
        };
        pays(f, &self.0["pays"])?;
        for left in list(&self.0["left_out"]) {
            write!(f, "\nleft out {}: {}", text(&left["id"]), text(&left["why"]))?;
        }
        let more = sat(&self.0["more_due"]);
        if more > 0 {
            write!(f, "\n{more} more stay due: prepare another batch after this one")?;
        }
        if let Some(batch) = batch {
            write!(
                f,
                "\n{} version {}, {}",
                text(&batch["id"]),
                batch["version"],
                text(&batch["txid"])
            )?;
            if batch["needs_approval"] == true {
                write!(f, "\nanother API key must approve it before it can be submitted")?;
            }
        }
        Ok(())
    }
}

/// A batch, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Batch(Value);

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let it = &self.0;
        writeln!(
            f,
            "{}  {}  version {}  {}  {} confirmation(s)",
            text(&it["id"]),
            text(&it["state"]),
            it["version"],
            text(&it["txid"]),
            sat(&it["confirmations"])
        )?;
        pays(f, &it["pays"])?;
        if it["needs_approval"] == true {
            write!(f, "\nanother API key must approve it before it can be submitted")?;
        }
        if let Some(other) = it["replaced_by"].as_str() {
            write!(f, "\nits payouts are in {other} now")?;
        }
        for version in list(&it["versions"]) {
            let place = match (&version["height"], version["in_mempool"] == true) {
                (Value::Null, true) => "in the mempool".to_owned(),
                (Value::Null, false) if version["submitted_at"].is_null() => {
                    "not signed".to_owned()
                }
                (Value::Null, false) => "not in the mempool".to_owned(),
                (height, _) => format!("in block {height}"),
            };
            let (fee, txid) = (sat(&version["fee_sat"]), text(&version["txid"]));
            write!(f, "\nversion {}: {txid}, fee {fee} sat, {place}", version["version"])?;
        }
        Ok(())
    }
}

/// What became of a signed file, for people.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Submitted(Value);

impl fmt::Display for Submitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (id, txid) = (text(&self.0["batch"]["id"]), text(&self.0["batch"]["txid"]));
        match self.0["complete"] == true {
            true => write!(f, "{id} is on its way: {txid}"),
            false => write!(f, "{id} is kept: {}", text(&self.0["missing"])),
        }
    }
}

pub(super) async fn run(args: Args<Command>, global: &Global, output: &Output) -> Result<(), Exit> {
    let client = client(args.server, global)?;
    let batch = |id: &str| format!("/v1/admin/payouts/batches/{id}");
    match args.command {
        Command::List(list) => output.answer(&Shown(client.get(&page("payouts", &list)).await?)),
        Command::Batches(list) => {
            output.answer(&Shown(client.get(&page("payouts/batches", &list)).await?))
        }
        Command::Show(Id { id }) if id.starts_with("bat_") => {
            output.answer(&Batch(client.get(&batch(&id)).await?))
        }
        Command::Show(Id { id }) => {
            output.answer(&Shown(client.get(&format!("/v1/admin/payouts/{id}")).await?))
        }
        Command::Prepare(args) => prepare(&client, args, output).await,
        Command::Submit { files } => submit(&client, &files, output).await,
        Command::Bump(args) => {
            let file = NewFile::create(&args.out)?;
            let path = format!("{}/bump", batch(&args.id));
            let made = create(&client, &path, &args.fee.body(), output).await?;
            file.write(text(&made["batch"]["psbt"]))?;
            output.answer(&Made(made))
        }
        Command::Approve { id, version } => {
            let version = match version {
                Some(version) => version,
                None => agreed_version(client.get(&batch(&id)).await?, output)?,
            };
            let path = format!("{}/approve", batch(&id));
            let body = json!({ "version": version });
            output.answer(&Batch(client.post(&path, Sent::Json(&body)).await?))
        }
        Command::Abandon(Id { id }) => {
            let path = format!("{}/abandon", batch(&id));
            output.answer(&Batch(client.post(&path, Sent::Nothing).await?))
        }
        Command::Resume { force } => {
            let path = "/v1/admin/payouts/resume";
            let found = client.post(path, Sent::Json(&json!({ "force": force }))).await?;
            let resumed = found["resumed"] == true;
            output.answer(&Shown(found))?;
            match resumed {
                true => Ok(()),
                false => Err(Exit::Failed(anyhow!("look at what is unclear, then use --force"))),
            }
        }
        Command::Export { id, out } => {
            let shown = client.get(&batch(&id)).await?;
            NewFile::create(&out)?.write(text(&shown["psbt"]))?;
            output.answer(&Batch(shown))
        }
    }
}

async fn prepare(client: &Client, args: Prepare, output: &Output) -> Result<(), Exit> {
    const PATH: &str = "/v1/admin/payouts/prepare";
    let mut body = args.fee.body();
    if !args.only.is_empty() {
        body["only"] = args.only.into();
    }
    let mut first = body.clone();
    first["preview"] = true.into();
    let preview = client.post(PATH, Sent::Json(&first)).await?;
    let Some(out) = args.out else { return output.answer(&Made(preview)) };
    let file = NewFile::create(&out)?;
    body["expect_txid"] = preview["txid"].clone();
    // The same even when the node's estimate moves on.
    body["feerate_msat_vb"] = preview["feerate_msat_vb"].clone();
    if !args.yes && std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        output.note(&Made(preview).to_string())?;
        if !agreed("make this batch?")? {
            return Err(Exit::Failed(anyhow!("nothing was made")));
        }
    }
    let made = create(client, PATH, &body, output).await?;
    file.write(text(&made["batch"]["psbt"]))?;
    output.answer(&Made(made))
}

/// Shows a batch in the terminal and asks whether to agree to it. Nobody agrees unseen.
fn agreed_version(batch: Value, output: &Output) -> Result<u32, Exit> {
    if !std::io::stdin().is_terminal() {
        let what = "look at it with payouts show, then name the --version that you agree to";
        return Err(Exit::Usage(what.into()));
    }
    let newest = list(&batch["versions"]).last().and_then(|it| it["version"].as_u64());
    output.note(&Batch(batch).to_string())?;
    match agreed("approve this?")? {
        true => Ok(newest.and_then(|n| u32::try_from(n).ok()).unwrap_or(1)),
        false => Err(Exit::Failed(anyhow!("nothing was approved"))),
    }
}

/// Asks in the terminal.
fn agreed(question: &str) -> Result<bool, Exit> {
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Asks until it is known what became of it: no second batch is made when an answer is lost.
async fn create(client: &Client, path: &str, body: &Value, output: &Output) -> Result<Value, Exit> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the operating system has no randomness")?;
    let key = crate::domain::ids::base32(&random);
    client.create(path, body, &key, |told| output.note(told)).await
}

async fn submit(client: &Client, files: &[PathBuf], output: &Output) -> Result<(), Exit> {
    let mut last = None;
    for file in files {
        let wrong = |error| Exit::Usage(format!("{}: {error}", file.display()));
        let bytes = std::fs::read(file).map_err(wrong)?;
        // Some signers write the binary form.
        let psbt = match bytes.starts_with(b"psbt\xff") {
            true => BASE64.encode(&bytes),
            false => String::from_utf8_lossy(&bytes).trim().to_owned(),
        };
        let body = json!({ "psbt": psbt });
        last = Some(client.post("/v1/admin/payouts/submit", Sent::Json(&body)).await?);
    }
    let answer = last.ok_or_else(|| Exit::Usage("name a file".into()))?;
    let complete = answer["complete"] == true;
    output.answer(&Submitted(answer))?;
    match complete {
        true => Ok(()),
        // What came is kept: the others' files are needed.
        false => Err(Exit::TryAgain(anyhow!("signatures are missing"))),
    }
}

/// A file that did not exist before; gone again unless something is written into it.
struct NewFile<'a> {
    path: &'a Path,
    file: Option<File>,
}

impl<'a> NewFile<'a> {
    fn create(path: &'a Path) -> Result<Self, Exit> {
        let made = OpenOptions::new().write(true).create_new(true).open(path);
        let wrong = |error| Exit::Usage(format!("--out {}: {error}", path.display()));
        Ok(Self { path, file: Some(made.map_err(wrong)?) })
    }

    fn write(mut self, text: &str) -> Result<(), Exit> {
        let mut file = self.file.take().context("it is open")?;
        let done = writeln!(file, "{text}").and_then(|()| file.sync_all());
        let what = || format!("{} could not be written; see payouts export", self.path.display());
        Ok(done.with_context(what)?)
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // Nothing is in it.
            let _ = std::fs::remove_file(self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_written_over_and_none_is_left_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.psbt");
        drop(NewFile::create(&path).unwrap());
        assert!(!path.exists());
        NewFile::create(&path).unwrap().write("cHNidP8=").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "cHNidP8=\n");
        assert!(matches!(NewFile::create(&path), Err(Exit::Usage(_))));
        assert!(path.exists());
    }
}
