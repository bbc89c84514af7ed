//! The connection that every statement of this program goes through, reading or writing.
//! It remembers whether a statement failed and whether one wrote: nobody can forget to say so.
//! It also ends the wait for a server that vanished without a word.
//! Table files take `&mut Conn` and pass `&mut *conn` to sqlx.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use sqlx::any::{Any, AnyQueryResult, AnyRow, AnyStatement, AnyTypeInfo};
use sqlx::pool::PoolConnection;
use sqlx::{AnyConnection, Either, Execute, Executor, SqlSafeStr, SqlStr, Transaction};

use super::error::{Fault, plain};

/// A database connection: from [`super::Db::read`], [`super::Db::snapshot`] or inside a
/// [`super::Tx`]. `&mut Conn` is an sqlx executor. Inside a `Tx`, read a stream to its end.
#[derive(Debug)]
pub struct Conn {
    link: Link,
    limit: Option<Duration>,
    trace: Trace,
}

#[derive(Debug)]
enum Link {
    Own(AnyConnection),
    Pooled(PoolConnection<Any>),
    Snapshot(Transaction<'static, Any>),
}

/// What the statements since the last [`Conn::take_trace`] did.
#[derive(Debug, Default)]
pub(super) struct Trace {
    /// The first failure.
    pub failure: Option<Failure>,
    /// At least one row was written, or a statement ran whose effect cannot be told.
    pub wrote: bool,
}

/// A failed statement, in short; the error itself went to whoever ran it.
#[derive(Debug)]
pub(super) struct Failure {
    pub fault: Fault,
    pub why: String,
}

impl Conn {
    pub(super) fn own(link: AnyConnection, limit: Option<Duration>) -> Conn {
        Conn { link: Link::Own(link), limit, trace: Trace::default() }
    }

    pub(super) fn pooled(link: PoolConnection<Any>, limit: Option<Duration>) -> Conn {
        Conn { link: Link::Pooled(link), limit, trace: Trace::default() }
    }

    pub(super) fn snapshot(link: Transaction<'static, Any>, limit: Option<Duration>) -> Conn {
        Conn { link: Link::Snapshot(link), limit, trace: Trace::default() }
    }

    /// Forgets and returns what the statements so far did.
    pub(super) fn take_trace(&mut self) -> Trace {
        std::mem::take(&mut self.trace)
    }

    /// Ends the connection; what it had open is rolled back by the database.
    pub(super) async fn close(self) {
        if let Link::Own(link) = self.link {
            use sqlx::Connection;
            // A vanished server does not answer the farewell.
            let _ = tokio::time::timeout(Duration::from_secs(2), link.close_hard()).await;
        }
    }

    fn parts(&mut self) -> (&mut AnyConnection, Option<Duration>, &mut Trace) {
        let link = match &mut self.link {
            Link::Own(link) => link,
            Link::Pooled(link) => &mut **link,
            Link::Snapshot(link) => &mut **link,
        };
        (link, self.limit, &mut self.trace)
    }
}

/// How a statement's result tells whether it wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// It cannot write.
    Reads,
    /// It wrote when it reports a row.
    Counts,
    /// Its result does not tell.
    Unclear,
}

impl Kind {
    fn of(sql: &str) -> Kind {
        let word = sql.trim_start().split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
        let is = |name: &str| word.eq_ignore_ascii_case(name);
        // Only the first statement of several is looked at.
        if sql.trim_end().trim_end_matches(';').contains(';') {
            Kind::Unclear
        } else if is("SELECT") {
            Kind::Reads
        } else if is("INSERT") || is("UPDATE") || is("DELETE") {
            Kind::Counts
        } else {
            Kind::Unclear
        }
    }
}

type Step = Result<Either<AnyQueryResult, AnyRow>, sqlx::Error>;

