//! `rent --exec`: runs a command while the lease lasts. It has a lease token in its environment and,
//! always a fresh one, in a file; it is ended when the lease is. Its exit code is ours.

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
// Measures what is left; no stored moment comes from it.
use tokio::time::Instant;

use crate::cli::Exit;
use crate::cli::client::{Client, Sent};
use crate::domain::ids::base32;
use crate::domain::time::Timestamp;
use crate::keys;

/// How long a command that was asked to end may take.
const FAREWELL: Duration = Duration::from_secs(10);
/// How often it is looked whether what it started is gone, too.
const LOOK: Duration = Duration::from_millis(50);
/// How long a change of the lease is waited for at a time.
const LONGEST_WAIT_S: u64 = 30;
/// Between two questions at least, unless there is news.
const PAUSE: Duration = Duration::from_secs(1);

/// A lease that is used with its claim token.
pub(super) struct Held<'a> {
    pub holder: &'a Client,
    /// Its id.
    pub lease: &'a str,
}

/// What of a lease matters here.
#[derive(Deserialize)]
struct Lease {
    state: String,
    seq: u64,
    expires_at: Option<Timestamp>,
    remaining_s: u64,
}

#[derive(Deserialize)]
struct Token {
    token: String,
    expires_at: Timestamp,
}

/// Refuses a command that cannot be run, before anything is paid.
pub(super) fn check(command: &[OsString]) -> Result<(), Exit> {
    let Some(program) = command.first() else { return Ok(()) };
    let runs = |path: &Path| {
        fs::metadata(path)
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let found = match program.to_string_lossy().contains('/') {
        true => runs(Path::new(program)),
        false => {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|folder| runs(&folder.join(program)))
        }
    };
    let what = || format!("--exec {}: there is no such program", program.to_string_lossy());
    if found { Ok(()) } else { Err(Exit::Usage(what())) }
}

/// Runs `command` until it ends or the lease does.
pub(super) async fn run(held: &Held<'_>, command: &[OsString]) -> Result<(), Exit> {
    let (program, words) = command.split_first().context("there is no command")?;
    let folder = Folder::new()?;
    let file = folder.0.join("token");
    let (lease, token) = held.first(&file).await?;
    // A program at a terminal must stay in the group that owns it.
    let grouped = !std::io::stdin().is_terminal();
    let mut started = Command::new(program);
    started
        .args(words)
        .env("LEASEHOLD_TOKEN", &token.token)
        .env("LEASEHOLD_TOKEN_FILE", &file)
        .env("LEASEHOLD_LEASE", held.lease);
    if grouped {
        started.process_group(0);
    }
    let mut child =
        started.spawn().with_context(|| format!("cannot run {}", program.to_string_lossy()))?;
    let status = tokio::select! {
        status = child.wait() => status,
        () = held.last(&file, lease, &token) => end(&mut child, grouped).await,
        () = asked_to_end() => end(&mut child, grouped).await,
    };
    code(status.context("the command cannot be waited for")?)
}

impl Held<'_> {
    async fn look(&self, wait: &str) -> Result<Lease, Exit> {
        let answer = self.holder.get(&format!("/v1/leases/{}{wait}", self.lease)).await?;
        Ok(serde_json::from_value(answer).context("the server answers no lease")?)
    }

    /// A new token, also in the file.
    async fn renew(&self, file: &Path) -> Result<(Lease, Token), Exit> {
        let path = format!("/v1/leases/{}/token", self.lease);
        let answer: Value = self.holder.post(&path, Sent::Nothing).await?;
        let token: Token = serde_json::from_value(answer).context("the server gives no token")?;
        keys::replace_cache(file, &token.token).map_err(anyhow::Error::from)?;
        Ok((self.look("").await?, token))
    }

    /// The first token: it is paid for by now, so a server that is away is waited for.
    async fn first(&self, file: &Path) -> Result<(Lease, Token), Exit> {
        for _ in 0..super::TRIES {
            match self.renew(file).await {
                Err(Exit::TryAgain(_)) => tokio::time::sleep(super::PAUSE).await,
                done => return done,
            }
        }
        self.renew(file).await
    }

    /// Keeps the token in the file fresh; returns when the lease is over, or when it cannot be
    /// told any more that it is not.
    async fn last(&self, file: &Path, mut lease: Lease, token: &Token) {
        let mut ends = Instant::now() + Duration::from_secs(lease.remaining_s);
        let mut renews = Instant::now() + half_of(token, &lease);
        while Instant::now() < ends {
            let began = Instant::now();
            let wait = renews.saturating_duration_since(began).as_secs();
            let wait = wait.clamp(1, LONGEST_WAIT_S);
            let query = format!("?wait_s={wait}&after_seq={}", lease.seq);
            let look = self.look(&query);
            // Whatever the server does, the lease ends when it ends.
            let Ok(looked) = tokio::time::timeout_at(ends, look).await else { return };
            let mut due = Instant::now() >= renews;
            if let Ok(found) = looked {
                if found.state != "active" {
                    return;
                }
                due |= found.seq != lease.seq;
                ends = Instant::now() + Duration::from_secs(found.remaining_s);
                lease = found;
            }
            if due {
                // The old one is good for a while yet.
                renews = match tokio::time::timeout_at(ends, self.renew(file)).await {
                    Ok(Ok((found, token))) => Instant::now() + half_of(&token, &found),
                    _ => Instant::now() + PAUSE,
                };
            }
            // Some answers come at once: of a server that is away, or stops.
            tokio::time::sleep_until(ends.min(began + PAUSE)).await;
        }
    }
}

