from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from db1_model.config import TrainingConfig
from db1_model.weights import GATO_LANGUAGE, GATO_WEIGHTS, Weights, gato_weight, share_tasks

TASKS = ["babyai/a", "babyai/b", "control/c", "tsp/d"]
TOKENS = dict(zip(TASKS, [100, 300, 400, 1600], strict=True))


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        (None, [0.25, 0.25, 0.25, 0.25]),
        ("uniform", [0.25, 0.25, 0.25, 0.25]),
        ("families", [1 / 6, 1 / 6, 1 / 3, 1 / 3]),
        ({"kind": "families", "families": {"tsp": 0.5}}, [0.125, 0.125, 0.25, 0.5]),
        ({"families": {"babyai": 2, "control": 1, "tsp": 1}}, [0.25, 0.25, 0.25, 0.25]),
        ("tokens", [100 / 2400, 300 / 2400, 400 / 2400, 1600 / 2400]),
        ({"kind": "temperature", "temperature": 2}, [10 / 87.3205, 17.3205 / 87.3205, 20 / 87.3205, 40 / 87.3205]),
        ({"kind": "tokens", "tasks": {"tsp/d": 0.5}}, [0.0625, 0.1875, 0.25, 0.5]),
        ({"tsp/d": 0.4}, [0.2, 0.2, 0.2, 0.4]),
        ({"babyai/a": 3, "babyai/b": 1, "control/c": 2, "tsp/d": 2}, [0.375, 0.125, 0.25, 0.25]),
    ],
)
def test_shares_are_what_the_weights_say(weights: Any, shares: list[float]) -> None:
    assert share_tasks(TASKS, weights, num_tokens=TOKENS) == pytest.approx(shares, rel=1e-6)


def test_gatos_weights_go_to_families_and_one_that_it_has_not_gets_the_mean_of_its_control_data() -> None:
    shares = share_tasks(TASKS, "gato")

    lacking = sum(weight for name, weight in GATO_WEIGHTS.items() if name not in GATO_LANGUAGE)
    assert gato_weight("tsp") == pytest.approx(lacking / 16) == pytest.approx(5.33, abs=0.01)
    assert gato_weight("dmlab") == gato_weight("dm_lab") == 9.35
    assert shares[0] == shares[1]
    assert sum(shares[:2]) / shares[3] == pytest.approx(9.06 / gato_weight("tsp"))
    assert sum(shares) == pytest.approx(1)


def test_a_file_is_read_once_so_that_the_recipe_holds_what_it_said(tmp_path: Path) -> None:
    file = tmp_path / "mixture.json"
    file.write_text(json.dumps({"kind": "families", "tasks": {"tsp/d": 0.5}}))

    training = TrainingConfig.from_json({"weights": str(file)})
    file.unlink()

    assert training.to_json()["weights"]["tasks"] == {"tsp/d": 0.5}
    again = TrainingConfig.from_json(json.loads(json.dumps(training.to_json())))
    assert share_tasks(TASKS, again.weights) == pytest.approx([0.125, 0.125, 0.25, 0.5])


def test_shares_go_through_a_second_reading_unchanged() -> None:
    shares = share_tasks(TASKS, {"kind": "temperature", "temperature": 3.7}, num_tokens=TOKENS)

    assert share_tasks(TASKS, dict(zip(TASKS, shares, strict=True))) == shares


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            {"tsp/z": 1.0},
            "a weight for task 'tsp/z', which the shards do not hold; they hold babyai/a, babyai/b",
        ),
        ({"families": {"tps": 0.5}}, "a weight for family 'tps', which the shards do not hold; they hold babyai, "),
        ({"tsp/d": 1.0}, "the weights add up to 1, which leaves nothing for task 'babyai/a' and 2 others"),
        ({"tsp/d": -1.0}, "the weight 'tsp/d' is -1.0; expected a positive number"),
        ({"tsp/d": "half"}, "the weight 'tsp/d' is 'half'; expected a positive number"),
        ({"kind": "gatto"}, "weights of the kind 'gatto'; expected one of uniform, families, gato"),
        ({"kind": "gato", "family": {}}, "weights with the field 'family'; expected some of kind, temperature"),
        ("gatto", "weights 'gatto': .*No such file.*; expected uniform, families, gato.* or a JSON file"),
        ({"kind": "tokens"}, "weights by tokens need the number of tokens of task 'babyai/a'; found none"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        share_tasks(TASKS, weights)


def test_an_unknown_one_of_many_tasks_is_answered_with_the_closest() -> None:
    tasks = [f"tsp/tsp100-{number}" for number in range(232)]

    with pytest.raises(ValueError, match="they hold 232 others, the closest are tsp/tsp100-23"):
        Weights(tasks={"tsp/tps100-23": 0.1}).share(tasks)


def test_families_of_equal_weight_leave_no_task_without_a_share() -> None:
    tasks = [f"a/{number}" for number in range(99)] + ["b/0"]

    shares = share_tasks(tasks, "families")

    assert min(shares) > 0
    counted = Counter({task: share for task, share in zip(tasks, shares, strict=True) if task.startswith("a/")})
    assert sum(counted.values()) == pytest.approx(shares[-1]) == pytest.approx(0.5)
