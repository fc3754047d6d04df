from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.cells import escape, named, number, percent, signed, table, words
from tasks.charts import family_colours
from tasks.records import CheckpointFacts, EvaluationRecord, Results, TaskLineage, gap_to_expert, standard_error
from tasks.scores import Verdict


def family_table(results: Results) -> str:
    """Return the scores of each family in a few numbers."""
    colours = family_colours(results.families)
    rows = []
    for family in results.families:
        summary = results.by_family.get(family)
        undefined = sum(
            verdict.normalised is None
            for record, verdict in zip(results.records, results.verdicts, strict=True)
            if record.family == family
        )
        if summary is None:
            rows.append([named(family, colours[family]), *[words("undefined")] * 4, number(undefined, "d")])
            continue
        low, high = summary.interval
        rows.append(
            [
                named(family, colours[family]),
                number(summary.num_tasks, "d"),
                words(f"{summary.reached[0.5]} ({100 * summary.reached[0.5] / summary.num_tasks:.1f} %)"),
                number(100 * summary.mean, ".1f"),
                words(f"{100 * summary.interquartile_mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"),
                number(undefined, "d"),
            ]
        )
    heads = ["family", "tasks", "at ≥ 50 %", "mean, %", "interquartile mean, % [95 % interval]", "undefined"]
    return table(heads, rows)


def task_table(results: Results) -> str:
    """Return one row a task: random, expert, model, score."""
    colours = family_colours(results.families)
    rows = [
        [
            named(record.task, colours[record.family]),
            _mean(record.reference_scores.get("random", {}).get("mean")),
            _mean(verdict.expert),
            _mean(verdict.score, standard_error(record.returns)),
            _score(verdict, colours[record.family]),
            number(verdict.num_episodes, "d"),
        ]
        for record, verdict in zip(results.records, results.verdicts, strict=True)
    ]
    heads = ["task", "random", "expert", "model", "score, %", "episodes"]
    note = (
        '<p class="note">Mean returns, the model\'s with its standard error. The expert-normalised score is '
        "(model &minus; floor) / (expert &minus; floor): 0 is the floor, 100 the expert; the bar ends at 100 and its "
        f"mark stands at 50. {escape(_floors(results))} Where the expert is no better than the floor, the score is "
        "undefined. Click a heading to sort.</p>"
    )
    return note + table(heads, rows)


def _floors(results: Results) -> str:
    """Return a sentence that says which floor each family has."""
    floors: dict[str, dict[str, None]] = {}
    for record in results.records:
        floors.setdefault(_label(record.floor), {})[record.family] = None
    parts = [f"{name} in {', '.join(families)}" for name, families in floors.items()]
    return f"The floor is {'; '.join(parts)}."


def tour_table(results: Results, bounds: Mapping[str, float]) -> str:
    """Return the gaps of the travelling salesperson's tasks to the expert and to the lower bound.

    Args:
        results: The judged records.
        bounds: Mean lower bound of the tour length over the expert's, by task; only where it is known.
    """
    pairs = [
        (record, verdict)
        for record, verdict in zip(results.records, results.verdicts, strict=True)
        if record.family == "tsp"
    ]
    names = {name for record, _ in pairs for name in record.reference_scores} - {"random", "expert"}
    baselines = ["random", *sorted(names)]
    rows = [
        [
            words(record.task),
            *[percent(gap_to_expert(record, name)) for name in baselines],
            f'<td class="number strong" data-value="{verdict.gap}">{_percentage(verdict.gap)}</td>',
            percent(None if record.task not in bounds else 1 / bounds[record.task] - 1),
            percent(_gap_to_bound(record, verdict, bounds)),
            number(verdict.num_episodes, "d"),
        ]
        for record, verdict in pairs
    ]
    labels = [_label(name) for name in baselines]
    heads = ["task", *labels, "model", "expert to bound", "model to bound", "episodes"]
    note = (
        '<p class="note">How much longer the closed tours are than the expert\'s on the same instances, in per cent '
        "of the expert's length; the last two gaps are to the lower bound that the expert proves. The instances were "
        "not trained on.</p>"
    )
    return note + table(heads, rows)


def _gap_to_bound(record: EvaluationRecord, verdict: Verdict, bounds: Mapping[str, float]) -> float | None:
    if record.task not in bounds or verdict.gap is None:
        return None
    return (1 + verdict.gap) / bounds[record.task] - 1


