use super::*;

fn at(secs: i64) -> Option<Timestamp> {
    Some(Timestamp::from_secs(secs))
}

fn told(generation: u32, paid_until: Option<Timestamp>, stopped: bool, over: bool) -> Told {
    Told { generation, paid_until, stopped, over }
}

#[test]
fn a_whole_life_is_told_step_by_step() {
    let steps = [
        (told(1, None, false, false), vec![(1, Action::Provision)]),
        (told(1, at(100), false, false), vec![]),
        (told(1, at(200), false, false), vec![(1, Action::Extend)]),
        (told(1, at(200), true, false), vec![(1, Action::Suspend)]),
        (told(1, at(300), false, false), vec![(1, Action::Extend), (1, Action::Resume)]),
        (told(1, None, false, true), vec![(1, Action::Release)]),
        (told(1, None, false, true), vec![]),
        (told(2, None, false, false), vec![(2, Action::Provision)]),
    ];
    let mut known = Told::default();
    for (wanted, actions) in steps {
        assert_eq!(known.actions(&wanted), actions, "{known:?} -> {wanted:?}");
        known = wanted;
    }
}

#[test]
fn what_was_missed_is_told_at_once_and_in_order() {
    let known = told(1, at(100), false, false);
    let actions = known.actions(&told(2, None, false, false));
    assert_eq!(actions, [(1, Action::Release), (2, Action::Provision)]);
    let ended_at_once = Told::default().actions(&told(1, None, false, true));
    assert_eq!(ended_at_once, [(1, Action::Provision), (1, Action::Release)]);
}
