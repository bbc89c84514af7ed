//! What has to be imported into the wallet, and from when on the chain is searched for it. The
//! node keeps no word of a search that was broken off, by a restart say, and never makes up for
//! it. So what was searched to its end is written down in the wallet itself, as the label of a
//! branch's first address. Pure.

use super::Wanted;

const WORD: &str = "leasehold: complete";

/// What a branch's first address bears: all payments to the indexes below `end`, in blocks since
/// `from`, were found when the median time of the tip was `at` (Unix seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) end: u32,
    pub(super) from: u64,
    pub(super) at: u64,
}

impl Mark {
    pub(super) fn label(&self) -> String {
        format!("{WORD} below {}, from {}, at {}", self.end, self.from, self.at)
    }

    pub(super) fn read(label: &str) -> Option<Self> {
        let (end, rest) =
            label.strip_prefix(WORD)?.strip_prefix(" below ")?.split_once(", from ")?;
        let (from, at) = rest.split_once(", at ")?;
        Some(Self { end: end.parse().ok()?, from: from.parse().ok()?, at: at.parse().ok()? })
    }
}

/// An import that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// Indexes below it; never fewer than the wallet has, which the node refuses.
    pub(super) end: u32,
    /// Unix seconds from which blocks are searched; `None` for the last two hours only, which the
    /// node does in any case.
    pub(super) since: Option<u64>,
    /// What to write down after it.
    pub(super) mark: Mark,
}

/// What is due for a branch of which the wallet has the indexes below `held`. `now` is the median
/// time of the tip.
pub(super) fn due(
    wanted: &Wanted,
    scan_from: u64,
    held: Option<u32>,
    mark: Option<Mark>,
    now: u64,
) -> Option<Import> {
    let mark = mark.filter(|mark| held.is_some() && mark.from <= scan_from);
    let complete = mark.map_or(0, |mark| mark.end);
    if held.is_some_and(|held| held >= wanted.end) && complete >= wanted.end {
        return None;
    }
    let end = wanted.end.max(held.unwrap_or(0));
    let since = (complete < wanted.unpaid_from).then(|| mark.map_or(scan_from, |mark| mark.at));
    let from = mark.map_or(scan_from, |mark| mark.from);
    Some(Import { end, since, mark: Mark { end, from, at: now } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: u64 = 1_000;
    const NOW: u64 = 9_000;

    fn wanted(end: u32, unpaid_from: u32) -> Wanted {
        Wanted { descriptor: String::new(), internal: false, end, unpaid_from }
    }

    fn mark(end: u32, from: u64) -> Mark {
        Mark { end, from, at: 5_000 }
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = mark(400, FROM);
        assert_eq!(Mark::read(&mark.label()), Some(mark));
        assert_eq!(Mark::read("leasehold: complete below 400"), None);
        assert_eq!(Mark::read("rent"), None);
    }

    #[test]
    fn what_may_have_been_paid_is_searched_for_and_nothing_else() {
        let cases = [
            ("new and unused", wanted(400, 0), None, None, Some((400, None))),
            ("new here, used before", wanted(400, 7), None, None, Some((400, Some(FROM)))),
            ("all there", wanted(400, 7), Some(400), Some(mark(400, FROM)), None),
            ("wider than needed", wanted(400, 7), Some(900), Some(mark(400, FROM)), None),
            ("widened", wanted(600, 201), Some(400), Some(mark(400, FROM)), Some((600, None))),
            (
                "widened late",
                wanted(800, 555),
                Some(400),
                Some(mark(400, FROM)),
                Some((800, Some(5_000))),
            ),
            (
                "widened by the node, not searched",
                wanted(600, 201),
                Some(700),
                Some(mark(400, FROM)),
                Some((700, None)),
            ),
            ("broken off", wanted(400, 7), Some(400), None, Some((400, Some(FROM)))),
            (
                "searched from a later block",
                wanted(400, 7),
                Some(400),
                Some(mark(400, FROM + 1)),
                Some((400, Some(FROM))),
            ),
            (
                "the wallet was made anew under an old label",
                wanted(400, 7),
                None,
                Some(mark(400, FROM)),
                Some((400, Some(FROM))),
            ),
        ];
        for (name, wanted, held, mark, expected) in cases {
            let due = due(&wanted, FROM, held, mark, NOW);
            assert_eq!(due.map(|import| (import.end, import.since)), expected, "{name}");
            let written = due.map(|import| import.mark);
            let right = written.is_none_or(|mark| {
                (Some(mark.end), mark.from, mark.at) == (due.map(|import| import.end), FROM, NOW)
            });
            assert!(right, "{name}: {written:?}");
        }
    }
}
