from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from tasks.contest import Contest, Difference, Rules, TaskReturns, compare

Further = Mapping[str, Mapping[int, float]]
"""Returns of further episodes, by task and seed."""

PlayOn = Callable[[Sequence[str], int], tuple[Further, Further]]
"""Lets both play on in tasks, for a look from 1 on, as many equal seeds as they have played; returns what the
challenger and the champion did there, which is empty where nothing more can be played."""


def hold(challenger: Iterable[TaskReturns], champion: Iterable[TaskReturns], rules: Rules, play_on: PlayOn) -> Contest:
    """Compare two checkpoints, and let both play on while it is neither shown nor hopeless that the challenger may win.

    The whole and each family have a test of their own. Who is shown to be no worse stays so, and plays no more for its
    own sake; the others double their episodes: all tasks while the whole is not shown, otherwise the tasks of the
    families that are not. A test so looks at equal numbers of episodes in its tasks, at times that its own data alone
    decide, and as all tests must be passed, the challenger wins no more often by mistake than one of them errs.
    A contest ends as lost as soon as one test is hopeless, which can only make mistakes rarer.

    Args:
        challenger: What the new checkpoint did, by task.
        champion: What the one that serves did.
        rules: Among them how many looks there may be.
        play_on: Lets both play on.

    Source:
        Pocock, "Group sequential methods in the design and analysis of clinical trials", 1977.
        Asakura et al., "Sample size determination in group-sequential clinical trials with two co-primary endpoints",
        2014 (several tests, each of which may be passed at a look of its own).
    """
    ours, theirs = ({one.task: one for one in some} for some in (challenger, champion))
    contest = compare(ours.values(), theirs.values(), rules)
    for look in range(1, 1 + rules.more_looks):
        if not (tasks := _undecided(contest, looks_left=1 + rules.more_looks - look)):
            break
        further = play_on(tasks, look)
        if not all(further):
            break
        for results, played in zip((ours, theirs), further, strict=True):
            results |= {task: _extend(results[task], more) for task, more in played.items()}
        contest = _follow(contest, compare(ours.values(), theirs.values(), rules))
    return contest


def _undecided(contest: Contest, *, looks_left: int) -> list[str]:
    """Return the tasks that are to be played on; none when the contest is won, or lost, or compares nothing."""
    waiting = {one.name for one in contest.tests if not one.holds}
    if not all(one.may_hold(looks_left) for one in contest.tests):
        return []
    whole = contest.overall is not None and contest.overall.name in waiting
    return [one.name for one in contest.tasks if whole or one.name.split("/", 1)[0] in waiting]


def _extend(before: TaskReturns, further: Mapping[int, float]) -> TaskReturns:
    returns = {**further, **dict(zip(before.seeds, before.returns, strict=True))}
    return replace(before, seeds=list(returns), returns=list(returns.values()))


def _follow(before: Contest, now: Contest) -> Contest:
    shown = {one.name: one for one in before.tests if one.holds}

    def newest(one: Difference) -> Difference:
        return shown.get(one.name, one)

    looked_at = tuple(one for one in now.tests if one.name not in shown)
    return replace(
        now,
        overall=now.overall and newest(now.overall),
        families=tuple(map(newest, now.families)),
        looks=(*before.looks, looked_at),
    )
