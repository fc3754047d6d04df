from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from db1_model.config import ModelConfig
from db1_model.images import cut_patches
from db1_model.layout import StepLayout
from db1_model.positions import NUMBERS, PATCH, StepPositions, cut_interval
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.episode import Episode, Leaf, Schema

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "sequences.npz"


@pytest.mark.skipif(not GOLDEN.exists(), reason="needs the published model's outputs in ../shared/golden")
@pytest.mark.parametrize("kind", ["vector", "discrete", "dict"])
def test_every_window_becomes_db1s_sequence(kind: str, tokenizer: TextTokenizer) -> None:
    reference = {name[len(kind) + 1 :]: value for name, value in np.load(GOLDEN).items() if name.startswith(kind + ".")}
    observations = {
        name.split(".")[-1]: values.transpose(0, 2, 3, 1) if values.dtype == np.uint8 else values
        for name, values in reference.items()
        if name.startswith("observations")
    }
    vocabulary = Vocabulary(32_000)
    schema = Schema(
        {key: leaf_of(values) for key, values in observations.items()},
        Leaf("continuous", (2,), -1, 1) if kind == "vector" else Leaf("discrete", num_values=1024),
    )
    layout = StepLayout.from_schema(schema, vocabulary)
    num_steps = len(reference["actions"])
    steps = Episode("db1/" + kind, 0, observations, reference["actions"], np.zeros(num_steps), True, False)
    encoded = encode_episode(steps, layout, tokenizer, vocabulary)
    places = StepPositions(layout, ModelConfig(1, 32, 2, 64, 64, 32_000))
    offsets = np.concatenate([[0], np.cumsum(reference["episode_lengths"])])

    assert places.transitions == reference["transitions_per_window"]
    for number, (episode, start, end) in enumerate(reference["windows"]):
        taken = slice(offsets[episode] + start, offsets[episode] + end)
        built = places.build_sequence(encoded.tokens[taken], None if encoded.images is None else encoded.images[taken])
        for name in ("tokens", "positions", "loss_mask", "labels"):
            np.testing.assert_array_equal(getattr(built, name), reference[name][number], f"{name} of window {number}")
        assert len(built.patches) == np.sum(built.tokens == PATCH)


def leaf_of(values: np.ndarray) -> Leaf:
    if values.dtype == np.uint8:
        return Leaf("image", values.shape[1:])
    if values.dtype == np.float32:
        return Leaf("continuous", values.shape[1:])
    return Leaf("discrete", values.shape[1:], num_values=1024)


def test_of_a_document_every_token_and_its_end_are_trained_and_none_has_a_local_position(
    config: ModelConfig, tokenizer: TextTokenizer, vocabulary: Vocabulary
) -> None:
    layout = StepLayout.from_schema(Schema({}, Leaf("text")), vocabulary)
    said = np.array(["go to the red ball " * 4], object)
    tokens = encode_episode(
        Episode("zoo/document", 0, {}, said, np.zeros(1), True, False), layout, tokenizer, vocabulary
    )

    built = StepPositions(layout, config).build_sequence(np.concatenate([tokens.tokens] * 2))

    once = [*tokenizer.encode(said[0]), 0]
    trained = (once + once)[: np.count_nonzero(built.loss_mask) + 1]
    assert built.labels[built.loss_mask].tolist() == trained[1:]
    assert np.count_nonzero(built.loss_mask) >= len(once)
    assert set(built.positions[: built.num_tokens].tolist()) == {-1}


def test_of_a_text_answer_the_words_and_the_end_are_trained_and_not_the_padding(
    config: ModelConfig, make_task: Callable, tokenizer: TextTokenizer
) -> None:
    task = make_task("answer", [3])
    rows = task.episodes[0].tokens
    answers = [tokenizer.encode(text) for text in ("go to the red ball", "open the door", "go to the red ball")]

    built = StepPositions(StepLayout.from_json(task.layout), config).build_sequence(rows)

    trained = [token for answer in answers for token in [*answer, 0][:8]]
    assert built.labels[built.loss_mask].tolist() == trained


