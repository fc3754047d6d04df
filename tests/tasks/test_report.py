from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.charts import draw_scores, draw_threshold_curve, draw_training_curve, to_png
from tasks.contest import Rules, TaskReturns, compare
from tasks.decisions_page import ServingFacts
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.records import CheckpointFacts, EvaluationRecord, TaskLineage, gap_to_expert, judge_records
from tasks.registry import get_task
from tasks.report import Report, build_report, write_report
from tasks.rollout import roll_out

DIGEST = "c0ffee" + "0" * 58
CHECKPOINT = CheckpointFacts(
    digest=DIGEST,
    preset="db1-nano",
    step=30,
    num_parameters=1_234_567,
    date="2026-01-02",
    history=[{"step": step, "loss": 3 / step, "learning_rate": 1e-3, "positions_per_s": 5e3} for step in (10, 20, 30)],
    facts={"seed": "7"},
    mixture=[
        {
            "task": task,
            "requested_share": asked,
            "realised_share": got,
            "windows": w,
            "epochs": w / 100,
            "tokens": 96 * w,
        }
        for task, asked, got, w in (("control/Half", 0.75, 0.7, 168), ("babyai/High", 0.25, 0.3, 72))
    ],
)


def record_of(
    task: str, returns: Sequence[float], *, expert: float = 1.0, floor: str = "random", **references: float
) -> EvaluationRecord:
    means = {"random": 0.0, "expert": expert, **references}
    scores: dict[str, dict[str, Any]] = {
        name: {"mean": mean, "returns": [mean, mean], "seeds": [5, 6]} for name, mean in means.items()
    }
    return EvaluationRecord(task, returns, range(5, 5 + len(returns)), scores, floor, DIGEST)


RECORDS = [
    record_of("control/Half", [0.4, 0.6]),
    record_of("control/Low", [0.1, 0.3]),
    record_of("control/Blind", [0.9, 0.9], expert=-1.0),
    record_of("babyai/High", [0.9, 0.7]),
]
LINEAGE = [TaskLineage("control/Half", "ab" * 32, 200, "cd" * 32, 4_000, "ef" * 32, 1)]


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report(RECORDS, CHECKPOINT, LINEAGE)


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_headline_counts_the_tasks_at_half_of_the_expert_and_leaves_undefined_ones_out(report: Report) -> None:
    words = words_of(report.page)

    assert "2 of 3 tasks reach half of the expert's performance 66.7 %" in words.replace("&#x27;", "'")
    assert "Undefined and not counted" in words
    assert "control/Blind" in words


def test_equal_inputs_give_equal_bytes(report: Report) -> None:
    assert build_report(list(RECORDS), CHECKPOINT, LINEAGE) == report


def test_page_needs_no_other_file(report: Report) -> None:
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", report.page)

    assert sources
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)


def test_page_leads_from_a_score_to_checkpoint_data_and_seed(report: Report) -> None:
    words = words_of(report.page)

    for fact in (DIGEST, "db1-nano", "1,234,567", "2026-01-02", "abababababab", "cdcdcdcdcdcd", "4,000"):
        assert fact in words


def test_page_and_numbers_state_what_each_task_and_family_got_of_the_training(report: Report) -> None:
    words = words_of(report.page)

    assert "control/Half 75.000 70.000 168 1.68 16,128" in words
    assert "babyai 25.000 30.000 72 0.72 6,912" in words
    assert json.loads(report.numbers)["checkpoint"]["mixture"][0]["realised_share"] == 0.7
    assert "What it was trained on" not in build_report(RECORDS, replace(CHECKPOINT, mixture=()), LINEAGE).page


def test_table_states_the_mean_its_standard_error_and_the_score(report: Report) -> None:
    rows = {row["task"]: row for row in csv.DictReader(report.table.splitlines())}

    assert list(rows) == ["babyai/High", "control/Half", "control/Low", "control/Blind"]
    assert float(rows["control/Half"]["model"]) == pytest.approx(0.5)
    assert float(rows["control/Half"]["standard_error"]) == pytest.approx(0.1)
    assert float(rows["control/Half"]["expert_normalised_score"]) == pytest.approx(0.5)
    assert rows["control/Blind"]["expert_normalised_score"] == ""


def test_numbers_hold_every_return_and_seed(report: Report) -> None:
    numbers = json.loads(report.numbers)

    low = next(task for task in numbers["tasks"] if task["task"] == "control/Low")
    assert (low["returns"], low["seeds"]) == ([0.1, 0.3], [5, 6])
    assert numbers["overall"]["reached"]["0.5"] == 2
    assert numbers["overall"]["undefined"] == ["control/Blind"]


@pytest.mark.parametrize(
    ("outcome", "share", "who"),
    [("promoted", 0.6, "This report's checkpoint serves."), ("kept", 0.1, "does not serve: 0ld0ld0ld0ld does")],
)
def test_page_states_who_serves_and_why_by_family(outcome: str, share: float, who: str) -> None:
    old = TaskReturns("control/Half", [0.4, 0.6], [5, 6], 0.0, 1.0)
    contest = compare([replace(old, returns=[share - 0.1, share + 0.1])], [old], Rules())
    serves = DIGEST if contest.is_won else "0ld" * 21
    decision = {"outcome": outcome, "challenger": DIGEST, "serves": serves, "reason": contest.reason}

    report = build_report(RECORDS, CHECKPOINT, LINEAGE, serving=ServingFacts(serves, [decision], contest.to_json()))

    words = words_of(report.page).replace("&#x27;", "'")
    assert who in words
    assert contest.reason in words
    difference = f"{100 * (share - 0.5):+.1f}".replace("-", "\N{MINUS SIGN}")
    assert f"control 1 2 {100 * share:.1f} 50.0 {difference}" in words
    assert set(report.pictures) >= {"differences"}
    assert json.loads(report.numbers)["serving"]["decisions"] == [decision]


