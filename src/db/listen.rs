//! Hears of the other nodes' commits on PostgreSQL and passes the newest event number on.
//! A hint that shortens waits: nothing depends on a notification that arrives.
//! Runs beside the writer, in the same task.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

use super::{Backend, DbError, Shared, Touched, event};

/// The channel; a payload is the number of the newest event in the commit, or the id of something
/// that changed without an event.
pub(super) const CHANNEL: &str = "leasehold_event";

const PAUSE: Duration = Duration::from_secs(1);
/// After this long without a word the connection is tried.
const QUIET: Duration = Duration::from_secs(10);

/// Listens for ever.
pub(super) async fn follow(shared: &Shared) -> Infallible {
    if shared.backend() == Backend::Sqlite {
        return std::future::pending().await;
    }
    loop {
        let Err(error) = listen(shared).await;
        tracing::warn!(error = %error, "cannot hear of other nodes' events, connecting again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn listen(shared: &Shared) -> Result<Infallible, DbError> {
    let options = PgConnectOptions::from_str(shared.target.url())?;
    let name = options.get_application_name().unwrap_or("leasehold").to_owned();
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(shared.target.options.connect_timeout)
        .connect_with(options.application_name(&name))
        .await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    let mut made_anew = true;
    loop {
        // What was notified before the connection stood was not heard.
        let mut conn = shared.reader().await?;
        shared.publish(event::last_seq(&mut conn).await?);
        drop(conn);
        if made_anew {
            shared.tell_touched(Touched::Anything);
        }
        loop {
            match tokio::time::timeout(QUIET, listener.try_recv()).await {
                Ok(heard) => match heard? {
                    Some(heard) => match heard.payload().parse() {
                        Ok(seq) => shared.publish(seq),
                        Err(_) => shared.tell_touched(Touched::One(heard.payload().to_owned())),
                    },
                    // The connection was lost and made again.
                    None => {
                        made_anew = true;
                        break;
                    }
                },
                Err(_) => {
                    check(&mut listener).await?;
                    made_anew = false;
                    break;
                }
            }
        }
    }
}

/// A server that vanished without a word sounds like one that has nothing to say.
async fn check(listener: &mut PgListener) -> Result<(), DbError> {
    match tokio::time::timeout(QUIET, listener.execute("SELECT 1")).await {
        Ok(done) => Ok(done.map(|_| ())?),
        Err(_) => Err(DbError::unreachable("the server does not answer")),
    }
}
