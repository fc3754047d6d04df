from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from storage.episode import Episode
from tasks.charts import to_png
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.records import EvaluationRecord
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED
from tasks.tsp.map import draw_gaps, draw_tours


@pytest.fixture(scope="module")
def tours() -> tuple[Episode, Episode]:
    task = get_task("tsp/tsp100-city-3")
    policies = (ExpertPolicy(task.make_expert), RandomPolicy(0))
    expert, model = (next(roll_out(task, policy, [EVALUATION_SEED], num_slots=1)) for policy in policies)
    return expert, model


def record_of(expert: Episode, model: Episode) -> EvaluationRecord:
    reference = {"returns": [expert.total_return], "seeds": [expert.seed]}
    scores = {"expert": reference, "nearest_neighbour": {**reference, "returns": [1.25 * expert.total_return]}}
    return EvaluationRecord(
        model.task, [model.total_return], [model.seed], scores, "nearest_neighbour", "digest", [model], [expert]
    )


def test_the_map_has_two_panels_with_the_lengths_and_draws_the_same_twice(tours: tuple[Episode, Episode]) -> None:
    expert, model = tours

    figure = draw_tours(expert, model)

    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"Expert  {-expert.total_return:,.0f} km", f"Model  {-model.total_return:,.0f} km"]
    assert "against the expert" in figure.axes[1].get_title(loc="right")
    assert to_png(figure, dpi=40) == to_png(draw_tours(expert, model), dpi=40)


def test_gaps_are_shown_for_each_method_and_a_proven_bound_lies_at_zero(
    tours: tuple[Episode, Episode],
) -> None:
    figure = draw_gaps([record_of(*tours)])

    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["nearest neighbour", "model", "expert", "lower bound"]
    gaps = [float(np.mean(dots.get_offsets()[:, 0])) for dots in figure.axes[0].collections]  # pyright: ignore
    assert gaps[0] == pytest.approx(25.0)
    assert gaps[2] == 0.0
    assert gaps[3] == 0.0


def test_tours_of_other_instances_are_not_drawn_side_by_side(tours: tuple[Episode, Episode]) -> None:
    expert, model = tours

    with pytest.raises(ValueError, match="expected one instance"):
        draw_tours(expert, replace(model, seed=model.seed + 1))
    with pytest.raises(ValueError, match="no seed of"):
        draw_gaps([record_of(expert, replace(model, seed=model.seed + 1))])
