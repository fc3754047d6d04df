from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from db1_model.inspection import inspect_step
from db1_model.layout import StepLayout
from db1_model.round_trip import RoundTrip
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema

BOUNDED = Schema({"state": Leaf("continuous", (3,), -1, 1)}, Leaf("discrete", num_values=2))


def play(states: list[list[float]]) -> Episode:
    seen = np.array(states, np.float32)
    actions = np.arange(len(seen)) % 2
    return Episode("toy/state", 0, {"state": seen}, actions, np.ones(len(seen)), True, False)


@pytest.mark.parametrize("kind", ["vector", "mixed", "image", "answer"])
def test_every_token_of_a_step_is_shown_in_its_place_beside_what_it_stands_for(
    kind: str, schemas: dict[str, Schema], make_episode: Callable, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> None:
    episode, layout = make_episode(kind, 4, seed=1), StepLayout.from_schema(schemas[kind], vocabulary)
    stored = encode_episode(episode, layout, tokenizer, vocabulary)

    found = inspect_step(episode, stored, 2, layout, tokenizer, vocabulary, patch_size=16)

    tokens = [one for one in found if one.column is not None]
    assert [one.column for one in tokens] == list(range(layout.step_tokens))
    assert [one.token for one in tokens] == stored.tokens[2].tolist()
    for key in set(episode.observations) - {"mission", "frame", "question"}:
        originals = [one.original for one in found if one.key == key]
        assert originals == [float(value) for value in np.ravel(episode.observations[key][2])]
    if kind == "image":
        assert [one.decoded for one in found if one.column is None] == ["2 x 3 patches of 16 x 16"]
    for text in {"mixed": ["mission"], "answer": ["question", "action"]}.get(kind, []):
        pieces = [one for one in found if one.key == text]
        assert pieces[0].original == "go to the red ball"
        assert "".join(str(one.decoded or "") for one in pieces) == "go to the red ball"
    binned = [one for one in found if one.scale == "linear"]
    assert all(one.error is not None and one.error <= 1 / 1024 + 1e-6 for one in binned)


def test_measured_errors_saturation_and_bins_are_those_of_the_numbers(
    tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> None:
    measured = RoundTrip(StepLayout.from_schema(BOUNDED, vocabulary), tokenizer, vocabulary)

    measured.encode(play([[1.0, 0.5, 1 / 1024], [0.9999, 0.5, 3 / 1024]]))
    measured.encode(play([[-1.0, 0.5, 5 / 1024], [0.0, -0.5, 7 / 1024]]))

    first, second, third, action = measured.dimensions()
    assert (first.saturated, second.saturated) == (0.75, 0.0)
    assert (first.lowest, first.highest, first.bins_used) == (-1.0, 1.0, 3)
    assert first.largest_error == pytest.approx(1 / 1024)
    assert (third.mean_error, third.largest_error, third.bins_used) == (0.0, 0.0, 4)
    assert (action.key, action.place, action.scale, action.bins_used) == ("action", "", "discrete", 2)
    keys = {row["key"]: row for row in measured.to_json()["keys"]}
    assert keys["state"]["saturated"] == pytest.approx(0.25)
    assert keys["state"]["most_saturated"] == 0.75
    json.dumps(measured.to_json(), allow_nan=False)


def test_a_number_beyond_what_the_bins_reach_shows_as_saturated_with_its_error(
    tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> None:
    schema = Schema({"state": Leaf("continuous", (1,))}, Leaf("discrete", num_values=2))
    measured = RoundTrip(StepLayout.from_schema(schema, vocabulary), tokenizer, vocabulary)

    measured.encode(play([[1000.0], [1.0], [2.0], [-3.0]]))

    (state, _) = measured.dimensions()
    assert state.scale == "mu_law"
    assert state.saturated == 0.25
    assert 744 < state.largest_error < 748


def test_texts_that_have_too_few_tokens_are_counted(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> None:
    schema = Schema({"mission": Leaf("text", num_tokens=5)}, Leaf("discrete", num_values=2))
    measured = RoundTrip(StepLayout.from_schema(schema, vocabulary), tokenizer, vocabulary)
    words = np.array(["go", "go to the red ball", "go to the red ball" * 3, "go"], object)

    measured.encode(Episode("toy/say", 0, {"mission": words}, np.zeros(4, np.int64), np.ones(4), True, False))

    assert measured.cut_texts() == {"mission": 0.25}


def test_a_step_that_is_not_there_is_refused(tokenizer: TextTokenizer, vocabulary: Vocabulary) -> None:
    layout, episode = StepLayout.from_schema(BOUNDED, vocabulary), play([[0.0, 0.0, 0.0]])
    stored = encode_episode(episode, layout, tokenizer, vocabulary)

    with pytest.raises(IndexError, match=r"step 1 of an episode of 1 steps; expected 0\.\.0"):
        inspect_step(episode, stored, 1, layout, tokenizer, vocabulary, patch_size=16)
