//! Programs that are not ours, as a second opinion on what the server gives out: libraries in
//! Python, a browser, a reader of QR codes. `regtest/test` installs them and says where they are.

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether the tests of a program are left out on request (`LEASEHOLD_TEST_SKIP`).
pub fn left_out(name: &str) -> bool {
    let skip = std::env::var("LEASEHOLD_TEST_SKIP").unwrap_or_default();
    skip.split(',').any(|left_out| left_out.trim() == name)
}

/// A Python that has the packages of `regtest/python-requirements.txt`.
///
/// # Panics
/// When there is none.
pub fn python() -> Command {
    let python = std::env::var_os("LEASEHOLD_TEST_PYTHON");
    let mut command = Command::new(python.expect("no Python to test with: run regtest/test"));
    // What is asked is on this machine.
    command.env("NO_PROXY", "*").stdin(Stdio::null());
    command
}

/// Draws what is at a URL into a PNG file, as a browser without scripts or cookies does.
pub fn draw(url: &str, picture: &Path) {
    let profile = tempfile::tempdir().expect("a temporary folder");
    let flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic \
        --no-first-run --disable-background-networking --disable-component-update \
        --disable-sync --disable-extensions --hide-scrollbars --window-size=500,500";
    let output = Command::new(browser())
        .args(flags.split_whitespace())
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--screenshot={}", picture.display()))
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && picture.exists(), "{}\n{told}", output.status);
}

fn browser() -> &'static str {
    let there = |name: &&str| {
        let version = Command::new(name).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    };
    let found = ["chromium", "google-chrome"].into_iter().find(there);
    found.expect("no browser to test with: run regtest/test")
}

/// What the one QR code in a picture says.
pub fn read_qr_code(picture: &Path) -> String {
    let output = Command::new("zbarimg")
        .args(["--quiet", "--raw", "-Sdisable", "-Sqrcode.enable"])
        .arg(picture)
        .stdin(Stdio::null())
        .output()
        .expect("zbarimg is there: regtest/test installs it");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "no code found ({}): {told}", output.status);
    String::from_utf8(output.stdout).expect("text").trim_end_matches('\n').to_owned()
}
