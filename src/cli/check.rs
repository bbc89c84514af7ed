//! `leasehold check`: what a start would find, each line ok or what to do. Changes nothing and
//! needs no running server; ends with 1 when something is wrong.

mod outside;
mod payouts;

use std::fmt;
use std::path::Path;

use secrecy::ExposeSecret as _;
use serde::Serialize;

use super::{Exit, Global, Output};
use crate::catalog;
use crate::config::{Config, Problems};
use crate::domain::keychain::Keychain;
use crate::domain::policy::network_name;
use crate::domain::resource::Terms;
use crate::keys::{KeyError, Keys};

/// Arguments of `check`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A catalogue to look at instead of the configured one
    #[arg(long, value_name = "FILE")]
    catalog: Option<std::path::PathBuf>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    subject: &'static str,
    ok: bool,
    detail: String,
}

/// All that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    ok: bool,
    lines: Vec<Line>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Line { subject, ok, detail }) in self.lines.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{} {subject:13} {detail}", if *ok { "ok   " } else { "WRONG" })?;
        }
        Ok(())
    }
}

pub(super) async fn run(args: Args, global: &Global, output: &Output) -> Result<(), Exit> {
    let mut report = report(global.load(), args.catalog.as_deref());
    // Loaded again: the report has used it up.
    if let Ok(config) = global.load() {
        report.lines.extend(outside::look(&config).await);
        report.ok = report.lines.iter().all(|line| line.ok);
    }
    output.answer(&report)?;
    if report.ok { Ok(()) } else { Err(Exit::Said) }
}

/// What follows from the configuration is looked at when that is right; a catalogue given by name
/// always is.
fn report(config: Result<Config, Problems>, catalog: Option<&Path>) -> Report {
    let mut lines = Vec::new();
    match config {
        Err(problems) => {
            lines.extend(wrong("configuration", &problems));
            lines.extend(catalog.map(|file| catalogue(file, None)).unwrap_or_default());
        }
        Ok(config) => {
            lines.push(configuration(&config));
            lines.push(wallet(&config));
            lines.extend(catalogue(catalog.unwrap_or(&config.catalog), Some(&config)));
            lines.push(keys(&config));
        }
    }
    Report { ok: lines.iter().all(|line| line.ok), lines }
}

fn right(subject: &'static str, detail: String) -> Line {
    Line { subject, ok: true, detail }
}

fn wrong_line(subject: &'static str, detail: String) -> Line {
    Line { subject, ok: false, detail }
}

fn wrong(subject: &'static str, problems: &Problems) -> Vec<Line> {
    let line =
        |problem: &crate::config::Problem| Line { subject, ok: false, detail: problem.to_string() };
    problems.list().iter().map(line).collect()
}

fn configuration(config: &Config) -> Line {
    let file =
        config.file.as_ref().map_or("the environment".into(), |file| file.display().to_string());
    let network = network_name(config.bitcoind.network);
    right("configuration", format!("{file}; {network}; {}", config.database.shown()))
}

fn wallet(config: &Config) -> Line {
    let text = config.wallet.descriptor.expose_secret();
    match Keychain::parse(text, config.bitcoind.network) {
        Ok(keychain) => right("wallet", format!("public descriptor, keychain {}", keychain.id())),
        Err(error) => wrong_line("wallet", format!("wallet.descriptor: {error}")),
    }
}

fn catalogue(file: &Path, config: Option<&Config>) -> Vec<Line> {
    let found = match catalog::load(file) {
        Err(problems) => return wrong("catalogue", &problems),
        Ok(found) => found,
    };
    let ids: Vec<&str> = found.iter().map(|terms| terms.id.as_str()).collect();
    let mut lines = vec![right("catalogue", format!("{}: {}", file.display(), ids.join(", ")))];
    let off = config.is_some_and(|config| config.policy.zero_conf_max_exposure_sat == 0);
    let waits = |terms: &&Terms| terms.confirmations.iter().any(|tier| tier.n == 0);
    lines.extend(found.iter().filter(|_| off).filter(waits).map(|terms| {
        let note = "n = 0 waits for one block while money.zero_conf_max_exposure_sat is 0";
        right("catalogue", format!("note: {}: {note}", terms.id))
    }));
    lines
}

