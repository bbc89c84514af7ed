//! Reads the rate of the operator's currency from the file that the operator keeps, for the hint on
//! pages. A file that is too old, not there or no number gives no hint and breaks nothing.

use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::config::FiatHint;
use crate::domain::fiat::Rate;

/// How often the file is looked at.
const PERIOD: Duration = Duration::from_secs(10);
/// The most of it that is read.
const MOST_BYTES: u64 = 64;

/// Looks at the file until `shutdown`.
///
/// # Errors
/// None.
pub async fn run(
    hint: FiatHint,
    clock: SharedClock,
    sender: watch::Sender<Option<Rate>>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let mut said: Option<String> = None;
    while !shutdown.is_cancelled() {
        let read = read(&hint, &clock).await;
        let why = read.as_ref().err().cloned();
        if why != said {
            match &why {
                Some(why) => tracing::warn!(file = %hint.rate_file.display(), why, "no rate"),
                None => tracing::info!(file = %hint.rate_file.display(), "a rate for the pages"),
            }
            said = why;
        }
        let rate = read.ok();
        sender.send_if_modified(|known| {
            let changed = *known != rate;
            *known = rate;
            changed
        });
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
    Ok(())
}

async fn read(hint: &FiatHint, clock: &SharedClock) -> Result<Rate, String> {
    let FiatHint { currency, rate_file, max_age_s } = hint;
    let (text, changed_s) = content(rate_file).await.map_err(|error| error.to_string())?;
    let age_s = clock.now().unix_s().saturating_sub(changed_s);
    if u64::try_from(age_s).unwrap_or(0) > *max_age_s {
        return Err("it is older than max_age".into());
    }
    Rate::parse(currency, &text).ok_or_else(|| "it is no price such as 61234.50".into())
}

/// The file and when it was written, in Unix seconds.
async fn content(file: &Path) -> std::io::Result<(String, i64)> {
    let found = tokio::fs::metadata(file).await?;
    let since = found.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let changed_s = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    if found.len() > MOST_BYTES {
        return Ok((String::new(), changed_s));
    }
    Ok((tokio::fs::read_to_string(file).await?, changed_s))
}
