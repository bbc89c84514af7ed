//! `leasehold provision-guard`: the parent of a provisioner's command. Gives it the first line of
//! standard input, passes its output on, and ends its whole process group when its time is over or
//! when standard input ends, which it does when the server is gone, however that came about.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{BufRead as _, Read, Write};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::exec::TRY_AGAIN;

/// Between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(5);
/// How long the last output may take once the command has ended: its children may hold the pipe.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Arguments of the guard.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long the command may take
    #[arg(long)]
    limit_ms: u64,
    /// The program and its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// What can happen first.
enum Told {
    Ended(ExitStatus),
    InputEnded,
}

/// Runs the command to its end. Returns the code to end with.
pub fn run(args: &Args) -> u8 {
    let mut input = Vec::new();
    let mut stdin = std::io::stdin().lock();
    let whole = stdin.read_until(b'\n', &mut input).is_ok() && input.ends_with(b"\n");
    if !whole {
        // The server is gone already.
        return code(TRY_AGAIN);
    }
    drop(stdin);
    let mut child = match start(&args.command) {
        Ok(child) => child,
        Err(error) => {
            say(&format_args!("{}: {error}", args.command[0].display()));
            // It may be put right while this is tried again.
            return code(TRY_AGAIN);
        }
    };
    let group = child.id();
    let written = pass_on(&mut child, input);
    let (sender, told) = channel();
    wait_for(child, sender.clone());
    listen(sender);
    let ended = follow(&told, group, Duration::from_millis(args.limit_ms));
    for done in written {
        let _ = done.recv_timeout(LAST_WORDS);
    }
    ended
}

/// Says something to the server, if it is still there: `eprintln` would panic without it.
fn say(what: &impl Display) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

fn code(code: i32) -> u8 {
    u8::try_from(code).unwrap_or(1)
}

fn start(command: &[OsString]) -> std::io::Result<Child> {
    Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
}

/// Gives the command its input and passes its output on, each in a thread of its own.
fn pass_on(child: &mut Child, input: Vec<u8>) -> Vec<Receiver<()>> {
    if let Some(mut stdin) = child.stdin.take() {
        thread::spawn(move || stdin.write_all(&input));
    }
    let out = child.stdout.take().map(|from| copy(from, std::io::stdout()));
    let err = child.stderr.take().map(|from| copy(from, std::io::stderr()));
    out.into_iter().chain(err).collect()
}

fn copy(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> Receiver<()> {
    let (sender, done) = channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            if to.write_all(&chunk[..n]).and_then(|()| to.flush()).is_err() {
                break;
            }
        }
        sender.send(())
    });
    done
}

fn wait_for(mut child: Child, sender: Sender<Told>) {
    thread::spawn(move || {
        let status = child.wait().unwrap_or(ExitStatus::from_raw(TRY_AGAIN << 8));
        sender.send(Told::Ended(status))
    });
}

/// Nothing more is said on standard input; its end is what matters.
fn listen(sender: Sender<Told>) {
    thread::spawn(move || {
        let mut rest = [0; 64];
        while let Ok(1..) = std::io::stdin().lock().read(&mut rest) {}
        sender.send(Told::InputEnded)
    });
}

fn follow(told: &Receiver<Told>, group: u32, limit: Duration) -> u8 {
    let why = match told.recv_timeout(limit) {
        Ok(Told::Ended(status)) => return ended(status),
        Ok(Told::InputEnded) => "the server is gone",
        Err(_) => "its time is over",
    };
    end(group, Signal::TERM);
    say(&format_args!("{why}: it is ended"));
    let last = told.recv_timeout(GRACE);
    // Also what it left behind.
    end(group, Signal::KILL);
    if matches!(last, Err(RecvTimeoutError::Timeout)) {
        let _ = told.recv_timeout(GRACE);
    }
    code(TRY_AGAIN)
}

fn ended(status: ExitStatus) -> u8 {
    match status.signal() {
        Some(signal) => {
            say(&format_args!("it was ended by signal {signal}"));
            code(TRY_AGAIN)
        }
        None => code(status.code().unwrap_or(TRY_AGAIN)),
    }
}

fn end(group: u32, signal: Signal) {
    let group = i32::try_from(group).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        // It may be gone already.
        let _ = kill_process_group(group, signal);
    }
}
