from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storage.manifest import write_atomically
from tasks.charts import draw_scores, draw_threshold_curve, draw_training_curve, to_png
from tasks.contest_chart import draw_differences
from tasks.decisions_page import ServingFacts
from tasks.language import LanguageFacts
from tasks.page import Picture, write_page
from tasks.records import (
    CheckpointFacts,
    EvaluationRecord,
    Results,
    TaskLineage,
    gap_to_expert,
    judge_records,
    standard_error,
)
from tasks.tsp.map import draw_gaps, draw_tours

PAGE, TABLE, NUMBERS = "report.html", "scores.csv", "scores.json"
"""Names of the report's files."""

_TASKS_WITH_GAPS = 6


@dataclass(frozen=True)
class Report:
    """A finished report; equal inputs give equal bytes.

    Args:
        page: HTML that needs no other file.
        table: One line a task, CSV.
        numbers: Everything that the page shows and every return and seed, JSON.
        pictures: The page's figures as PNG, by name: ``thresholds``, ``scores``, ``training``, ``differences``,
            ``gaps``, ``tours-...``.
        results: The judged records.
    """

    page: str
    table: str
    numbers: str
    pictures: Mapping[str, bytes]
    results: Results


def build_report(
    records: Sequence[EvaluationRecord],
    checkpoint: CheckpointFacts,
    lineage: Sequence[TaskLineage],
    language: LanguageFacts | None = None,
    serving: ServingFacts | None = None,
) -> Report:
    """Judge the records, draw the figures and write the page and the tables.

    Args:
        records: One a task, all of the same checkpoint.
        checkpoint: That checkpoint.
        lineage: Digests of the data that it was trained on, one row a task.
        language: What the model says; None where no task is of language.
        serving: Which checkpoint serves, and why; None where nothing was decided yet.

    Raises:
        ValueError: If there is no record, a task appears twice, or a record is of another checkpoint.
    """
    results = judge_records(records)
    if (played := results.records[0].checkpoint) != checkpoint.digest:
        raise ValueError(
            f"the evaluation is of checkpoint {played[:12]}, the report's is {checkpoint.digest[:12]}; "
            "evaluate it first with:\n  db1 make evaluation"
        )
    bounds = {record.task: bound for record in results.records if (bound := _bound_over_expert(record)) is not None}
    pictures = _draw(results, checkpoint)
    if serving and serving.differences:
        pictures["differences"] = Picture(
            to_png(draw_differences(serving.differences)),
            "Challenger minus champion with its interval, overall and by family; the bars are what is allowed.",
        )
    return Report(
        page=write_page(results, checkpoint, lineage, pictures, bounds, language, serving),
        table=_write_table(results, bounds),
        numbers=_write_numbers(results, checkpoint, lineage, bounds, language, serving),
        pictures={name: picture.png for name, picture in pictures.items()},
        results=results,
    )


