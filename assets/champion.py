# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
from typing import Any

import dagster as dg

from assets.contest import champions_of, contest_again, decide, find_decision, read_challenger
from assets.materialization import OWNERS, find_or_make, picture, report_one, table
from assets.resources import Experiment, Progress, Stores
from storage.champions import History
from storage.manifest import ManifestError
from tasks.registry import families

CODE_VERSION = "2"
_DECISIONS_SHOWN, _TASKS_SHOWN = 20, 200


@dg.asset(
    deps=[["evaluation", family] for family in families()],
    description="The checkpoint that serves. A newly evaluated one takes its place when on equal seeds it is shown to "
    "be no worse than a margin, overall and in each family; otherwise the old one stays. Where their evaluations do "
    "not tell, both play on. The last few are kept.",
    group_name="evaluation",
    kinds={"pytorch", "numpy"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    pool="experts",
)
def champion(stores: Stores, experiment: Experiment, progress: Progress) -> dg.MaterializeResult:
    """Let the newest checkpoint challenge the champion, and report who serves and why."""
    challenger = read_challenger(stores, experiment)
    made = find_or_make(
        lambda: find_decision(stores, experiment, challenger), lambda: decide(stores, experiment, challenger, progress)
    )
    return report_one(made, _describe(champions_of(stores).read(experiment.name)))


@dg.asset_check(
    asset="champion",
    blocking=True,
    description="What serves is whole, byte by byte, and if it took another one's place, the contest repeated from the "
    "kept episodes lets it win again. It passes when a challenger lost, too: then the old champion serves, and the "
    "reason stands here. The decision falls before anything is replaced, so a worse checkpoint never serves. Damage is "
    "an error, which ends the run; a contest that comes out otherwise, as after another evaluation, is a warning.",
)
def champion_is_rightful(stores: Stores, experiment: Experiment) -> dg.AssetCheckResult:
    """Look at the champion and at how it came to serve."""
    store, mend = champions_of(stores), f"db1 rollback --experiment {experiment.name}"
    history = store.read(experiment.name)
    decision = history.decisions[-1]
    told = {"outcome": decision.outcome, "serves": history.serving, **_compare(decision.contest)}
    try:
        store.open(experiment.name).verify()
    except ManifestError as error:
        found = f"{error.fault}; let the one before it serve with: {mend}"
        return dg.AssetCheckResult(passed=False, metadata=told, description=found)
    again = contest_again(stores, experiment, decision) if decision.outcome == "promoted" else None
    if again is not None and not again.is_won:
        found = f"today it would not be let in: {again.reason}; let the one before it serve with: {mend}"
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, metadata=told, description=found)
    return dg.AssetCheckResult(passed=True, metadata=told, description=f"{decision.outcome}: {decision.reason}")


def _describe(history: History) -> dict[str, Any]:
    from tasks.charts import to_png  # imports Matplotlib
    from tasks.contest_chart import draw_differences

    decision = history.decisions[-1]
    told = {
        "outcome": decision.outcome,
        "reason": decision.reason,
        "serves": history.serving,
        "challenger": decision.challenger,
        "champions_kept": len(history.line),
        "decisions": _list_decisions(history),
    }
    if (contest := decision.contest) is None or contest["overall"] is None:
        return told
    shown = [contest["overall"], *contest["families"]]
    tasks = sorted(contest["tasks"], key=lambda one: one["difference"])
    rules, looks, played = contest["rules"], contest.get("looks", ()), contest.get("played")
    apart = {name: list(contest[name]) for name in ("new", "gone")} | {"not_compared": contest["not_compared"]}
    return {
        **told,
        **_compare(contest),
        "tasks": table([_row(one) for one in tasks[:_TASKS_SHOWN]]),
        "tasks_apart": dg.MetadataValue.json(apart),
        "rules": dg.MetadataValue.json(dict(rules)),
        **({"num_looks": len(looks), "looks": table(_list_looks(looks))} if looks else {}),
        **({"episodes_played": played["episodes"], "cpu_seconds_played": played["cpu_seconds"]} if played else {}),
        "picture": picture(to_png(draw_differences(shown), dpi=80)),
    }


def _compare(contest: Any) -> dict[str, Any]:
    """Return the difference of all tasks as numbers, which the UI plots, and a table by family."""
    if contest is None or contest["overall"] is None:
        return {}
    overall = contest["overall"]
    rows = [_row(one) | {"allowed": -one["margin"]} for one in (overall, *contest["families"])]
    numbers = {"difference": overall["difference"], "difference_at_least": overall["low"]}
    return {**numbers, "differences": table(rows)}


def _row(one: Any) -> dict[str, Any]:
    names = ("name", "challenger", "champion", "difference", "low", "high")
    return {name: one[name] for name in names} | {"tasks": one["num_tasks"], "episodes": one["num_pairs"]}


def _list_looks(looks: Any) -> list[dict[str, Any]]:
    """Return a row for each test of each look, with whether it was passed there and so plays on no more."""
    return [
        {"look": number} | _row(one) | {"allowed": -one["margin"], "shown": one["low"] >= -one["margin"]}
        for number, look in enumerate(looks, start=1)
        for one in look
    ]


def _list_decisions(history: History) -> dg.MetadataValue:
    dated = list(zip(history.times, history.decisions, strict=True))[-_DECISIONS_SHOWN:]
    rows = [
        {
            "when": when[:16].replace("T", " "),
            "outcome": one.outcome,
            "challenger": one.challenger[:12],
            "serves": one.serves[:12],
        }
        | {"reason": one.reason}
        for when, one in reversed(dated)
    ]
    return table(rows)
