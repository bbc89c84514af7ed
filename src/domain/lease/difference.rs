//! What to tell the world: the events between two looks at a lease, in one match.

use super::super::event::EventKind;
use super::snapshot::{LeaseState, Snapshot};

/// The events that lead from `old` to `new`, in order.
pub fn difference(old: &Snapshot, new: &Snapshot) -> Vec<EventKind> {
    use LeaseState::{Active, Ended, Grace, Provisioning, Suspended};
    let mut events = Vec::new();
    let began = new.generation > old.generation;
    let started = new.starts_at != old.starts_at && new.starts_at.is_some();
    let ended = new.state == Ended && (old.state != Ended || began);

    if began {
        if old.generation > 0 && old.state != Ended {
            events.push(EventKind::LeaseEnded);
        }
        events.push(EventKind::LeaseProvisioning);
    }
    if started {
        events.push(EventKind::LeaseActivated);
    }
    let went_on = !began && !started && old.paid_until.is_some() && new.paid_until.is_some();
    let stands_still = old.state == Suspended || new.state == Suspended;
    // While time stands still `paid_until` moves with the clock, what is left does not.
    let left_s = |look: &Snapshot| look.remaining_s.saturating_add(look.banked_s);
    let longer = match stands_still {
        true => left_s(new) > left_s(old),
        false => new.paid_until > old.paid_until,
    };
    if went_on && longer {
        events.push(EventKind::LeaseExtended);
    }
    match (old.state, new.state) {
        (Suspended, Active | Grace | Provisioning) => events.push(EventKind::LeaseResumed),
        (before, Suspended) if before != Suspended => events.push(EventKind::LeaseSuspended),
        _ => {}
    }
    if new.expiring_soon && (!old.expiring_soon || began) {
        events.push(EventKind::LeaseExpiringSoon);
    }
    if new.state == Grace && old.state != Grace {
        events.push(EventKind::LeaseGrace);
    }
    if ended {
        events.push(EventKind::LeaseEnded);
    }
    events
}
