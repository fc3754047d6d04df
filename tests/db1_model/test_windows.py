from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import storage.packing
from db1_model import windows as windows_module
from db1_model.config import ModelConfig
from db1_model.layout import StepLayout
from db1_model.order import DRAW, ORDER, draw_windows
from db1_model.positions import StepPositions
from db1_model.windows import Windows, choose_prompt, read_window
from storage import shard_index
from storage.packing import decode
from storage.shards import ShardStore
from storage.tokens import TokenStore

LENGTHS = [3, 1, 40, 7, 2, 90, 5, 12, 1, 30]


@pytest.fixture(params=["vector", "mixed", "image"])
def task(request: pytest.FixtureRequest, make_task: Callable):
    return make_task(request.param, LENGTHS)


@pytest.fixture
def places(task, config: ModelConfig) -> StepPositions:
    return StepPositions(StepLayout.from_json(task.layout), config)


@pytest.fixture
def make_windows(task, places: StepPositions) -> Callable[..., Windows]:
    def make(*, prompt_share: float = 0.0, pack: bool = True, key: int = 1) -> Windows:
        return Windows(task, places, prompt_share=prompt_share, pack=pack, key=key)

    return make


def test_packed_sequences_have_no_padding_and_prompts_no_loss(
    task, places: StepPositions, make_windows: Callable
) -> None:
    windows = make_windows(prompt_share=0.5)
    full = places.build_sequence(task.episodes[5].tokens, task.episodes[5].images)

    for visit in range(100):
        window = windows.at(visit)
        rows, images = read_window(window, task)
        built = places.build_sequence(rows, images, prompt=window.prompt)
        prompt_end = max(window.prompt * places.num_positions - 1, 0)
        assert np.array_equal(built.positions, full.positions)
        assert not built.loss_mask[:prompt_end].any()
        assert np.array_equal(built.loss_mask[prompt_end:], full.loss_mask[prompt_end:])


def test_an_epoch_of_packed_windows_shows_each_transition_once(places: StepPositions, make_windows: Callable) -> None:
    windows = make_windows()
    whole = (places.context_length + 1) // places.num_positions
    seen = np.zeros(sum(LENGTHS), np.int64)

    for visit in range(windows.windows_per_epoch):
        shown = [step for first, last in windows.at(visit).stretches for step in range(first, last)]
        np.add.at(seen, shown[:whole], 1)

    assert seen.max() == 1
    assert np.sum(seen == 0) < whole


@pytest.mark.parametrize("prompt_share", [0.0, 0.5])
def test_packed_windows_train_every_transition_about_equally_often(
    places: StepPositions, prompt_share: float, make_windows: Callable
) -> None:
    windows = make_windows(prompt_share=prompt_share)
    epochs = 400
    trained = np.zeros(sum(LENGTHS))

    for visit in range(epochs * windows.windows_per_epoch):
        window = windows.at(visit)
        stretches = window.stretches[1:] if window.prompt else window.stretches
        for first, last in stretches:
            trained[first:last] += 1

    assert trained.min() > 0.8 * trained.mean()
    assert trained.max() < 1.2 * trained.mean()


def test_an_epoch_of_db1s_windows_starts_at_every_transition_but_an_episodes_last(
    places: StepPositions, make_windows: Callable
) -> None:
    windows = make_windows(pack=False)

    drawn = sorted(windows.at(visit).stretches[0] for visit in range(windows.windows_per_epoch))

    assert drawn == [
        (offset + first, offset + min(first + places.transitions, length))
        for offset, length in zip(np.cumsum(LENGTHS) - LENGTHS, LENGTHS, strict=True)
        for first in range(max(length - 1, 1))
    ]


