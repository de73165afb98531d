//! What becomes of the times at which a job was due: one after the other, each runs or is skipped.

use crate::definition::{CatchUp, Overlap, Policy};
use crate::run::RunKind;

/// How long after its time a run is not late.
pub(crate) const GRACE_MS: i64 = 60_000;

/// The times at which a job was due and that are not settled, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// How many there are.
    pub(crate) count: u64,
    /// The newest of them.
    pub(crate) newest: Vec<i64>,
}

/// When the last run of the job in this process began and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) from_ms: i64,
    pub(crate) until_ms: i64,
}

/// What is to be done with the oldest of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing is due.
    Nothing,
    /// So many, up to this time, are noted as skipped.
    Skip {
        through_ms: i64,
        count: u64,
        why: Why,
    },
    /// This one runs.
    Run { at_ms: i64, kind: RunKind },
}

/// Why a run was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The one before it was still running.
    Overlap,
    /// It was due while no server ran.
    Late,
}

impl Why {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Overlap => "SKIPPED_OVERLAP",
            Self::Late => "SKIPPED_CATCH_UP",
        }
    }

    pub(crate) fn text(self, count: u64) -> String {
        let runs = match count {
            1 => "this run".to_owned(),
            count => format!("{count} runs up to this one"),
        };
        match self {
            Self::Overlap => format!("{runs} fell due while the run before was not done"),
            Self::Late => {
                format!("{runs} fell due while no server ran jobs, and catch_up leaves them out")
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Overlapping,
    Late,
    InTime,
}

/// What comes next for a job. To be asked again after what it says is done.
pub(crate) fn next(
    open: &Open,
    policy: &Policy,
    overlap: Overlap,
    busy: Option<Busy>,
    now_ms: i64,
) -> Next {
    let group = |at_ms: i64| match busy {
        Some(busy) if busy.from_ms < at_ms && at_ms <= busy.until_ms => Group::Overlapping,
        _ if at_ms < now_ms - GRACE_MS => Group::Late,
        _ => Group::InTime,
    };
    let Some(first) = open.newest.first().copied() else {
        return Next::Nothing;
    };
    let older = open.count.saturating_sub(open.newest.len() as u64);
    if older > 0 {
        // More than anybody asks to be made up for.
        return Next::Skip {
            through_ms: first,
            count: older + 1,
            why: match group(first) {
                Group::Overlapping => Why::Overlap,
                Group::Late | Group::InTime => Why::Late,
            },
        };
    }
    let head = group(first);
    let same = open.newest.iter().take_while(|at| group(**at) == head);
    let same: Vec<i64> = same.copied().collect();
    let are_last = same.len() == open.newest.len();
    let kept = match head {
        Group::InTime => same.len(),
        Group::Overlapping if overlap == Overlap::Queue => 1,
        Group::Overlapping => 0,
        Group::Late => match policy.catch_up {
            CatchUp::None => 0,
            CatchUp::Latest if are_last => 1,
            CatchUp::Latest => 0,
            CatchUp::All => policy.catch_up_limit as usize,
        },
    };
    let skipped = same.len().saturating_sub(kept);
    if skipped > 0 {
        return Next::Skip {
            through_ms: same[skipped - 1],
            count: skipped as u64,
            why: match head {
                Group::Overlapping => Why::Overlap,
                _ => Why::Late,
            },
        };
    }
    Next::Run {
        at_ms: first,
        kind: match head {
            Group::Late => RunKind::CatchUp,
            _ => RunKind::Scheduled,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours, each in milliseconds.
    const HOUR: i64 = 3_600_000;

    fn open(hours: &[i64]) -> Open {
        Open {
            count: hours.len() as u64,
            newest: hours.iter().map(|hour| hour * HOUR).collect(),
        }
    }

    /// All that becomes of some hours by the time of `now`, where no run takes any time.
    fn settled(
        hours: &[i64],
        catch_up: CatchUp,
        limit: u32,
        now_ms: i64,
    ) -> Vec<(i64, &'static str)> {
        let policy = Policy {
            catch_up,
            catch_up_limit: limit,
            ..Policy::default()
        };
        let mut left = open(hours);
        let mut settled = Vec::new();
        loop {
            let through = match next(&left, &policy, Overlap::Skip, None, now_ms) {
                Next::Nothing => return settled,
                Next::Skip {
                    through_ms, why, ..
                } => {
                    settled.push((through_ms / HOUR, why.code()));
                    through_ms
                }
                Next::Run { at_ms, kind } => {
                    settled.push((at_ms / HOUR, kind.name()));
                    at_ms
                }
            };
            left.newest.retain(|at| *at > through);
            left.count = left.newest.len() as u64;
        }
    }

    #[test]
    fn three_that_were_missed() {
        let now = 3 * HOUR + 30 * 60_000;
        let missed = [1, 2, 3];
        assert_eq!(
            settled(&missed, CatchUp::All, 100, now),
            [(1, "catch_up"), (2, "catch_up"), (3, "catch_up")]
        );
        assert_eq!(
            settled(&missed, CatchUp::All, 2, now),
            [(1, "SKIPPED_CATCH_UP"), (2, "catch_up"), (3, "catch_up")]
        );
        assert_eq!(
            settled(&missed, CatchUp::Latest, 100, now),
            [(2, "SKIPPED_CATCH_UP"), (3, "catch_up")]
        );
        assert_eq!(
            settled(&missed, CatchUp::None, 100, now),
            [(3, "SKIPPED_CATCH_UP")]
        );
    }

    #[test]
    fn one_in_time_is_the_latest() {
        let now = 3 * HOUR + 1000;
        assert_eq!(
            settled(&[1, 2, 3], CatchUp::Latest, 100, now),
            [(2, "SKIPPED_CATCH_UP"), (3, "scheduled")]
        );
        assert_eq!(settled(&[3], CatchUp::None, 100, now), [(3, "scheduled")]);
    }

    #[test]
    fn what_falls_due_during_a_run() {
        let policy = Policy::default();
        let busy = Some(Busy {
            from_ms: HOUR + 1,
            until_ms: 3 * HOUR + 5,
        });
        let now = 3 * HOUR + 10;
        let two = open(&[2, 3]);
        assert_eq!(
            next(&two, &policy, Overlap::Skip, busy, now),
            Next::Skip {
                through_ms: 3 * HOUR,
                count: 2,
                why: Why::Overlap
            }
        );
        assert_eq!(
            next(&two, &policy, Overlap::Queue, busy, now),
            Next::Skip {
                through_ms: 2 * HOUR,
                count: 1,
                why: Why::Overlap
            }
        );
        assert_eq!(
            next(&open(&[3]), &policy, Overlap::Queue, busy, now),
            Next::Run {
                at_ms: 3 * HOUR,
                kind: RunKind::Scheduled
            }
        );
    }

    #[test]
    fn more_than_can_be_listed_are_counted() {
        let open = Open {
            count: 1000,
            newest: vec![HOUR, 2 * HOUR],
        };
        assert_eq!(
            next(&open, &Policy::default(), Overlap::Skip, None, 2 * HOUR),
            Next::Skip {
                through_ms: HOUR,
                count: 999,
                why: Why::Late
            }
        );
    }
}
