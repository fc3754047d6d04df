from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assets.resources import Stores
from assets.tokens import read_tokenizer, tokenizer_folder
from db1_model.layout import StepLayout
from db1_model.sequence import encode_episode
from db1_model.text import TextTokenizer
from pipelines.experiments import get_experiment
from storage.episode import Episode
from tasks.registry import get_task
from tasks.task import schema_of

TASK = "control/MountainCarContinuous"
Command = Callable[..., tuple[int, str]]


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    """Stores that hold two made-up episodes of a task, their tokens and the demo's tokenizer."""
    stores, experiment, schema = Stores(root=str(tmp_path)), get_experiment("demo"), schema_of(get_task(TASK))
    learnt = TextTokenizer.train(["go to the red ball"], 1024)
    tokenizer_folder(stores, experiment).write(lambda path: {"at": str(learnt.save(path))}, recipe={})
    text, vocabulary = read_tokenizer(stores, experiment)

    def play(seed: int) -> Episode:
        seen = np.array([[0.25, -0.5], [1.0, 0.125], [1.0, 0.5]], np.float32)
        actions = np.array([[1.0], [-0.5], [0.0]], np.float32)
        return Episode(TASK, seed, {"observation": seen}, actions, np.ones(3), True, False)

    episodes, layout = [play(7), play(8)], StepLayout.from_schema(schema, vocabulary)
    manifest = stores.trajectories.write(TASK, schema, episodes, recipe={}, metadata={})
    encoded = [encode_episode(one, layout, text, vocabulary) for one in episodes]
    recipe = {"trajectories": manifest.digest}
    stores.tokens.write(TASK, layout.to_json(), encoded, recipe=recipe, metadata={})
    return stores


@pytest.fixture
def db1(stores: Stores, monkeypatch: pytest.MonkeyPatch, run_db1: Command) -> Command:
    """Run the command on these stores; return its exit code and all that it printed."""
    monkeypatch.setenv("DB1_DATA", stores.root)
    return run_db1


def test_a_step_is_shown_as_tokens_and_back_and_what_its_numbers_lose(db1: Command) -> None:
    code, printed = db1("tokens", TASK, "--episode", "1", "--step", "1")

    assert code == 0
    assert f"{TASK}, episode 1 of 2 (seed 8, return 3), step 1 of 3: 4 tokens" in printed
    rows = [line.split() for line in printed.splitlines()]
    assert ["0", "observation", "0", "linear", "2047", "1023", "0.999", "1", "0.0009766"] in rows
    assert ["2", "separator", "separator", "2048"] in rows
    assert ["observation", "0", "linear", "0.25", "1", "0.0009766", "0.0009766", "66.67", "%", "2"] in rows
    assert "most saturated: 66.67 % of observation 0" in printed


def test_without_an_episode_all_are_measured(db1: Command) -> None:
    assert "each number over all 2 episodes" in db1("tokens", TASK)[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([TASK, "--episode", "2"], "has 2 episodes; expected --episode 0..1"),
        ([TASK, "--step", "3"], "has 3 steps; expected --step 0..2"),
        (["control/Acrobot"], "db1 make trajectories control/Acrobot"),
        ([TASK, "-e", "full"], "db1 make tokenizer --experiment full"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(db1: Command, arguments: list[str], message: str) -> None:
    code, printed = db1("tokens", *arguments)

    assert code == 1
    assert message in printed


def test_tokens_of_episodes_that_were_replaced_are_refused(db1: Command, stores: Stores) -> None:
    episodes = stores.trajectories.read(TASK)
    stores.trajectories.write(TASK, episodes.schema, [episodes[0]], recipe={"other": 1}, metadata={})

    code, printed = db1("tokens", TASK)

    assert code == 1
    assert f"db1 make tokens {TASK}" in printed
