from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tasks.proof import find_doubt


def score(returns: Sequence[float], first_seed: int = 0) -> dict[str, Any]:
    return {
        "mean": float(np.mean(returns)),
        "returns": list(returns),
        "seeds": [first_seed + number for number in range(len(returns))],
    }


def test_an_expert_ahead_on_every_seed_is_proven_however_much_the_seeds_differ() -> None:
    difficulty = [100.0 * number for number in range(20)]

    assert (
        find_doubt({"random": score(difficulty), "expert": score([value + 1 for value in difficulty])}, "random")
        is None
    )


@pytest.mark.parametrize(
    "scores, doubt",
    [
        ({"random": score([0.0] * 20), "expert": score([0.0] * 20)}, "0 ahead of random, expected more than 0"),
        ({"random": score([0.0] * 20), "expert": score([10.0] + [-0.1] * 19)}, "ahead of random, expected more than 1"),
        ({"random": score([0.0] * 19), "expert": score([1.0] * 19)}, "19 evaluation episodes .* at least 20"),
        ({"random": score([0.0] * 20, 7), "expert": score([1.0] * 20)}, "13 evaluation episodes"),
    ],
)
def test_luck_equality_and_few_episodes_prove_nothing(scores: dict[str, Any], doubt: str) -> None:
    assert re.search(doubt, find_doubt(scores, "random") or "")


def imported(returns: Sequence[float]) -> dict[str, Any]:
    return {"mean": float(np.mean(returns)), "returns": list(returns), "paired": False}


@pytest.mark.parametrize(
    "expert, doubt",
    [
        ([100.0 * number + 1 for number in range(20)], "1 ahead of random, expected more than 374.2 .*unequal seeds"),
        ([5000.0] * 19, "19 episodes of the expert or random"),
        ([5000.0] * 20, None),
    ],
)
def test_imported_episodes_are_judged_as_an_independent_sample(expert: list[float], doubt: str | None) -> None:
    scores = {"random": score([100.0 * number for number in range(20)]), "expert": imported(expert)}

    assert re.search(doubt, find_doubt(scores, "random") or "") if doubt else find_doubt(scores, "random") is None


def test_an_expert_must_be_ahead_of_the_floor_too() -> None:
    scores = {"random": score([0.0] * 20), "greedy": score([2.0] * 20), "expert": score([1.0] * 20)}

    assert "greedy" in (find_doubt(scores, "greedy") or "")