/// A statement under way.
struct Watched<'e> {
    rows: BoxStream<'e, Step>,
    trace: &'e mut Trace,
    kind: Kind,
    limit: Option<Pin<Box<tokio::time::Sleep>>>,
    ended: bool,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        if !self.ended {
            // Its failure may be on the way, and PostgreSQL would commit nothing without a word.
            self.trace.failure.get_or_insert_with(|| Failure {
                fault: Fault::Statement,
                why: "a statement was dropped before its end".into(),
            });
        }
    }
}

impl futures_util::Stream for Watched<'_> {
    type Item = Step;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Step>> {
        let this = self.get_mut();
        let step = match this.rows.poll_next_unpin(cx) {
            Poll::Ready(step) => step,
            Poll::Pending => match this.limit.as_mut().map(|limit| limit.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Some(Err(sqlx::Error::Io(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    "the database did not answer in time",
                )))),
                _ => return Poll::Pending,
            },
        };
        this.ended = matches!(&step, None | Some(Err(_)));
        match &step {
            Some(Err(error)) => this.trace.fail(error),
            Some(Ok(Either::Right(_))) => this.trace.wrote |= this.kind != Kind::Reads,
            Some(Ok(Either::Left(done))) => {
                this.trace.wrote |= this.kind == Kind::Counts && done.rows_affected() > 0;
            }
            None => {}
        }
        Poll::Ready(step)
    }
}

impl Trace {
    fn fail(&mut self, error: &sqlx::Error) {
        // The first failure is the cause, the others follow from it.
        self.failure.get_or_insert_with(|| Failure { fault: Fault::of(error), why: plain(error) });
    }
}

impl<'c> Executor<'c> for &'c mut Conn {
    type Database = Any;

    fn fetch_many<'e, 'q: 'e, E>(self, mut query: E) -> BoxStream<'e, Step>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let (link, limit, trace) = self.parts();
        let arguments = match query.take_arguments() {
            Ok(arguments) => arguments,
            Err(error) => {
                let error = sqlx::Error::Encode(error);
                trace.fail(&error);
                return futures_util::stream::iter([Err(error)]).boxed();
            }
        };
        let persistent = query.persistent();
        let sql = query.sql();
        let kind = Kind::of(sql.as_str());
        // Also when the statement is dropped half-way.
        trace.wrote |= kind == Kind::Unclear;
        let rows = match arguments {
            Some(arguments) => {
                link.fetch_many(sqlx::query_with(sql, arguments).persistent(persistent))
            }
            None => link.fetch_many(sqlx::raw_sql(sql)),
        };
        let limit = limit.map(|limit| Box::pin(tokio::time::sleep(limit)));
        Watched { rows, trace, kind, limit, ended: false }.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<AnyRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Any>,
    {
        let mut steps = self.fetch_many(query);
        Box::pin(async move {
            let mut first = None;
            // To the end: whether it wrote stands behind the last row.
            while let Some(step) = steps.next().await {
                if let Either::Right(row) = step? {
                    first.get_or_insert(row);
                }
            }
            Ok(first)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [AnyTypeInfo],
    ) -> BoxFuture<'e, Result<AnyStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        let (link, _, trace) = self.parts();
        Box::pin(async move {
            let statement = link.prepare_with(sql.into_sql_str(), parameters).await;
            if let Err(error) = &statement {
                trace.fail(error);
            }
            statement
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn the_first_word_tells_how_a_statement_reports_its_writes() {
        let cases = [
            ("SELECT 1", Kind::Reads),
            ("  select * FROM t;", Kind::Reads),
            ("INSERT INTO t VALUES ($1)", Kind::Counts),
            ("\n update t SET a = 1 RETURNING a", Kind::Counts),
            ("DELETE FROM t", Kind::Counts),
            ("WITH x AS (DELETE FROM t RETURNING 1) SELECT 1", Kind::Unclear),
            ("CREATE TABLE t (a BIGINT)", Kind::Unclear),
            ("SELECT 1; DELETE FROM t", Kind::Unclear),
            ("", Kind::Unclear),
        ];
        for (sql, kind) in cases {
            assert_eq!(Kind::of(sql), kind, "{sql}");
        }
    }
}