@pytest.mark.parametrize("pack", [False, True])
def test_prompts_come_at_their_share_half_of_them_from_an_episodes_end(
    places: StepPositions, pack: bool, make_windows: Callable
) -> None:
    windows = make_windows(prompt_share=0.25, pack=pack)
    drawn = [window for visit in range(4_000) if (window := windows.at(visit)).prompt]
    ends = np.cumsum(LENGTHS)
    prompts = [(int(ends.searchsorted(one.stretches[0][0], side="right")), *one.stretches[0]) for one in drawn]
    long = [prompt for prompt in prompts if LENGTHS[prompt[0]] == 90]

    assert 0.22 < len(drawn) / 4_000 < 0.28
    assert all(window.prompt <= places.transitions // 2 for window in drawn)
    assert all(last - first == min(places.prompt_transitions, LENGTHS[episode]) for episode, first, last in prompts)
    assert 0.35 < np.mean([last == ends[episode] for episode, _, last in long]) < 0.65
    assert set(range(len(LENGTHS))) == {episode for episode, _, _ in prompts}
    if not pack:
        assert all(window.num_transitions <= places.transitions for window in drawn)


@pytest.mark.parametrize("pack", [False, True])
def test_a_prompt_is_of_an_episode_that_the_window_does_not_show(make_windows: Callable, pack: bool) -> None:
    windows = make_windows(prompt_share=1.0, pack=pack)
    episodes = np.repeat(np.arange(len(LENGTHS)), LENGTHS)

    for visit in range(500):
        (begin, end), *shown = windows.at(visit).stretches
        assert len(set(episodes[begin:end])) == 1
        assert episodes[begin] not in np.concatenate([episodes[first:last] for first, last in shown])


def test_the_order_depends_on_the_key_and_the_epoch(make_windows: Callable) -> None:
    windows, others = make_windows(), make_windows(key=2)
    epoch = range(windows.windows_per_epoch)

    first = [windows.at(visit) for visit in epoch]

    assert first == [make_windows().at(visit) for visit in epoch]
    assert first != [others.at(visit) for visit in epoch]
    assert first != [windows.at(windows.windows_per_epoch + visit) for visit in epoch]


def test_a_task_smaller_than_one_sequence_fills_it_by_repeating(make_task: Callable, config: ModelConfig) -> None:
    task = make_task("vector", [2, 1])
    places = StepPositions(StepLayout.from_json(task.layout), config)
    windows = Windows(task, places, prompt_share=0.5, pack=True, key=0)

    built = places.build_sequence(*read_window(windows.at(5), task))

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


@pytest.mark.parametrize("windows, chunk, group_chunks", [(1, 1, 1), (977, 1, 1), (1003, 10, 7), (5000, 64, 1000)])
def test_an_epoch_draws_each_window_once_and_each_chunk_in_one_group(
    windows: int, chunk: int, group_chunks: int
) -> None:
    chunks = windows // chunk
    groups = -(-chunks // group_chunks)
    orders = np.array([(7, windows, chunk, chunks, groups, 2**31, 0, 1)], ORDER)
    draws = np.empty(2 * windows, DRAW)

    draw_windows(orders, np.zeros(2 * windows, np.int64), np.arange(2 * windows), draws)

    first, second = draws[:windows], draws[windows:]
    assert sorted(first["start"]) == sorted(second["start"]) == list(range(windows))
    if windows > 1:
        assert first["start"].tolist() != second["start"].tolist()
    most = group_chunks * chunk + windows % chunk
    for begin in range(0, windows - most, most):
        assert len(set((first["start"] // chunk)[begin : begin + most])) <= 2 * (group_chunks + 1)
        assert len(set((first["near"] // chunk)[begin : begin + most])) <= 2 * (group_chunks + 1)
    assert abs(draws["prompted"].mean() - 0.5) < 0.1 or windows == 1


def test_a_stream_through_data_much_larger_than_the_cache_decodes_a_sample_about_once_an_epoch(
    make_task: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage.packing, "SAMPLE_BYTES", 800)  # an episode
    monkeypatch.setattr(windows_module, "CHUNK_BYTES", 8 * 800)
    monkeypatch.setattr(windows_module, "SHUFFLE_BYTES", 4 * 8 * 800)
    task = make_task("vector", [50] * 500)
    tokens, shards = TokenStore(str(tmp_path / "tokens")), ShardStore(str(tmp_path / "shards"))
    tokens.write("zoo/vector", task.layout, task.episodes, recipe={}, metadata={})
    shards.write("zoo/vector", tokens.read("zoo/vector"), recipe={}, seed=0)
    stored = shards.read_task("zoo/vector", cache_bytes=2 * 4 * 8 * 800 + 30_000)
    places = StepPositions(StepLayout.from_json(task.layout), ModelConfig(1, 32, 2, 64, 64, 1024))
    windows = Windows(stored, places, prompt_share=0.25, pack=True, key=0)
    decoded: list[int] = []
    monkeypatch.setattr(shard_index, "decode", lambda *args: decoded.append(1) or decode(*args))

    for visit in range(windows.windows_per_epoch):
        read_window(windows.at(visit), stored)

    assert len(decoded) < 1.4 * 500
