//! A write item in the queue: what the writer sees of it, whatever its types are.
//! It keeps its outcome back until the writer says that it holds.
//! Used by `write.rs` only.

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::DbError;
use super::write::{Tx, WriteItem};

/// What a run of an item came to, before the transaction's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// `Ok`: what it wrote is to be committed.
    Kept,
    /// `Err`: what it wrote, if anything, must not stay.
    Refused,
}

/// An item in the queue.
pub(super) trait Job: Send {
    /// Runs the item and keeps its outcome, over that of an earlier run.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Ran>;
    /// The outcome of the last run.
    fn ran(&self) -> Option<Ran>;
    /// Gives the caller the outcome of the last run.
    fn answer(self: Box<Self>);
    /// Gives the caller `error` whatever the last run came to.
    fn fail(self: Box<Self>, error: DbError);
    /// The item's type, for logs.
    fn name(&self) -> &'static str;
}

type Outcome<I> = Result<<I as WriteItem>::Out, <I as WriteItem>::Error>;

/// An item, the outcome of its last run, and where the caller waits.
pub(super) struct Queued<I: WriteItem> {
    item: I,
    outcome: Option<Outcome<I>>,
    reply: oneshot::Sender<Outcome<I>>,
}

impl<I: WriteItem> Queued<I> {
    pub(super) fn new(item: I) -> (Box<Self>, oneshot::Receiver<Outcome<I>>) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Queued { item, outcome: None, reply }), answer)
    }
}

impl<I: WriteItem> Job for Queued<I> {
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> BoxFuture<'a, Ran> {
        self.outcome = None;
        Box::pin(async move {
            let outcome = self.item.run(tx).await;
            let ran = if outcome.is_ok() { Ran::Kept } else { Ran::Refused };
            self.outcome = Some(outcome);
            ran
        })
    }

    fn ran(&self) -> Option<Ran> {
        self.outcome.as_ref().map(|o| if o.is_ok() { Ran::Kept } else { Ran::Refused })
    }

    fn answer(self: Box<Self>) {
        let Queued { outcome, reply, .. } = *self;
        let outcome = outcome.unwrap_or_else(|| Err(DbError::Stopped.into()));
        // A caller that stopped waiting is no failure: the item is done.
        let _ = reply.send(outcome);
    }

    fn fail(self: Box<Self>, error: DbError) {
        let _ = self.reply.send(Err(error.into()));
    }

    fn name(&self) -> &'static str {
        std::any::type_name::<I>()
    }
}