def test_gap_of_a_tour_one_tenth_longer_than_the_experts_is_one_tenth() -> None:
    record = record_of("tsp/tsp100-1", [-11.0], expert=-10.0, floor="near", near=-12.5)

    assert judge_records([record]).verdicts[0].gap == pytest.approx(0.1)
    assert gap_to_expert(record, "near") == pytest.approx(0.25)
    assert gap_to_expert(record, "absent") is None


def test_report_maps_the_best_and_the_worst_tour_and_states_the_gap_to_the_bound() -> None:
    task = get_task("tsp/tsp100-city-0")
    near = list(roll_out(task, ExpertPolicy(task.baselines["nearest_neighbour"]), [5, 6], num_slots=2))
    wild = list(roll_out(task, RandomPolicy(), [5, 6], num_slots=2))
    certified = [replace(one, provenance={**one.provenance, "length": 1250, "lower_bound": 1000}) for one in near]
    references = {"random": [one.total_return for one in wild], "expert": [one.total_return for one in near]}
    record = EvaluationRecord(
        task=task.id,
        returns=references["random"],
        seeds=[5, 6],
        reference_scores={
            name: {"mean": float(np.mean(returns)), "returns": returns, "seeds": [5, 6]}
            for name, returns in references.items()
        },
        floor="random",
        checkpoint=DIGEST,
        episodes=wild,
        expert_episodes=certified,
    )

    report = build_report([record], CHECKPOINT, [])

    assert [name for name in report.pictures if name.startswith("tours")] == ["tours-best", "tours-worst"]
    assert json.loads(report.numbers)["tasks"][0]["bound_over_expert"] == pytest.approx(0.8)
    assert "expert to bound" in words_of(report.page)
    assert "25.00" in words_of(report.page)


def test_report_without_a_defined_score_says_so() -> None:
    report = build_report([RECORDS[2]], CHECKPOINT, [])

    assert "No task has a defined score" in words_of(report.page)
    assert "thresholds" not in report.pictures


def test_words_of_others_cannot_become_markup() -> None:
    page = build_report([record_of("control/<b>x</b>", [1.0])], CHECKPOINT, []).page

    assert "<b>" not in page
    assert "control/&lt;b&gt;x" in page


@pytest.mark.parametrize(
    "records, fault",
    [
        ([], "no evaluation records"),
        ([RECORDS[0], RECORDS[0]], "two evaluation records of task 'control/Half'"),
        ([RECORDS[0], replace(RECORDS[1], checkpoint="beef" * 16)], "evaluation records of 2 checkpoints"),
        ([replace(RECORDS[0], checkpoint="beef" * 16)], "is of checkpoint beefbeefbeef, the report's is c0ffee"),
        ([record_of("control/Half", [0.5], floor="absent")], "no reference score of absent"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(records: list[EvaluationRecord], fault: str) -> None:
    with pytest.raises(ValueError, match=re.escape(fault)):
        build_report(records, CHECKPOINT, [])


def test_returns_without_their_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="2 returns and 1 seeds"):
        replace(RECORDS[0], seeds=[5])


def test_written_files_are_the_report(report: Report, tmp_path: Path) -> None:
    page = write_report(tmp_path / "new", report)

    assert page.read_text() == report.page
    assert sorted(path.name for path in page.parent.iterdir()) == ["report.html", "scores.csv", "scores.json"]


def test_threshold_curve_passes_through_the_share_at_half() -> None:
    axes = draw_threshold_curve([0.1, 0.5, 0.7, 1.3]).axes[0]
    curve = dict(np.asarray(axes.lines[0].get_xydata()).tolist())

    assert curve[50.0] == 75.0
    assert curve[120.0] == 25.0
    assert curve[0.0] == 100.0


def test_a_task_just_below_half_is_drawn_below_half_and_one_far_off_at_the_edge() -> None:
    axes = draw_scores({"control": [0.4999, 0.5, 9.0]}, {"control": (0.5, 0.4, 0.6)}).axes[0]
    drawn = {line.get_marker(): np.asarray(line.get_xdata()).tolist() for line in axes.lines}

    assert drawn["o"][0] < 50 < drawn["o"][1]
    assert drawn[">"] == [150.0]


def test_training_curve_draws_what_the_log_has() -> None:
    assert len(draw_training_curve(CHECKPOINT.history).axes) == 3
    assert len(draw_training_curve([{"step": 1, "loss": 2.0}]).axes) == 1


@pytest.mark.parametrize("history", [[], [{"step": 1.0}]])
def test_training_curve_refuses_a_log_without_losses(history: list[dict[str, float]]) -> None:
    with pytest.raises(ValueError, match="needs rows with 'step' and 'loss'"):
        draw_training_curve(history)


def test_pictures_are_equal_bytes_of_png() -> None:
    first, second = (to_png(draw_threshold_curve([0.2, 0.8])) for _ in range(2))

    assert first == second
    assert first.startswith(b"\x89PNG")