fn keys(config: &Config) -> Line {
    let (signing, claim) = (&config.signing_key_file, config.claim_secret_file());
    let absent: Vec<String> = [signing, &claim]
        .into_iter()
        .filter(|file| !file.exists())
        .map(|file| file.display().to_string())
        .collect();
    if !absent.is_empty() {
        return right("keys", format!("{}: made on the first start", absent.join(" and ")));
    }
    match Keys::read(signing, &claim) {
        Ok(keys) => right("keys", format!("signs with {}", keys.signing.kid())),
        Err(error @ KeyError { .. }) => wrong_line("keys", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// The account of BIP84's test vector, as a descriptor with both branches.
    const DESCRIPTOR: &str = "wpkh([73c5da0a/84h/0h/0h]xpub6CatWdiZiodmUeTDp8LT5or8nmbKNcuyvz7WyksVFkKB4RHwCD3XyuvPEbvqAQY3rAPshWcMLoP2fMFMKHPJ4ZeZXYVUhLv1VMrjPC7PW6V/<0;1>/*)";

    fn check(config: &str, catalog: &str) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("leasehold.toml");
        std::fs::write(&file, config).unwrap();
        std::fs::write(folder.path().join("catalog.toml"), catalog).unwrap();
        let home: [(OsString, OsString); 1] = [("HOME".into(), "/home/op".into())];
        report(Config::load(Some(&file), home), None)
    }

    fn good_config() -> String {
        format!("[bitcoind]\nnetwork = \"bitcoin\"\n[wallet]\ndescriptor = \"{DESCRIPTOR}\"\n")
    }

    const CATALOG: &str = "[[resource]]\nid = \"a\"\naccess = \"shared\"\n\
                           price = { sat = 1, per = \"1h\" }\nconfirmations = [{ n = 0 }]\n";

    #[test]
    fn everything_right_is_a_line_each() {
        let report = check(&good_config(), CATALOG);
        let subjects: Vec<&str> = report.lines.iter().map(|line| line.subject).collect();
        assert!(report.ok, "{report}");
        assert_eq!(subjects, ["configuration", "wallet", "catalogue", "catalogue", "keys"]);
        let text = report.to_string();
        assert!(text.contains("ok    catalogue     note: a: n = 0 waits"), "{text}");
        assert!(text.lines().last().unwrap().ends_with("made on the first start"), "{text}");
    }

    #[test]
    fn each_part_that_is_wrong_says_so_and_the_others_are_still_looked_at() {
        let private =
            good_config().replace("xpub6Cat", "xprv9Cat").replace("bitcoin\"", "signet\"");
        let report = check(&private, "[[resource]]\nid = \"a\"\n");
        assert!(!report.ok);
        let wrong: Vec<&Line> = report.lines.iter().filter(|line| !line.ok).collect();
        assert!(wrong[0].subject == "wallet" && wrong[0].detail.starts_with("wallet.descriptor: "));
        assert!(!wrong[0].detail.contains("xprv9Cat"), "{}", wrong[0].detail);
        assert!(wrong[1..].iter().all(|line| line.subject == "catalogue"));
        assert_eq!(wrong.len(), 3, "{report}");
    }

    #[test]
    fn a_wrong_configuration_is_all_there_is_to_say() {
        let report = check("listen = 1", CATALOG);
        assert!(!report.ok);
        assert!(report.lines.iter().all(|line| line.subject == "configuration" && !line.ok));
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["ok"], false);
        assert_eq!(json["lines"][0]["subject"], "configuration");
    }
}