/// Half the life of a token, by the server's clock; at least a second.
fn half_of(token: &Token, lease: &Lease) -> Duration {
    let now = lease.expires_at.map(|end| end.minus_s(lease.remaining_s));
    let left = now.map_or(0, |now| now.seconds_until(token.expires_at));
    Duration::from_secs((left / 2).max(1))
}

/// Somebody wants us to end. An interrupt from a terminal has reached the command, too.
async fn asked_to_end() {
    let at_terminal = std::io::stdin().is_terminal();
    let of = |kind| signal(kind).ok();
    let (Some(mut terminate), Some(mut hangup), Some(mut interrupt)) =
        (of(SignalKind::terminate()), of(SignalKind::hangup()), of(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = hangup.recv() => return,
            _ = interrupt.recv() => if !at_terminal { return },
        }
    }
}

/// Asks the command to end, and then makes it; in a group of its own with all that it started.
async fn end(child: &mut Child, grouped: bool) -> std::io::Result<ExitStatus> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    // None: it was waited for already.
    let Some(id) = id else { return child.wait().await };
    // It may have ended by itself just now.
    let tell = |signal| match grouped {
        true => drop(kill_process_group(id, signal)),
        false => drop(kill_process(id, signal)),
    };
    let patience = Instant::now() + FAREWELL;
    tell(Signal::TERM);
    let status = match tokio::time::timeout_at(patience, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            tell(Signal::KILL);
            child.wait().await
        }
    };
    let others = || grouped && test_kill_process_group(id).is_ok();
    while others() && Instant::now() < patience {
        tokio::time::sleep(LOOK).await;
    }
    if others() {
        tell(Signal::KILL);
    }
    status
}

/// As a shell says it.
fn code(status: ExitStatus) -> Result<(), Exit> {
    let signal = status.signal().map(|signal| 128 + signal);
    match status.code().or(signal).map(u8::try_from) {
        Some(Ok(0)) => Ok(()),
        Some(Ok(code)) => Err(Exit::Code(code)),
        _ => Err(Exit::Failed(anyhow!("the command ended with {status}"))),
    }
}

/// A folder that only we can look into, gone with us.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, Exit> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| anyhow!("no random numbers: {error}"))?;
        let place = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        let place = place.filter(|place| place.is_dir()).unwrap_or_else(std::env::temp_dir);
        let folder = place.join(format!("leasehold-{}", base32(&random)));
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn command(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_command_that_is_not_there_is_refused_before_anything_is_paid() {
        assert!(check(&command(&["sh", "-c", "x"])).is_ok());
        assert!(check(&command(&["/bin/sh"])).is_ok() && check(&[]).is_ok());
        for wrong in ["no-such-program", "/bin/no-such-program", "/bin", "/etc/passwd"] {
            assert_eq!(check(&command(&[wrong])).unwrap_err().number(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_exit_code_is_the_commands_own_and_of_a_signal_what_a_shell_says() {
        let of = |raw: i32| code(ExitStatus::from_raw(raw)).map_err(|exit| exit.number());
        assert_eq!((of(0), of(7 << 8), of(15), of(9)), (Ok(()), Err(7), Err(143), Err(137)));
    }

    /// A server that answers every look at once, and gives no tokens.
    async fn hasty(listener: TcpListener, asked: &Cell<u32>) {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 65_536];
            let size = client.read(&mut bytes).await.unwrap();
            asked.set(asked.get() + 1);
            let look = r#"{"state":"active","seq":1,"expires_at":null,"remaining_s":2}"#;
            let (status, body) = match bytes[..size].starts_with(b"GET ") {
                true => ("200 OK", look),
                false => ("503 Service Unavailable", "{}"),
            };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
            let answer = format!("{head}content-length: {length}\r\n\r\n{body}");
            client.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_server_that_answers_at_once_and_gives_no_tokens_is_asked_once_a_second() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (holder, asked) = (Client::new(&url, None).unwrap(), Cell::new(0));
        let held = Held { holder: &holder, lease: "lse_x" };
        let lease = Lease { state: "active".into(), seq: 1, expires_at: None, remaining_s: 2 };
        let token = Token { token: String::new(), expires_at: Timestamp::from_secs(0) };
        let both = async {
            tokio::select! {
                () = held.last(Path::new("none"), lease, &token) => panic!("it is active"),
                () = hasty(listener, &asked) => {}
            }
        };
        let three_rounds = Duration::from_millis(2500);
        tokio::time::timeout(three_rounds, both).await.unwrap_err();
        assert!((2..=6).contains(&asked.get()), "{} questions", asked.get());
    }

    #[test]
    fn a_token_is_renewed_in_the_middle_of_its_life_by_the_servers_clock() {
        let at = Timestamp::from_secs;
        let lease = |remaining_s| Lease {
            state: "active".into(),
            seq: 1,
            expires_at: Some(at(10_000)),
            remaining_s,
        };
        let token = Token { token: String::new(), expires_at: at(7600) };
        assert_eq!(half_of(&token, &lease(6000)), Duration::from_secs(1800));
        assert_eq!(half_of(&token, &lease(2400)), Duration::from_secs(1), "it is over already");
    }
}
