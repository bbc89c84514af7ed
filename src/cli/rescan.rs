//! `leasehold rescan`: the running server reads blocks again for payments that were missed; here
//! it is told how far it is. Ending this command does not end the rescan.

use std::fmt;
use std::io::IsTerminal as _;

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::client::Sent;
use super::{Exit, Global, Output, admin};

/// Arguments of `rescan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The first block to read again; the last one is the tip
    #[arg(long, value_name = "HEIGHT")]
    from_height: u32,
    /// The server's address; default: where the configuration says it listens
    #[arg(long, value_name = "URL", env = "LEASEHOLD_SERVER")]
    server: Option<String>,
}

/// What the server says of a rescan.
#[derive(Debug, Serialize, Deserialize)]
struct Progress {
    state: String,
    from_height: u32,
    to_height: u32,
    height: Option<u32>,
    found: u64,
    failure: Option<String>,
}

impl Progress {
    fn blocks(&self) -> u64 {
        u64::from(self.to_height - self.from_height.min(self.to_height)) + 1
    }

    fn read(&self) -> u64 {
        self.height.map_or(0, |height| u64::from(height.saturating_sub(self.from_height)) + 1)
    }

    /// How it ended; `None` while it goes on.
    fn end(self) -> Option<Result<Self, Exit>> {
        match self.state.as_str() {
            "done" => Some(Ok(self)),
            "failed" => {
                let why = self.failure.unwrap_or_default();
                Some(Err(Exit::Failed(anyhow!("the rescan failed: {why}"))))
            }
            "idle" => Some(Err(lost())),
            _ => None,
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let payments = if self.found == 1 { "payment" } else { "payments" };
        write!(
            f,
            "blocks {} to {} were read again: {} {payments} found that were not known",
            self.from_height, self.to_height, self.found
        )
    }
}

fn lost() -> Exit {
    Exit::TryAgain(anyhow!("the server was stopped before all blocks were read"))
}

/// Shows how far it is: a bar in a terminal, else a line at each tenth of the way.
struct Shown<'a> {
    bar: ProgressBar,
    output: &'a Output,
    tenths: u64,
}

impl<'a> Shown<'a> {
    fn new(blocks: u64, output: &'a Output) -> Self {
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(blocks), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template("{wide_bar} block {msg}, {eta} to go");
        Self { bar: bar.with_style(style.expect("the template is right")), output, tenths: 0 }
    }

    fn show(&mut self, now: &Progress) -> Result<(), Exit> {
        let Some(height) = now.height else { return Ok(()) };
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{height} of {}", now.to_height));
            self.bar.set_position(now.read());
            return Ok(());
        }
        let tenths = now.read() * 10 / now.blocks();
        if tenths > self.tenths {
            self.tenths = tenths;
            let (to, found) = (now.to_height, now.found);
            self.output.note(&format!("block {height} of {to}, {found} found"))?;
        }
        Ok(())
    }
}

pub(super) async fn run(args: Args, global: &Global, output: &Output) -> Result<(), Exit> {
    let client = admin::client(args.server, global)?;
    let body = json!({ "from_height": args.from_height });
    let asked: Progress =
        client.post("/v1/admin/rescan", Sent::Json(&body)).await.and_then(read)?;
    let mut shown = Shown::new(asked.blocks(), output);
    let mut events = client.events("/v1/admin/rescan/events").await?;
    while let Some(event) = events.next().await? {
        let now: Progress = read(event)?;
        shown.show(&now)?;
        if let Some(end) = now.end() {
            shown.bar.finish_and_clear();
            return output.answer(&end?);
        }
    }
    Err(lost())
}

fn read(answer: serde_json::Value) -> Result<Progress, Exit> {
    serde_json::from_value(answer)
        .map_err(|error| Exit::Failed(anyhow!("the server's answer cannot be used: {error}")))
}

#[cfg(test)]
mod tests;
