from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.checkpoint import checkpoint_folder
from assets.evaluation import count_processes, load_model, play
from assets.resources import Experiment, Progress, Stores
from storage.champions import ChampionStore
from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError
from tasks.corpora.own import count_held_out
from tasks.engine import start_workers
from tasks.looks import Further
from tasks.registry import get_task
from tasks.task import EVALUATION_SEED
from tasks.workers import Failure

if TYPE_CHECKING:
    from db1_model.checkpoint import Checkpoint  # imports torch
    from db1_model.text import TextTokenizer

CODE_VERSION = "1"
_RETURNS = "returns.json"


@dataclass
class Match:
    """The games that two checkpoints play for the further looks of a contest, each found or made and then stored.

    Args:
        stores: What is on disk.
        experiment: Whose contest.
        progress: Is told how far they are.
        challenger: Manifest of the newest checkpoint.
        champion: Manifest of the kept champion.
        num_episodes: Episodes that the looks so far rest on beyond the evaluations, of both.
        cpu_s: CPU seconds that these took.
        fault: Why nothing more can be played; empty when it can.
    """

    stores: Stores
    experiment: Experiment
    progress: Progress
    challenger: Manifest
    champion: Manifest
    num_episodes: int = 0
    cpu_s: float = 0.0
    fault: str = ""

    def play_on(self, tasks: Sequence[str], look: int) -> tuple[Further, Further]:
        """Let both play the next seeds of these tasks, as ``tasks.looks.PlayOn`` says.

        Raises:
            RuntimeError: If games fail; the others are stored and found again.
        """
        if self.champion.metadata["vocabulary_digest"] != self.challenger.metadata["vocabulary_digest"]:
            self.fault = "the champion plays no more, as its tokens are not those of today's shards"
            return {}, {}
        digests = self.challenger.digest, self.champion.metadata["checkpoint"]
        games = [Game(digest, task, look) for task in tasks for digest in digests]
        games = [game for game in games if game.seeds(self.experiment)]
        if not games:
            self.fault = "there are no more samples that are held out"
        missing = [game for game in games if game.find(self.stores, self.experiment) is None]
        self._play(missing, f"contest, look {look + 1} of {self.experiment.rules.more_looks + 1}")
        for game in games:
            made = game.folder(self.stores, self.experiment).read()
            self.num_episodes += made.metadata["num_episodes"]
            self.cpu_s += made.metadata["cpu_seconds"]
        return recall(self.stores, self.experiment, digests, tasks, look)

    def _play(self, games: Sequence[Game], name: str) -> None:
        processes = min(count_processes(self.experiment, one) for one in (self.challenger, self.champion))
        player = _Player(self.stores.root, self.experiment.model_dump())
        with start_workers(player, num_processes=processes, block=1) as workers:
            outcomes = self.progress.track(name, workers.map(games), total=len(games), unit="tasks of both")
            failed = [
                f"  {game.task}, checkpoint {game.checkpoint[:12]}: {outcome.reason.strip()}"
                for game, outcome in zip(games, outcomes, strict=True)
                if isinstance(outcome, Failure)
            ]
        if failed:
            raise RuntimeError(
                f"{name}: {len(failed)} of {len(games)} failed, the others are stored:\n" + "\n".join(failed)
            )


def recall(
    stores: Stores, experiment: Experiment, digests: tuple[str, str], tasks: Sequence[str], look: int
) -> tuple[Further, Further]:
    """Return what two checkpoints played for one look, of those of the tasks where it is stored and whole."""
    ours, theirs = (_recall_one(stores, experiment, digest, tasks, look) for digest in digests)
    return ours, theirs


def _recall_one(stores: Stores, experiment: Experiment, digest: str, tasks: Sequence[str], look: int) -> Further:
    store, found = ChampionStore(stores.locations.champions), {}
    for task in tasks:
        with suppress(ManifestError):  # then the contest rests on fewer episodes, and comes out as it does with these
            files = store.games(experiment.name, digest, task, look).open()
            found[task] = {int(seed): value for seed, value in json.loads(files.path(_RETURNS).read_bytes()).items()}
    return found


@dataclass(frozen=True)
class Game:
    """What one checkpoint plays in one task for one look.

    Args:
        checkpoint: Its digest.
        task: Id of the task.
        look: From 1 on.
    """

    checkpoint: str
    task: str
    look: int

    def seeds(self, experiment: Experiment) -> range:
        """Return the seeds that double those before; of samples that are held out, none a second time."""
        played = experiment.num_evaluation_episodes * 2 ** (self.look - 1)
        there = count_held_out(get_task(self.task))
        end = 2 * played if there is None else min(2 * played, there)
        return range(EVALUATION_SEED + played, EVALUATION_SEED + end)

    def folder(self, stores: Stores, experiment: Experiment) -> StoredFolder:
        """Return where it is stored."""
        store = ChampionStore(stores.locations.champions)
        return store.games(experiment.name, self.checkpoint, self.task, self.look)

    def find(self, stores: Stores, experiment: Experiment) -> Manifest | None:
        """Return its manifest when it was played from the same recipe."""
        return self.folder(stores, experiment).find(self.recipe(stores, experiment))

    def recipe(self, stores: Stores, experiment: Experiment) -> dict[str, Any]:
        """Return what determines it; the prompt is today's, as the tokens of the champion's own may be gone."""
        seeds = self.seeds(experiment)
        return {
            "code_version": CODE_VERSION,
            "checkpoint": self.checkpoint,
            "task": self.task,
            "task_code_version": get_task(self.task).code_version,
            "prompted_from": stores.shards.read_task(self.task).manifest.digest,
            "first_seed": seeds.start,
            "num_episodes": len(seeds),
            "num_slots": experiment.num_evaluation_episodes,
        }

    def make(self, stores: Stores, experiment: Experiment) -> None:
        """Play it, and store its returns."""
        begun, seeds, task = time.process_time(), self.seeds(experiment), get_task(self.task)
        model = _load(stores, experiment, self.checkpoint)
        played = play(stores, *model, task, seeds, num_slots=experiment.num_evaluation_episodes)
        returns = {episode.seed: episode.total_return for episode in played}

        def fill(folder: Path) -> dict[str, Any]:
            (folder / _RETURNS).write_text(json.dumps(returns, indent=1))
            return {"num_episodes": len(returns), "cpu_seconds": round(time.process_time() - begun, 2)}

        self.folder(stores, experiment).write(fill, recipe=self.recipe(stores, experiment))


@dataclass(frozen=True)
class _Player:
    """Plays and stores a game in a process of another machine, or of this one."""

    root: str
    experiment: Mapping[str, Any]

    def __call__(self, game: Game) -> None:
        game.make(Stores(root=self.root), Experiment(**self.experiment))


def _load(stores: Stores, experiment: Experiment, digest: str) -> tuple[Checkpoint, TextTokenizer]:
    from db1_model.checkpoint import load_checkpoint  # imports torch
    from db1_model.text import FILE_NAME, TextTokenizer

    kept = ChampionStore(stores.locations.champions).kept(experiment.name, digest)
    if kept.exists:
        files = kept.open()
        return load_checkpoint(files), TextTokenizer.load(files.path(FILE_NAME))
    if (found := checkpoint_folder(stores, experiment).read().digest) != digest:
        fault = f"it is {found[:12]} now, the challenger was {digest[:12]}"
        raise ManifestError("checkpoint", experiment.name, fault)
    return load_model(stores, experiment)
