//! Runs a command for an action: no shell, an environment of its own, JSON on standard input, a
//! time limit. The command is the child of a guard (`provision::guard`), which ends it when this
//! server is gone. Exit 0 is done, 75 (`EX_TEMPFAIL`), a signal or a time-out is later, else failed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::domain::fulfil::Action;

use super::{Input, MOST_OUTPUT, Outcome, done, said};

/// `EX_TEMPFAIL` of sysexits.
pub(super) const TRY_AGAIN: i32 = 75;
/// How long the guard may take beyond the command's own time.
const MARGIN: Duration = Duration::from_secs(15);
/// What is passed on of this server's own environment.
const KEPT: [&str; 2] = ["PATH", "HOME"];

/// The variables of a command, and nothing else.
fn environment(input: &Input) -> BTreeMap<String, OsString> {
    let mut vars: BTreeMap<String, OsString> = BTreeMap::new();
    for name in KEPT {
        if let Some(value) = std::env::var_os(name) {
            vars.insert(name.into(), value);
        }
    }
    let mut set =
        |name: &str, value: String| vars.insert(format!("LEASEHOLD_{name}"), value.into());
    set("ACTION", input.action.as_str().into());
    set("LEASE", input.lease.clone());
    set("RESOURCE", input.resource.clone());
    set("UNIT", input.unit.clone().unwrap_or_default());
    set("GENERATION", input.generation.to_string());
    set("PAID_UNTIL", input.paid_until.map(|at| at.to_string()).unwrap_or_default());
    for (name, value) in &input.params {
        set(&format!("PARAM_{}", name.to_ascii_uppercase()), value.clone());
    }
    vars
}

fn again(why: String) -> Outcome {
    Outcome::Again { why, after: None, in_doubt: false }
}

/// Runs `command` once.
pub(super) async fn call(command: &[String], limit: Duration, input: &Input) -> Outcome {
    let mut child = match start(command, limit, input) {
        Ok(child) => child,
        Err(error) => return again(format!("the guard cannot be started: {error}")),
    };
    let finished = tokio::time::timeout(limit + MARGIN, talk(&mut child, input)).await;
    match finished {
        Ok(Ok(ran)) => judge(input.action, ran),
        Ok(Err(error)) => again(format!("the command could not be followed: {error}")),
        Err(_) => again("the guard did not end in time".into()),
    }
}

fn start(command: &[String], limit: Duration, input: &Input) -> std::io::Result<Child> {
    // The program as it was started, also when another one has taken its place.
    let own = "/proc/self/exe";
    let own = match std::path::Path::new(own).exists() {
        true => own.into(),
        false => std::env::current_exe()?,
    };
    Command::new(own)
        .arg("provision-guard")
        .arg(format!("--limit-ms={}", limit.as_millis()))
        .arg("--")
        .args(command)
        .env_clear()
        .envs(environment(input))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // Not in the group that a Ctrl-C in a terminal reaches: it ends when its input does.
        .process_group(0)
        .kill_on_drop(false)
        .spawn()
}

/// What a command left behind.
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

/// Writes the input, reads what it says. Standard input stays open until it has ended: the guard
/// takes its end for ours.
async fn talk(child: &mut Child, input: &Input) -> std::io::Result<Ran> {
    let mut line = serde_json::to_vec(input)?;
    line.push(b'\n');
    let mut stdin = child.stdin.take();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(stdin) = &mut stdin {
            // A command need not read it.
            let _ = stdin.write_all(&line).await;
            let _ = stdin.flush().await;
        }
    };
    let ((), out, err) = tokio::join!(write, capped(out), capped(err));
    let status = child.wait().await?;
    drop(stdin);
    Ok(Ran { code: status.code(), out: out?, err: err? })
}

/// Reads to the end, and keeps the beginning.
async fn capped(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let (mut kept, mut chunk) = (Vec::new(), [0; 4096]);
    let Some(mut from) = from else { return Ok(kept) };
    loop {
        match from.read(&mut chunk).await? {
            0 => return Ok(kept),
            n => {
                let room = (MOST_OUTPUT + 1).saturating_sub(kept.len());
                kept.extend_from_slice(&chunk[..n.min(room)]);
            }
        }
    }
}

fn judge(action: Action, ran: Ran) -> Outcome {
    let spoke = |code: &str| match said(&ran.err).as_str() {
        "" => code.to_owned(),
        text => format!("{code}: {text}"),
    };
    match ran.code {
        Some(0) => done(action, &ran.out),
        Some(TRY_AGAIN) => again(spoke("exit 75")),
        Some(code) => Outcome::Failed { why: spoke(&format!("exit {code}")) },
        None => again(spoke("the guard was ended by a signal")),
    }
}