def write_report(folder: str | Path, report: Report) -> Path:
    """Write ``report.html``, ``scores.csv`` and ``scores.json``, each atomically; return the path of the page."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in ((TABLE, report.table), (NUMBERS, report.numbers), (PAGE, report.page)):
        write_atomically(folder / name, text.encode())
    return folder / PAGE


def _draw(results: Results, checkpoint: CheckpointFacts) -> dict[str, Picture]:
    pictures: dict[str, Picture] = {}
    if results.overall is not None:
        by_family = {family: results.scores(family) for family in results.families}
        intervals = {
            family: (summary.interquartile_mean, *summary.interval) for family, summary in results.by_family.items()
        }
        pictures["thresholds"] = Picture(
            to_png(draw_threshold_curve(results.scores())),
            "Share (left) and number (right) of the tasks whose score is at least x. DB1's and Gato's published shares "
            "at 50 % are of other tasks and stand here as references.",
        )
        pictures["scores"] = Picture(
            to_png(draw_scores(by_family, intervals)),
            "A dot is a task, in bins of 2.5 %; triangles at an edge lie beyond it. The diamond is the family's "
            "interquartile mean, its line the 95 % bootstrap interval over tasks; both in numbers on the right.",
        )
    tours = [record for record in results.records if record.family == "tsp"]
    if tours:
        pictures["gaps"] = Picture(
            to_png(draw_gaps(_shown_gaps(tours))),
            "How much longer the closed tours are than the expert's: a dot an episode, a bar the mean of the dots (the "
            "table compares mean lengths, so it may differ a little). Below zero stands the lower bound that the "
            "expert proves: no tour is shorter.",
        )
    for name, record, place, gap in _chosen_tours(tours):
        pictures[f"tours-{name}"] = Picture(
            to_png(draw_tours(record.expert_episodes[place], record.episodes[place])),
            f"The {name} of the model's tours: {record.task}, seed {record.seeds[place]}, "
            f"{100 * gap:.1f} % longer than the expert's.",
        )
    if checkpoint.history:
        pictures["training"] = Picture(
            to_png(draw_training_curve(checkpoint.history)),
            "Loss on the action tokens, learning rate and throughput of the run that made the checkpoint.",
        )
    return pictures


def _chosen_tours(records: Sequence[EvaluationRecord]) -> list[tuple[str, EvaluationRecord, int, float]]:
    """Choose the model's best, median and worst tour among the episodes that are there; over China if there are such.

    Raises:
        ValueError: If a record's expert episodes are not of the seeds of the model's.
    """
    drawable = [
        ((expert.total_return - episode.total_return) / abs(expert.total_return), record, place)
        for record in records
        for place, (episode, expert) in enumerate(zip(record.episodes, record.expert_episodes, strict=True))
    ]
    over_china = [one for one in drawable if one[1].expert_episodes[one[2]].provenance["summary"]["unit"] == "km"]
    ordered = sorted(over_china or drawable, key=lambda one: one[0])
    names = {len(ordered) - 1: "worst", (len(ordered) - 1) // 2: "median", 0: "best"} if ordered else {}
    return [(names[rank], record, place, gap) for rank, (gap, record, place) in enumerate(ordered) if rank in names]


def _shown_gaps(records: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """Choose the tasks whose gaps are drawn, those with maps first; the table has them all."""
    return sorted(records, key=lambda record: len(record.expert_episodes) == 0)[:_TASKS_WITH_GAPS]


def _bound_over_expert(record: EvaluationRecord) -> float | None:
    """Return the lower bounds of the expert's tours over their lengths, as sums over the episodes that are there."""
    claims = [episode.provenance for episode in record.expert_episodes if "lower_bound" in episode.provenance]
    return sum(one["lower_bound"] for one in claims) / sum(one["length"] for one in claims) if claims else None


def _write_table(results: Results, bounds: Mapping[str, float]) -> str:
    baselines = sorted({name for record in results.records for name in record.reference_scores} - {"random", "expert"})
    text = io.StringIO()
    rows = [
        {
            "task": record.task,
            "family": record.family,
            "episodes": verdict.num_episodes,
            "floor": verdict.floor_name,
            **{name: record.reference_scores.get(name, {}).get("mean") for name in ["random", *baselines]},
            "expert": verdict.expert,
            "model": verdict.score,
            "standard_error": standard_error(record.returns),
            "expert_normalised_score": verdict.normalised,
            "gap_to_expert": verdict.gap,
            "bound_over_expert": bounds.get(record.task),
        }
        for record, verdict in zip(results.records, results.verdicts, strict=True)
    ]
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_numbers(
    results: Results,
    checkpoint: CheckpointFacts,
    lineage: Sequence[TaskLineage],
    bounds: Mapping[str, float],
    language: LanguageFacts | None,
    serving: ServingFacts | None,
) -> str:
    tasks = [
        {
            **asdict(verdict),
            "family": record.family,
            "standard_error": standard_error(record.returns),
            "bound_over_expert": bounds.get(record.task),
            "gaps_of_references": {name: gap_to_expert(record, name) for name in sorted(record.reference_scores)},
            "returns": [float(one) for one in record.returns],
            "seeds": [int(seed) for seed in record.seeds],
            "reference_scores": record.reference_scores,
        }
        for record, verdict in zip(results.records, results.verdicts, strict=True)
    ]
    value: dict[str, Any] = {
        "checkpoint": asdict(checkpoint),
        "overall": None if results.overall is None else asdict(results.overall),
        "by_family": {family: asdict(summary) for family, summary in results.by_family.items()},
        "tasks": tasks,
        "lineage": [asdict(row) for row in lineage],
        **({"serving": serving.to_json()} if serving else {}),
        **({"language": language.to_json()} if language else {}),
    }
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
