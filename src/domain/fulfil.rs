//! What a provisioner has to be told: the difference between what it was told last and what a lease
//! is now, in one match. Pure; the rows are written by settling, the calls made by a worker.

use serde::{Deserialize, Serialize};

use super::lease::fold::{Phase, Standing};
use super::lease::snapshot::{LeaseState, Snapshot};
use super::time::Timestamp;

/// What a provisioner is called for (SPEC section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Make the resource ready for its holder.
    Provision,
    /// It is paid until another moment.
    Extend,
    /// Keep everything, give no access.
    Suspend,
    /// Give access again.
    Resume,
    /// The holder handed in other params.
    Update,
    /// It is over: take it back, make it as new.
    Release,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] =
        [Self::Provision, Self::Extend, Self::Suspend, Self::Resume, Self::Update, Self::Release];

    /// snake_case, as in the API, the database and `LEASEHOLD_ACTION`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Extend => "extend",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Update => "update",
            Self::Release => "release",
        }
    }

    /// What failed before it of its generation and does not matter any more once this is done.
    pub fn makes_up_for(self) -> &'static [Self] {
        match self {
            Self::Provision => &[],
            Self::Extend => &[Self::Extend],
            Self::Suspend | Self::Resume => &[Self::Suspend, Self::Resume],
            Self::Update => &[Self::Update],
            Self::Release => &[Self::Extend, Self::Suspend, Self::Resume, Self::Update],
        }
    }

    /// Reads what [`as_str`](Self::as_str) wrote.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// What a provisioner knows of a lease once it has done all that it was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The generation it was told of last; 0 before the first.
    pub generation: u32,
    /// Until when that is paid, once its clock runs.
    pub paid_until: Option<Timestamp>,
    /// True while access is taken away.
    pub stopped: bool,
    /// True once it was told that it is over.
    pub over: bool,
}

impl Told {
    /// What it should know.
    pub fn wanted(standing: &Standing, look: &Snapshot) -> Self {
        let live = standing.phase == Phase::Live;
        Self {
            generation: standing.generation,
            paid_until: standing.paid_until.filter(|_| live),
            stopped: matches!(look.state, LeaseState::Grace | LeaseState::Suspended) && live,
            over: standing.phase == Phase::Ended && standing.generation > 0,
        }
    }

    /// The actions that lead from what it knows to `wanted`, in order, with their generations.
    pub fn actions(&self, wanted: &Self) -> Vec<(u32, Action)> {
        let mut actions = Vec::new();
        let mut known = *self;
        if wanted.generation > known.generation {
            if known.generation > 0 && !known.over {
                actions.push((known.generation, Action::Release));
            }
            actions.push((wanted.generation, Action::Provision));
            known = Self { generation: wanted.generation, ..Self::default() };
        }
        let generation = known.generation;
        if wanted.over {
            if !known.over {
                actions.push((generation, Action::Release));
            }
            return actions;
        }
        // What it is ready with is paid until then anyway.
        let moved = known.paid_until.is_some() && known.paid_until != wanted.paid_until;
        if moved && wanted.paid_until.is_some() {
            actions.push((generation, Action::Extend));
        }
        match (known.stopped, wanted.stopped) {
            (false, true) => actions.push((generation, Action::Suspend)),
            (true, false) => actions.push((generation, Action::Resume)),
            _ => {}
        }
        actions
    }
}

#[cfg(test)]
mod tests;
