//! An operator wants blocks read again that were followed already: money that was missed by a
//! wrong database or a late descriptor is found. Asked for here, done by the follower, which
//! alone knows how; its progress is watched. One at a time on a node.

use serde::Serialize;
use tokio::sync::{mpsc, watch};
use utoipa::ToSchema;

use crate::db::{self, Tx, WriteItem};
use crate::domain::time::Timestamp;

use super::{AppError, Code, Refusal};

/// Where a rescan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RescanState {
    /// None was asked for since the start.
    #[default]
    Idle,
    /// Asked for, not begun.
    Waiting,
    /// Reading.
    Running,
    /// All blocks were read.
    Done,
    /// It ended early.
    Failed,
}

/// What is known of the last rescan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Progress {
    /// Where it is.
    pub state: RescanState,
    /// The first block.
    pub from_height: u32,
    /// The last block.
    pub to_height: u32,
    /// The last block that was read; `null` before the first.
    pub height: Option<u32>,
    /// Payments that were not known before.
    pub found: u64,
    /// Why it failed.
    pub failure: Option<String>,
}

impl Progress {
    /// True when nothing more comes unless another one is asked for.
    pub fn is_over(&self) -> bool {
        !matches!(self.state, RescanState::Waiting | RescanState::Running)
    }
}

/// For whoever asks.
#[derive(Clone, Debug)]
pub struct RescanHandle {
    asked: mpsc::Sender<u32>,
    progress: watch::Sender<Progress>,
}

/// For the follower, which does it.
#[derive(Debug)]
pub struct RescanDesk {
    /// The first block of the rescan that is asked for.
    pub asked: mpsc::Receiver<u32>,
    /// Where to tell how far it is.
    pub progress: watch::Sender<Progress>,
}

/// Both ends.
pub fn channel() -> (RescanHandle, RescanDesk) {
    let (sender, asked) = mpsc::channel(1);
    let progress = watch::Sender::default();
    (RescanHandle { asked: sender, progress: progress.clone() }, RescanDesk { asked, progress })
}

/// The right to start a rescan.
#[derive(Debug)]
pub struct Turn<'a> {
    permit: mpsc::Permit<'a, u32>,
    progress: &'a watch::Sender<Progress>,
}

impl RescanHandle {
    /// Takes the turn, if none is under way.
    ///
    /// # Errors
    /// `not_ready` when one is, or when this node does not follow the chain.
    pub fn reserve(&self) -> Result<Turn<'_>, Refusal> {
        let running = || {
            let detail = "a rescan is under way on this node; wait for its end";
            Refusal::new(Code::NotReady, detail)
        };
        if !self.progress.borrow().is_over() {
            return Err(running());
        }
        match self.asked.try_reserve() {
            Ok(permit) => Ok(Turn { permit, progress: &self.progress }),
            Err(mpsc::error::TrySendError::Full(())) => Err(running()),
            Err(mpsc::error::TrySendError::Closed(())) => {
                Err(Refusal::new(Code::NotReady, "this node does not follow the chain"))
            }
        }
    }

    /// How far the last one is, and every step of it.
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

impl Turn<'_> {
    /// Asks for it.
    pub fn start(self, from_height: u32, to_height: u32) {
        let state = RescanState::Waiting;
        self.progress.send_replace(Progress {
            state,
            from_height,
            to_height,
            ..Progress::default()
        });
        self.permit.send(from_height);
    }
}

/// Notes that an operator asks for a rescan. Answers the height of the tip, its last block.
pub struct AskRescan {
    /// The first block.
    pub from_height: u32,
    /// The clock.
    pub now: Timestamp,
    /// The operator.
    pub actor: String,
}

impl WriteItem for AskRescan {
    type Out = u32;
    type Error = AppError;

    async fn run(&self, tx: &mut Tx) -> Result<u32, AppError> {
        let Some(tip) = db::chain::tip(tx.conn()).await? else {
            let detail = "the chain was not followed yet; nothing can have been missed";
            return Err(Refusal::new(Code::NotReady, detail).into());
        };
        if self.from_height > tip.height {
            let detail = format!("from_height is {}; the tip is {}", self.from_height, tip.height);
            return Err(Refusal::field(Code::InvalidRequest, "/from_height", detail).into());
        }
        let from = self.from_height.to_string();
        let entry = (self.actor.as_str(), "chain.rescan", from.as_str(), "");
        db::audit_log::insert(tx.conn(), self.now, entry).await?;
        Ok(tip.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_rescan_at_a_time_and_the_next_one_after_its_end() {
        let (handle, mut desk) = channel();
        handle.reserve().unwrap().start(5, 9);
        assert_eq!(handle.reserve().unwrap_err().code, Code::NotReady);
        assert_eq!(desk.asked.try_recv(), Ok(5));
        assert_eq!(handle.reserve().unwrap_err().code, Code::NotReady, "it waits to begin");
        desk.progress.send_modify(|progress| progress.state = RescanState::Done);
        assert!(handle.reserve().is_ok());
    }

    #[test]
    fn a_node_that_does_not_follow_says_so() {
        let (handle, desk) = channel();
        drop(desk);
        assert_eq!(handle.reserve().unwrap_err().code, Code::NotReady);
    }
}
