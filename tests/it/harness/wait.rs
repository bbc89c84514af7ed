//! Waiting on something that happens, with a deadline and the last thing seen in the failure.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything in a test may take unless it says otherwise.
pub const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN: Duration = Duration::from_millis(20);

/// Asks until the answer is `Ok`; the `Err` says what was seen instead.
///
/// # Panics
/// After [`PATIENCE`], with `what` and the last `Err`.
pub fn until<T, E: Debug>(what: &str, ask: impl FnMut() -> Result<T, E>) -> T {
    wait(PATIENCE, what, ask)
}

/// As [`until`], with another deadline, before which the answer has to be there.
pub fn within<T, E: Debug>(patience: Duration, what: &str, ask: impl FnMut() -> Result<T, E>) -> T {
    let began = now();
    let found = wait(patience, what, ask);
    let took = now() - began;
    assert!(took <= patience, "waited {took:?} for {what}, more than {patience:?}");
    found
}

fn wait<T, E: Debug>(patience: Duration, what: &str, mut ask: impl FnMut() -> Result<T, E>) -> T {
    let deadline = now() + patience;
    loop {
        match ask() {
            Ok(found) => return found,
            Err(seen) if now() > deadline => {
                panic!("waited {} s for {what}; last seen: {seen:?}", patience.as_secs())
            }
            Err(_) => pause(),
        }
    }
}

/// For deadlines, and for how long something took.
#[expect(clippy::disallowed_methods, reason = "a deadline for tests")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "between two questions, never instead of one")]
fn pause() {
    std::thread::sleep(BETWEEN);
}
