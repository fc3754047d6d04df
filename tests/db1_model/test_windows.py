from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from db1_model.config import ModelConfig
from db1_model.positions import StepPositions
from db1_model.sequence import StepLayout
from db1_model.windows import Windows, choose_prompt, read_window

LENGTHS = [3, 1, 40, 7, 2, 90, 5, 12, 1, 30]


@pytest.fixture(params=["vector", "mixed", "image"])
def task(request: pytest.FixtureRequest, make_task: Callable):
    return make_task(request.param, LENGTHS)


@pytest.fixture
def places(task, config: ModelConfig) -> StepPositions:
    return StepPositions(StepLayout.from_json(task.layout), config)


def make_windows(places: StepPositions, *, prompt_share: float = 0.0, pack: bool = True, key: int = 1) -> Windows:
    return Windows(np.array(LENGTHS), places, prompt_share=prompt_share, pack=pack, key=key)


def test_packed_sequences_have_no_padding_and_prompts_no_loss(task, places: StepPositions) -> None:
    windows = make_windows(places, prompt_share=0.5)
    full = places.build_sequence(task.episodes[5].tokens, task.episodes[5].images)

    for visit in range(100):
        window = windows.at(visit)
        built = read_window(window, task, places)
        prompt_end = max(window.prompt * places.num_positions - 1, 0)
        assert np.array_equal(built.positions, full.positions)
        assert not built.loss_mask[:prompt_end].any()
        assert np.array_equal(built.loss_mask[prompt_end:], full.loss_mask[prompt_end:])


def test_an_epoch_of_packed_windows_shows_each_transition_once(places: StepPositions) -> None:
    windows = make_windows(places)
    whole = (places.context_length + 1) // places.num_positions
    seen = np.zeros(sum(LENGTHS), np.int64)
    offsets = np.cumsum(LENGTHS) - LENGTHS

    for visit in range(windows.windows_per_epoch):
        shown = [
            offsets[episode] + transition
            for episode, first, last in windows.at(visit).stretches
            for transition in range(first, last)
        ]
        np.add.at(seen, shown[:whole], 1)

    assert seen.max() == 1
    assert np.sum(seen == 0) < whole


@pytest.mark.parametrize("prompt_share", [0.0, 0.5])
def test_packed_windows_train_every_transition_about_equally_often(places: StepPositions, prompt_share: float) -> None:
    windows = make_windows(places, prompt_share=prompt_share)
    epochs = 400
    trained = np.zeros(sum(LENGTHS))
    offsets = np.cumsum(LENGTHS) - LENGTHS

    for visit in range(epochs * windows.windows_per_epoch):
        window = windows.at(visit)
        stretches = window.stretches[1:] if window.prompt else window.stretches
        for episode, first, last in stretches:
            trained[offsets[episode] + first : offsets[episode] + last] += 1

    assert trained.min() > 0.8 * trained.mean()
    assert trained.max() < 1.2 * trained.mean()


def test_an_epoch_of_db1s_windows_starts_at_every_transition_but_an_episodes_last(places: StepPositions) -> None:
    windows = make_windows(places, pack=False)

    drawn = sorted(windows.at(visit).stretches[0] for visit in range(windows.windows_per_epoch))

    assert drawn == [
        (episode, first, min(first + places.transitions, length))
        for episode, length in enumerate(LENGTHS)
        for first in range(max(length - 1, 1))
    ]


@pytest.mark.parametrize("pack", [False, True])
def test_prompts_come_at_their_share_half_of_them_from_an_episodes_end(places: StepPositions, pack: bool) -> None:
    windows = make_windows(places, prompt_share=0.25, pack=pack)
    drawn = [window for visit in range(4_000) if (window := windows.at(visit)).prompt]
    prompts = [window.stretches[0] for window in drawn]
    long = [prompt for prompt in prompts if LENGTHS[prompt[0]] == 90]

    assert 0.22 < len(drawn) / 4_000 < 0.28
    assert all(window.prompt <= places.transitions // 2 for window in drawn)
    assert all(last - first == min(places.prompt_transitions, LENGTHS[episode]) for episode, first, last in prompts)
    assert 0.35 < np.mean([last == LENGTHS[episode] for episode, _, last in long]) < 0.65
    if not pack:
        assert all(sum(last - first for _, first, last in window.stretches) <= places.transitions for window in drawn)


def test_the_order_depends_on_the_key_and_the_epoch(places: StepPositions) -> None:
    windows, others = make_windows(places), make_windows(places, key=2)
    epoch = range(windows.windows_per_epoch)

    first = [windows.at(visit) for visit in epoch]

    assert first == [make_windows(places).at(visit) for visit in epoch]
    assert first != [others.at(visit) for visit in epoch]
    assert first != [windows.at(windows.windows_per_epoch + visit) for visit in epoch]


def test_a_task_smaller_than_one_sequence_fills_it_by_repeating(make_task: Callable, config: ModelConfig) -> None:
    task = make_task("vector", [2, 1])
    places = StepPositions(StepLayout.from_json(task.layout), config)
    windows = Windows(task.episode_lengths, places, prompt_share=0.0, pack=True, key=0)

    built = read_window(windows.at(5), task, places)

    assert windows.windows_per_epoch == 1
    assert np.array_equal(built.positions, np.resize(places.local_positions, config.context_length))


def test_an_evaluation_prompt_fills_a_context_with_the_best_episodes_up_to_an_end(make_task: Callable) -> None:
    lengths = [5] * 30  # of returns 0..29, so that the best tenth are 27, 28 and 29
    task = make_task("image", lengths)
    best = [task.episodes[index] for index in (27, 28, 29)]

    rows, images = choose_prompt(task, 12, seed=3)

    assert images is not None
    assert len(rows) == len(images) == 12
    last, middle = rows[-5:], rows[-10:-5]
    ends = [index for index, episode in enumerate(best) if np.array_equal(episode.tokens, last)]
    assert len(ends) == 1
    assert np.array_equal(images[-5:], best[ends[0]].images)
    assert any(np.array_equal(episode.tokens, middle) for episode in best)
    assert any(np.array_equal(episode.tokens[-2:], rows[:2]) for episode in best)
    assert np.array_equal(choose_prompt(task, 12, seed=3)[0], rows)


def test_a_single_episode_is_prompt_enough(make_task: Callable) -> None:
    rows, images = choose_prompt(make_task("vector", [4]), 10, seed=0)

    assert images is None
    assert np.array_equal(rows[-4:], rows[-8:-4])
    assert len(rows) == 10
