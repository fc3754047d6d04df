from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from db1_model.layout import StepLayout
from db1_model.sequence import decode_action_tokens, decode_observations, encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema


def test_a_step_is_text_then_numbers_by_key_then_the_separator_then_the_action(
    schemas: dict[str, Schema],
    make_episode: Callable[..., Episode],
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
) -> None:
    layout = StepLayout.from_schema(schemas["mixed"], vocabulary)
    episode = make_episode("mixed", 4, seed=1)

    tokens = encode_episode(episode, layout, tokenizer, vocabulary).tokens

    mission = tokenizer.encode("go to the red ball")
    assert tokens.shape == (4, 6 + 3 + 2 + 9 + 1 + 1)
    assert tokens[0, :6].tolist() == [*mission, 0]  # padded with 0
    assert [(run.key, run.scale) for run in layout.numbers] == [
        ("angles", "linear"),
        ("speed", "mu_law"),
        ("view", "discrete"),
    ]
    assert np.array_equal(tokens[:, 11:20], episode.observations["view"])
    assert np.all(tokens[:, 20] == vocabulary.separator)
    assert np.array_equal(tokens[:, 21], episode.actions)


@pytest.mark.parametrize("kind", ["vector", "mixed", "image", "answer"])
def test_tokens_decode_to_the_episode_within_half_a_bin(
    kind: str,
    schemas: dict[str, Schema],
    make_episode: Callable[..., Episode],
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
) -> None:
    layout = StepLayout.from_schema(schemas[kind], vocabulary)
    episode = make_episode(kind, 30, seed=2)

    encoded = encode_episode(episode, layout, tokenizer, vocabulary)
    observations = decode_observations(encoded.tokens, layout, tokenizer, vocabulary)
    actions = decode_action_tokens(encoded.tokens[:, layout.observation_tokens + 1 :], layout, tokenizer, vocabulary)
    again = replace(episode, observations={**episode.observations, **observations}, actions=actions)

    assert np.array_equal(encode_episode(again, layout, tokenizer, vocabulary).tokens, encoded.tokens)
    assert set(observations) == {key for key, leaf in schemas[kind].observations.items() if leaf.kind != "image"}
    for run in layout.numbers:
        error = np.abs(observations[run.key] - episode.observations[run.key])
        # A mu-law bin is up to log(25601) / 512 of the number wide, plus what that makes of the offset 1 / 100.
        half_bin = {"linear": 1 / 1024, "discrete": 0, "mu_law": 0.01 * (np.abs(episode.observations[run.key]) + 0.01)}
        assert np.all(error <= half_bin[run.scale] + 1e-6), run.key
    assert (encoded.images is None) == (kind != "image")


DOCUMENT = Schema({}, Leaf("text"))


@pytest.mark.parametrize("text", ["", "go", "天津 到 西安, Ürümqi\n\n\t\N{GRINNING FACE}" * 30, "x" * 15, "y" * 16])
def test_a_document_becomes_blocks_and_comes_back(text: str, tokenizer: TextTokenizer, vocabulary: Vocabulary) -> None:
    layout = StepLayout.from_schema(DOCUMENT, vocabulary)
    episode = Episode("zoo/document", 0, {}, np.array([text], object), np.zeros(1), True, False)

    tokens = encode_episode(episode, layout, tokenizer, vocabulary).tokens

    assert tokens.shape[1] == layout.step_tokens == 16
    assert np.count_nonzero(tokens) == len(tokenizer.encode(text))
    assert (tokens.ravel() == 0).any()
    assert decode_action_tokens(tokens, layout, tokenizer, vocabulary).tolist() == [text]
    assert StepLayout.from_json(layout.to_json()) == layout


def test_a_layout_survives_json(schemas: dict[str, Schema], vocabulary: Vocabulary) -> None:
    for schema in schemas.values():
        layout = StepLayout.from_schema(schema, vocabulary)
        assert StepLayout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("speed", np.nan, "task 'zoo/mixed', episode of seed 3: observation 'speed': number 1 is nan"),
        ("view", 40, "task 'zoo/mixed', episode of seed 3: 'view' has values 0..40; expected 0..39"),
    ],
)
def test_a_bad_number_is_refused_by_task_episode_and_key(
    key: str,
    value: Any,
    message: str,
    schemas: dict[str, Schema],
    make_episode: Callable[..., Episode],
    tokenizer: TextTokenizer,
    vocabulary: Vocabulary,
) -> None:
    episode = make_episode("mixed", 30, seed=3)
    episode.observations["view"][0, 0] = 0
    episode.observations[key].reshape(-1)[1] = value

    with pytest.raises(ValueError, match=re.escape(message)):
        encode_episode(episode, StepLayout.from_schema(schemas["mixed"], vocabulary), tokenizer, vocabulary)


def test_what_has_no_place_in_a_step_is_refused(vocabulary: Vocabulary) -> None:
    action, frame = Leaf("discrete", num_values=2), Leaf("image", (16, 16, 3))

    with pytest.raises(ValueError, match="images left, right; expected at most one"):
        StepLayout.from_schema(Schema({"left": frame, "right": frame}, action), vocabulary)
    with pytest.raises(ValueError, match="'action' has 2000 values; expected at most 1024"):
        StepLayout.from_schema(Schema({"frame": frame}, Leaf("discrete", num_values=2000)), vocabulary)
