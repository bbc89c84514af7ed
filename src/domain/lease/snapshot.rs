//! A lease as it looks at one moment: its standing plus the clock.

use serde::{Deserialize, Serialize};

use super::super::payment::Counted;
use super::super::time::Timestamp;
use super::EndReason;
use super::fold::{Phase, Standing};

/// A lease's state (SPEC section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// Waits for money, or for a unit.
    Unfunded,
    /// Paid, being made ready.
    Provisioning,
    /// Usable.
    Active,
    /// Time is over; unit and data are kept for a while.
    Grace,
    /// Over.
    Ended,
    /// Stopped by the operator; time stands still.
    Suspended,
}

impl LeaseState {
    /// snake_case, as in the API and the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unfunded => "unfunded",
            Self::Provisioning => "provisioning",
            Self::Active => "active",
            Self::Grace => "grace",
            Self::Ended => "ended",
            Self::Suspended => "suspended",
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Unfunded,
            Self::Provisioning,
            Self::Active,
            Self::Grace,
            Self::Ended,
            Self::Suspended,
        ]
        .into_iter()
        .find(|state| state.as_str() == text)
    }
}

/// Something worth knowing about a lease; a set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseFlag {
    /// In the last min(1 day, half the term).
    ExpiringSoon,
    /// One of its credits has lost its block, or has none yet.
    AtRisk,
    /// One of its credits is reversed.
    Reversed,
    /// It was asked for when no unit could be held; whoever pays first gets one.
    NoHold,
    /// Its provisioner failed.
    ProvisionerError,
}

/// A lease at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its state.
    pub state: LeaseState,
    /// Why it ended.
    pub end_reason: Option<EndReason>,
    /// 0 before the first.
    pub generation: u32,
    /// When this generation's clock started.
    pub starts_at: Option<Timestamp>,
    /// Until when it can be used as things stand: at most the horizon from now.
    pub expires_at: Option<Timestamp>,
    /// Until when it is paid.
    pub paid_until: Option<Timestamp>,
    /// Usable seconds left, up to `expires_at`.
    pub remaining_s: u64,
    /// When its grace is over.
    pub grace_until: Option<Timestamp>,
    /// Seconds paid beyond `expires_at`, or waiting for the start.
    pub banked_s: u64,
    /// True in the last min(1 day, half the term).
    pub expiring_soon: bool,
    /// True when one of its credits is reversed now.
    pub reversed: bool,
}

/// The longest notice before a lease runs out, in seconds.
const NOTICE_S: u64 = 86_400;

impl Standing {
    /// The moment from which it is `expiring_soon`.
    pub fn expiring_soon_at(&self) -> Option<Timestamp> {
        let (starts, until) = (self.starts_at?, self.paid_until?);
        Some(until.minus_s(NOTICE_S.min(starts.seconds_until(until) / 2)))
    }

    /// When grace ends, unless money on its way holds it longer.
    pub fn grace_until(&self) -> Option<Timestamp> {
        (self.phase == Phase::Live)
            .then_some(self.paid_until)
            .flatten()
            .map(|until| until.plus_s(self.grace_s))
    }

    /// What it looks like at `now`.
    pub fn at(&self, now: Timestamp) -> Snapshot {
        let stood_still = self.suspended_at.map_or(0, |since| now.millis() - since.millis());
        let paid_until = self.paid_until.map(|until| until.plus_millis(stood_still.max(0)));
        let state = match (self.phase, paid_until) {
            (Phase::Unfunded, _) => LeaseState::Unfunded,
            (Phase::Provisioning, _) => LeaseState::Provisioning,
            (Phase::Ended, _) => LeaseState::Ended,
            (Phase::Live, _) if self.suspended_at.is_some() => LeaseState::Suspended,
            (Phase::Live, Some(until)) if now < until => LeaseState::Active,
            (Phase::Live, _) => LeaseState::Grace,
        };
        let expires_at = paid_until.map(|until| until.min(now.plus_s(self.max_duration_s)));
        let beyond = match (expires_at, paid_until) {
            (Some(expires), Some(until)) => expires.seconds_until(until),
            _ => self.pending_s,
        };
        Snapshot {
            state,
            end_reason: self.end_reason,
            generation: self.generation,
            starts_at: self.starts_at,
            expires_at: expires_at.or(self.ended_at),
            paid_until,
            remaining_s: expires_at.map_or(0, |until| now.seconds_until(until)),
            grace_until: self.grace_until().map(|until| until.plus_millis(stood_still.max(0))),
            banked_s: beyond,
            expiring_soon: state == LeaseState::Active
                && self.expiring_soon_at().is_some_and(|at| now >= at),
            reversed: self.credits.iter().any(|line| line.counted == Counted::Reversed),
        }
    }
}
