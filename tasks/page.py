from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.cells import escape
from tasks.charts import PUBLISHED_SHARES
from tasks.decisions_page import ServingFacts, decision_section
from tasks.language import LanguageFacts
from tasks.language_page import language_sections
from tasks.records import CheckpointFacts, Results, TaskLineage
from tasks.stylesheet import LANGUAGE_STYLE, SCRIPT, STYLE
from tasks.tables import family_table, lineage_table, mixture_table, task_table, tour_table

_NAMED = 5  # undefined tasks that the header names; the table has them all
_FOOTER = (
    "<footer><p>Places: GeoNames, CC BY 4.0. Published shares: DB1, arXiv 2212.12669; Gato, arXiv 2205.06175. "
    "Interquartile mean with bootstrap intervals over tasks: Agarwal et al., 2021. The same numbers, with every "
    "return and seed, lie beside this page in scores.json and scores.csv.</p></footer>"
)


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
    language: LanguageFacts | None = None,
    serving: ServingFacts | None = None,
) -> str:
    """Return the report as one HTML page that needs no other file.

    Args:
        results: The judged records.
        checkpoint: The checkpoint that played.
        lineage: Digests of the training data, one row a task.
        pictures: ``thresholds``, ``scores``, ``training``, ``differences``, ``gaps`` and any number of ``tours...``;
            those missing are left out with their heading.
        bounds: Mean lower bound of the tour length over the expert's, by task; only where it is known.
        language: What the model says; None where no task is of language.
        serving: Which checkpoint serves, and why; None where nothing was decided yet.
    """
    decided = decision_section(serving, checkpoint.digest, _figures(pictures, "differences")) if serving else ""
    sections = [
        ("share", "Tasks at or above x % of the expert", _figures(pictures, "thresholds")),
        ("serving", "Which checkpoint serves", decided),
        ("families", "Scores by family", family_table(results) + _figures(pictures, "scores")),
        ("tasks", "Scores by task", task_table(results)),
        ("tours", "Travelling salesperson", _tours(results, bounds, pictures)),
        *(language_sections(language) if language else ()),
        ("training", "Training", _figures(pictures, "training")),
        ("mixture", "What it was trained on", mixture_table(checkpoint.mixture)),
        ("lineage", "Where the scores come from", lineage_table(checkpoint, lineage)),
    ]
    sections = [section for section in sections if section[2]]
    style = STYLE + LANGUAGE_STYLE if language else STYLE
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in sections)
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(title)}</h2>{content}</section>' for anchor, title, content in sections
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>DB1 report {escape(checkpoint.digest[:12])}</title><style>{style}</style></head><body><main>"
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
            f"Published shares at half of the expert's performance, on other tasks: {published}."
        )
        if overall.undefined:
            more = len(overall.undefined) - _NAMED
            lede += (
                " Undefined and not counted, because the expert is no better than the floor: "
                f"{', '.join(overall.undefined[:_NAMED])}{f' and {more} more' if more > 0 else ''}."
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
    tiles = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts.items())
    return (
        f'<header><p class="kicker">DB1 · evaluation report</p><h1>{headline}</h1>'
        f'<p class="lede">{escape(lede)}</p><dl class="facts">{tiles}</dl></header>'
    )


def _tours(results: Results, bounds: Mapping[str, float], pictures: Mapping[str, Picture]) -> str:
    if "tsp" not in results.families:
        return ""
    drawn = [name for name in pictures if name == "gaps" or name.startswith("tours")]
    return tour_table(results, bounds) + "".join(_figures(pictures, name) for name in drawn)


def _figures(pictures: Mapping[str, Picture], name: str) -> str:
    if name not in pictures:
        return ""
    picture = pictures[name]
    data = base64.b64encode(picture.png).decode()
    caption = escape(picture.caption)
    kind = ' class="wide"' if name.startswith("tours") else ""
    image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
    return f"<figure{kind}>{image}<figcaption>{caption}</figcaption></figure>"