@pytest.mark.parametrize("kind", ["vector", "mixed", "image"])
def test_a_full_sequence_shows_whole_steps_and_trains_their_actions_alone(
    kind: str, config: ModelConfig, make_task: Callable
) -> None:
    task = make_task(kind, [80])
    rows, images = task.episodes[0].tokens, task.episodes[0].images
    layout = StepLayout.from_json(task.layout)
    places = StepPositions(layout, config)

    built = places.build_sequence(rows, images)

    step_of, place = np.divmod(np.arange(config.context_length + 1), places.num_positions)
    is_action = place > places.num_observation
    assert np.array_equal(built.loss_mask, is_action[1:])
    assert np.array_equal(built.positions, np.where(is_action, 0, place + 1)[:-1])
    targets = np.flatnonzero(built.loss_mask) + 1
    column = layout.observation_tokens + place[targets] - places.num_observation
    assert np.array_equal(built.labels[built.loss_mask], rows[step_of[targets], column])
    assert np.array_equal(built.tokens[1:], built.labels[:-1])
    assert len(built.patches) == np.sum(built.tokens == PATCH)
    assert len(built.numbers) == np.sum(built.tokens == NUMBERS)


def test_embedded_numbers_stand_four_to_a_position_the_last_in_the_separators_place(make_task: Callable) -> None:
    config = ModelConfig(1, 32, 2, 64, 64, 1024, encoding="embedded", numbers_per_position=4)
    task = make_task("mixed", [9])
    rows = task.episodes[0].tokens
    places = StepPositions(StepLayout.from_json(task.layout), config)

    built = places.build_sequence(rows)

    assert places.num_positions == 6 + 4 + 1  # six of text, fourteen numbers, one action
    assert built.tokens[:11].tolist() == [*rows[0, :6].tolist(), *[NUMBERS] * 4, *rows[0, 21:].tolist()]
    assert built.positions[:12].tolist() == [*range(1, 11), 0, 1]
    assert built.loss_mask[:11].tolist() == [False] * 9 + [True, False]
    first = built.numbers[:4].reshape(-1)
    assert first.tolist() == [*rows[0, 6:20].tolist(), -1, -1]


@pytest.mark.parametrize("context_length", [64, 65, 66, 71])
def test_patches_and_numbers_are_cut_where_the_tokens_are(context_length: int, make_task: Callable) -> None:
    config = ModelConfig(
        1, 32, 2, context_length, 64, 1024, encoding="embedded", numbers_per_position=2, position_vocab=100
    )
    task = make_task("image", [30])
    images = task.episodes[0].images
    places = StepPositions(StepLayout.from_json(task.layout), config)

    built = places.build_sequence(task.episodes[0].tokens, images)

    expected = cut_patches(torch.from_numpy(images), config)
    shown = int(np.sum(built.tokens == PATCH))
    assert np.sum(built.tokens == NUMBERS) == len(built.numbers)
    assert np.array_equal(built.patches, expected.pixels[:shown].numpy())
    assert np.array_equal(built.patch_rows, expected.rows[:shown].numpy())
    assert np.array_equal(built.patch_columns, expected.columns[:shown].numpy())


def test_observations_alone_stand_where_they_stand_in_a_sequence(config: ModelConfig, make_task: Callable) -> None:
    task = make_task("mixed", [3])
    layout = StepLayout.from_json(task.layout)
    places = StepPositions(layout, config)
    rows = task.episodes[0].tokens

    observed = places.place_tokens(rows[:, : layout.observation_tokens + 1])

    assert np.array_equal(observed, places.place_tokens(rows)[:, : places.num_observation + 1])


def test_a_step_that_does_not_fit_is_refused(make_task: Callable) -> None:
    layout = StepLayout.from_json(make_task("mixed", [1]).layout)
    fitting = ModelConfig(1, 32, 2, 22, 22, 1024)
    StepPositions(layout, fitting)

    with pytest.raises(ValueError, match=r"a step takes 22 positions .* of a context of 21"):
        StepPositions(layout, replace(fitting, context_length=21))
    with pytest.raises(ValueError, match="an observation takes 20 positions; expected at most 18"):
        StepPositions(layout, replace(fitting, local_positions=20))
    with pytest.raises(ValueError, match="32 x 48 pixels; expected multiples of the patch size, 32"):
        StepPositions(
            StepLayout.from_json(make_task("image", [1]).layout), replace(fitting, patch_size=32, context_length=64)
        )


@pytest.mark.parametrize("vocab, parts", [(128, 5), (55, 11), (75, 15), (108, 9)])
def test_intervals_of_patches_are_those_of_single_precision(vocab: int, parts: int) -> None:
    index = torch.arange(parts)
    expected = torch.stack([(index / parts * vocab).int(), ((index + 1) / parts * vocab).int()], dim=1)

    assert np.array_equal(cut_interval(parts, vocab), expected.numpy())
