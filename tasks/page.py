from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.charts import PUBLISHED_SHARES, family_colours
from tasks.records import CheckpointFacts, EvaluationRecord, Results, TaskLineage, gap_to_expert, standard_error
from tasks.scores import Verdict
from tasks.stylesheet import SCRIPT, STYLE


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Args:
        png: Its bytes.
        caption: One or two sentences under it.
    """

    png: bytes
    caption: str


def write_page(
    results: Results,
    checkpoint: CheckpointFacts,
    lineage: Sequence[TaskLineage],
    pictures: Mapping[str, Picture],
    bounds: Mapping[str, float],
) -> str:
    """Return the report as one HTML page that needs no other file.

    Args:
        results: The judged records.
        checkpoint: The checkpoint that played.
        lineage: Digests of the training data, one row a task.
        pictures: ``thresholds``, ``scores``, ``training``, ``gaps`` and any number of ``tours...``; those missing are
            left out with their heading.
        bounds: Mean lower bound of the tour length over the expert's, by task; only where it is known.
    """
    sections = [
        ("share", "Tasks at or above x % of the expert", _figures(pictures, "thresholds")),
        ("families", "Scores by family", _family_table(results) + _figures(pictures, "scores")),
        ("tasks", "Scores by task", _task_table(results)),
        ("tours", "Travelling salesperson", _tours(results, bounds, pictures)),
        ("training", "Training", _figures(pictures, "training")),
        ("lineage", "Where the scores come from", _lineage_table(checkpoint, lineage)),
    ]
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{_text(title)}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{_text(title)}</h2>{content}</section>' for anchor, title, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>DB1 report {_text(checkpoint.digest[:12])}</title><style>{STYLE}</style></head><body><main>"
        f"{_header(results, checkpoint)}<nav>{links}</nav>{body}{_FOOTER}</main>"
        f"<script>{SCRIPT}</script></body></html>\n"
    )


def _header(results: Results, checkpoint: CheckpointFacts) -> str:
    if results.overall is None:
        headline, lede = "No task has a defined score", "In none of them is the expert better than its floor."
    else:
        overall, reached = results.overall, results.overall.reached[0.5]
        share = 100 * reached / overall.num_tasks
        published = "; ".join(f"{name}: {100 * value:.2f} %" for name, value in PUBLISHED_SHARES)
        headline = (
            f"{reached} of {overall.num_tasks} tasks reach half of the expert's performance "
            f'<span class="share">{share:.1f} %</span>'
        )
        low, high = overall.interval
        lede = (
            f"Interquartile mean over tasks {100 * overall.interquartile_mean:.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}], mean {100 * overall.mean:.1f} %. "
            f"Published for the same measure on other tasks: {published}."
        )
        if overall.undefined:
            lede += (
                f" Undefined and not counted, because the expert is no better than the floor: "
                f"{', '.join(overall.undefined)}."
            )
    episodes = sorted({verdict.num_episodes for verdict in results.verdicts})
    facts = {
        "checkpoint": checkpoint.digest[:10],
        "preset": checkpoint.preset,
        "parameters": f"{checkpoint.num_parameters:,}",
        "steps": f"{checkpoint.step:,}",
        "trained on": checkpoint.date,
        "tasks": str(len(results.verdicts)),
        "episodes a task": "\N{EN DASH}".join(str(number) for number in dict.fromkeys((episodes[0], episodes[-1]))),
    }
    tiles = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    return (
        f'<header><p class="kicker">DB1 · evaluation report</p><h1>{headline}</h1>'
        f'<p class="lede">{_text(lede)}</p><dl class="facts">{tiles}</dl></header>'
    )


def _family_table(results: Results) -> str:
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
            rows.append([_name(family, colours[family]), *[_words("undefined")] * 4, _number(undefined, "d")])
            continue
        low, high = summary.interval
        rows.append(
            [
                _name(family, colours[family]),
                _number(summary.num_tasks, "d"),
                _words(f"{summary.reached[0.5]} ({100 * summary.reached[0.5] / summary.num_tasks:.1f} %)"),
                _number(100 * summary.mean, ".1f"),
                _words(f"{100 * summary.interquartile_mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"),
                _number(undefined, "d"),
            ]
        )
    heads = ["family", "tasks", "at ≥ 50 %", "mean, %", "interquartile mean, % [95 % interval]", "undefined"]
    return _table(heads, rows)


def _task_table(results: Results) -> str:
    colours = family_colours(results.families)
    rows = [
        [
            _name(record.task, colours[record.family]),
            _number(record.reference_scores.get("random", {}).get("mean"), ",.4g"),
            _number(verdict.expert, ",.4g"),
            _number(verdict.score, ",.4g", standard_error(record.returns)),
            _score(verdict, colours[record.family]),
            _words(verdict.floor_name.replace("_", " ")),
            _number(verdict.num_episodes, "d"),
        ]
        for record, verdict in zip(results.records, results.verdicts, strict=True)
    ]
    heads = ["task", "random", "expert", "model", "score, %", "floor", "episodes"]
    note = (
        '<p class="note">Mean returns, the model\'s with its standard error. The expert-normalised score is '
        "(model &minus; floor) / (expert &minus; floor): 0 is the floor, 100 the expert; the bar ends at 100 and its "
        "mark stands at 50. It is undefined where the expert is no better than the floor. "
        "Click a heading to sort.</p>"
    )
    return note + _table(heads, rows)


def _tours(results: Results, bounds: Mapping[str, float], pictures: Mapping[str, Picture]) -> str:
    pairs = [
        (record, verdict)
        for record, verdict in zip(results.records, results.verdicts, strict=True)
        if record.family == "tsp"
    ]
    if not pairs:
        return ""
    baselines = list(dict.fromkeys(name for record, _ in pairs for name in record.reference_scores if name != "expert"))
    rows = [
        [
            _words(record.task),
            *[_percent(gap_to_expert(record, name)) for name in baselines],
            f'<td class="number strong" data-value="{verdict.gap}">{_percentage(verdict.gap)}</td>',
            _percent(None if record.task not in bounds else 1 / bounds[record.task] - 1),
            _percent(_gap_to_bound(record, verdict, bounds)),
            _number(verdict.num_episodes, "d"),
        ]
        for record, verdict in pairs
    ]
    heads = [
        "task",
        *[name.replace("_", " ") for name in baselines],
        "model",
        "expert to bound",
        "model to bound",
        "episodes",
    ]
    note = (
        '<p class="note">How much longer the closed tours are than the expert\'s on the same instances, in per cent '
        "of the expert's length; the last two gaps are to the lower bound that the expert proves. The instances were "
        "not trained on.</p>"
    )
    maps = "".join(_figures(pictures, name) for name in pictures if name.startswith("tours"))
    return note + _table(heads, rows) + _figures(pictures, "gaps") + maps


def _gap_to_bound(record: EvaluationRecord, verdict: Verdict, bounds: Mapping[str, float]) -> float | None:
    if record.task not in bounds or verdict.gap is None:
        return None
    return (1 + verdict.gap) / bounds[record.task] - 1


def _lineage_table(checkpoint: CheckpointFacts, lineage: Sequence[TaskLineage]) -> str:
    facts = {"checkpoint": checkpoint.digest, **checkpoint.facts}
    listed = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts.items())
    rows = [
        [
            _words(row.task),
            _digest(row.trajectories),
            _number(row.num_episodes, ",d"),
            _digest(row.tokens),
            _number(row.num_tokens, ",d"),
            _digest(row.shards),
            _number(row.num_shards, ",d"),
        ]
        for row in lineage
    ]
    heads = ["task", "trajectories", "episodes", "tokens", "number of tokens", "shards", "files"]
    return f'<dl class="lineage">{listed}</dl>' + (_table(heads, rows) if rows else "")


def _figures(pictures: Mapping[str, Picture], name: str) -> str:
    if name not in pictures:
        return ""
    picture = pictures[name]
    data = base64.b64encode(picture.png).decode()
    caption = _text(picture.caption)
    return (
        f'<figure><img alt="{caption}" src="data:image/png;base64,{data}"><figcaption>{caption}</figcaption></figure>'
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    numeric = [all(cell.startswith('<td class="number') for cell in column) for column in zip(*rows, strict=True)]
    head = "".join(
        f"<th{' class=number' if right else ''}><button>{_text(name)}</button></th>"
        for name, right in zip(heads, numeric, strict=True)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _score(verdict: Verdict, colour: str) -> str:
    if verdict.normalised is None:
        return '<td class="score" data-value="-Infinity"><span class="undefined">undefined</span></td>'
    percent = 100 * verdict.normalised
    filled = min(100.0, max(0.0, percent))
    bar = f'<span class="track"><span style="width:{filled:.1f}%;background:{colour}"></span></span>'
    return f'<td class="score" data-value="{percent}">{bar}<span>{_signed(percent, ".1f")}</span></td>'


def _name(name: str, colour: str) -> str:
    return f'<td><span class="dot" style="background:{colour}"></span>{_text(name)}</td>'


def _words(text: str) -> str:
    return f"<td>{_text(text)}</td>"


def _digest(digest: str) -> str:
    return f'<td><code title="{_text(digest)}">{_text(digest[:12])}</code></td>'


def _number(value: float | None, form: str, error: float | None = None) -> str:
    if value is None:
        return '<td class="number" data-value="-Infinity">&ndash;</td>'
    spread = "" if error is None else f" <small>&plusmn; {error:,.2g}</small>"
    return f'<td class="number" data-value="{value}">{_signed(value, form)}{spread}</td>'


def _percent(share: float | None) -> str:
    return _number(None if share is None else 100 * share, ".2f")


def _percentage(share: float | None) -> str:
    return "\N{EN DASH}" if share is None else _signed(100 * share, ".2f")


def _signed(value: float, form: str) -> str:
    return format(value, form).replace("-", "\N{MINUS SIGN}")


def _text(value: str) -> str:
    return html.escape(value)


_FOOTER = (
    "<footer><p>Places: GeoNames, CC BY 4.0. Published shares: DB1, arXiv 2212.12669; Gato, arXiv 2205.06175. "
    "Interquartile mean with bootstrap intervals over tasks: Agarwal et al., 2021. The same numbers, with every "
    "return and seed, lie beside this page in scores.json and scores.csv.</p></footer>"
)