def mixture_table(mixture: Sequence[Mapping[str, Any]]) -> str:
    """Return how much of the training each family and each task got.

    Args:
        mixture: Rows of ``CheckpointFacts.mixture``.
    """
    if not mixture:
        return ""
    families = sorted({_family(row) for row in mixture})
    colours = family_colours(families)
    sums = [_sum(family, [row for row in mixture if _family(row) == family]) for family in families]
    note = (
        '<p class="note">How the training sequences were divided. A bar is the share of the sequences that were '
        "trained, its mark the share that the weights ask for. An epoch is one pass through a task's data; tokens "
        "count what stood in its sequences, prompts among them and padding not.</p>"
    )
    return note + _shares("family", sums, colours) + _shares("task", mixture, colours)


def _family(row: Mapping[str, Any]) -> str:
    return str(row["task"]).split("/", 1)[0]


def _sum(family: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    sums = {name: sum(row[name] for row in rows) for name in ("requested_share", "realised_share", "windows", "tokens")}
    size = sum(row["windows"] / row["epochs"] for row in rows if row["windows"])  # sequences of one pass through all
    return {"task": family, **sums, "epochs": sums["windows"] / size if size else 0.0}


def _shares(noun: str, rows: Sequence[Mapping[str, Any]], colours: Mapping[str, str]) -> str:
    largest = max(max(row["requested_share"], row["realised_share"]) for row in rows)
    cells = [
        [
            named(row["task"], colours[_family(row)]),
            number(100 * row["requested_share"], ".3f"),
            _share(row, largest, colours[_family(row)]),
            number(row["windows"], ",d"),
            number(row["epochs"], ",.3g" if row["epochs"] < 1000 else ",.0f"),
            number(row["tokens"], ",d"),
        ]
        for row in rows
    ]
    return table([noun, "requested, %", "realised, %", "sequences", "epochs", "tokens"], cells)


def _share(row: Mapping[str, Any], largest: float, colour: str) -> str:
    realised, requested = row["realised_share"] / largest, row["requested_share"] / largest
    bar = (
        f'<span class="track wanted"><span style="width:{100 * realised:.1f}%;background:{colour}"></span>'
        f'<i style="left:{100 * requested:.1f}%"></i></span>'
    )
    percent = 100 * row["realised_share"]
    return f'<td class="score" data-value="{percent}">{bar}<span>{signed(percent, ".3f")}</span></td>'


def lineage_table(checkpoint: CheckpointFacts, lineage: Sequence[TaskLineage]) -> str:
    """Return what there is to say about the checkpoint, and the digests of each task's training data."""
    facts = {"checkpoint": checkpoint.digest, **checkpoint.facts}
    listed = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    rows = [
        [
            words(row.task),
            _digest(row.trajectories),
            number(row.num_episodes, ",d"),
            _digest(row.tokens),
            number(row.num_tokens, ",d"),
            _digest(row.shards),
            number(row.num_shards, ",d"),
        ]
        for row in lineage
    ]
    heads = ["task", "trajectories", "episodes", "tokens", "number of tokens", "shards", "files"]
    return f'<dl class="lineage">{listed}</dl>' + (table(heads, rows) if rows else "")


def _score(verdict: Verdict, colour: str) -> str:
    if verdict.normalised is None:
        return '<td class="score" data-value="-Infinity"><span class="undefined">undefined</span></td>'
    percent = 100 * verdict.normalised
    filled = min(100.0, max(0.0, percent))
    bar = f'<span class="track"><span style="width:{filled:.1f}%;background:{colour}"></span></span>'
    return f'<td class="score" data-value="{percent}">{bar}<span>{signed(percent, ".1f")}</span></td>'


def _digest(digest: str) -> str:
    return f'<td><code title="{escape(digest)}">{escape(digest[:12])}</code></td>'


def _mean(value: float | None, error: float | None = None) -> str:
    if value is None:
        return number(None, "")
    form, error_form = (",.0f", ",.0f") if abs(value) >= 1000 else (".4g", ".2g")
    spread = "" if error is None else f" <small>&plusmn; {error:{error_form}}</small>"
    return f'<td class="number" data-value="{value}">{signed(value, form)}{spread}</td>'


def _percentage(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else signed(100 * share, ".2f")


def _label(name: str) -> str:
    return {"or_tools": "OR-Tools", "or_tools_guided": "OR-Tools guided"}.get(name, name.replace("_", " "))
