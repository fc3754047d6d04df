from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Literal, TypeVar

import dagster as dg
from pydantic import Field, PrivateAttr

from db1_model.config import ModelConfig, TrainingConfig
from db1_model.presets import get_preset
from storage.locations import Locations
from storage.shards import SHARD_BYTES, ShardStore
from storage.tokens import TokenStore
from storage.trajectories import TrajectoryStore
from tasks.contest import Rules
from tasks.registry import select_tasks

Item = TypeVar("Item")


class Stores(dg.ConfigurableResource):
    """Opens what the pipeline has made and will make."""

    root: str = Field(default="data", description="Folder of everything that is made: a path, or s3://bucket/folder.")

    @classmethod
    def from_environment(cls) -> Stores:
        """Open the data root that the environment variable ``DB1_DATA`` names; see ``Locations``."""
        return cls(root=Locations.from_environment().root)

    @property
    def locations(self) -> Locations:
        """The place of each kind of thing."""
        return Locations(self.root)

    @property
    def trajectories(self) -> TrajectoryStore:
        """The experts' episodes."""
        return TrajectoryStore(self.locations.trajectories)

    @property
    def tokens(self) -> TokenStore:
        """The experts' episodes as tokens."""
        return TokenStore(self.locations.tokens)

    @property
    def shards(self) -> ShardStore:
        """The tokens, packed for training."""
        return ShardStore(self.locations.shards)

    @property
    def evaluation(self) -> TrajectoryStore:
        """The model's episodes."""
        return TrajectoryStore(self.locations.evaluation)


class Experiment(dg.ConfigurableResource):
    """What is made, of which tasks, and how large: the one place where a run is set up."""

    name: str = Field(default="demo", description="Name of the tokenizer, shard index, checkpoint and report.")
    tasks: str = Field(default="demo", description="Selections, families or task ids, with commas between.")
    num_episodes: int = Field(default=0, description="Expert episodes a task; 0 leaves it to the task.")
    num_evaluation_episodes: int = Field(default=20, description="Episodes that a score is the mean of.")
    only_proven: bool = Field(
        default=False, description="Train and evaluate on the tasks whose expert is proven; the others are listed."
    )
    specialist_share: float = Field(default=1.0, description="Share of its recipe's steps that a specialist trains.")
    tour_tier: Literal["", "fast", "certified", "proven"] = Field(
        default="",
        description="How far training tours are certified; by default proven up to 100 nodes, certified above.",
    )
    num_processes: int = Field(default=0, description="Processes of a stage; 0 is one a core.")
    minimum_return_share: float = Field(
        default=0.0,
        description="Train on episodes this share of the way from floor to expert; Gato's is 0.8, 0 is all.",
    )
    replace_imported: bool = Field(default=False, description="Let experts play also where episodes were imported.")
    shard_bytes: int = Field(default=SHARD_BYTES, description="Largest size of a shard; 512,000,000 for terabytes.")
    compression: str = Field(default="blosc-zstd", description="Of the shards: blosc-zstd, or none.")
    training: dict[str, Any] = Field(default={}, description="Fields of TrainingConfig that differ from its defaults.")
    contest: dict[str, Any] = Field(
        default={}, description="Fields of Rules in tasks/contest.py, by which a new checkpoint may serve."
    )
    keep_champions: int = Field(default=3, description="Checkpoints that serve or served before and are kept.")

    @property
    def task_ids(self) -> tuple[str, ...]:
        """Ids of the experiment's tasks."""
        return select_tasks(self.tasks)

    @property
    def training_config(self) -> TrainingConfig:
        """The training run's choices."""
        return TrainingConfig.from_json(self.training)

    @property
    def rules(self) -> Rules:
        """When a new checkpoint takes the champion's place."""
        return Rules.from_json(self.contest)

    @property
    def model(self) -> ModelConfig:
        """Sizes of the model that is trained."""
        return get_preset(self.training_config.preset)

    @property
    def processes(self) -> int:
        """Processes that a stage may start."""
        return self.num_processes or os.cpu_count() or 1


class Progress(dg.ConfigurableResource):
    """Tells in Dagster's log how far a stage is."""

    every_s: float = Field(default=10.0, description="Seconds between two lines about the same thing.")
    _log: Any = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Take the run's log."""
        self._log = context.log

    def track(self, name: str, items: Iterable[Item], *, total: int, unit: str) -> Iterator[Item]:
        """Yield the items, and tell how it goes: ``control/CartPole: 120/200 episodes, 17.3/s, 0:00:05 left``."""
        begun = told = time.perf_counter()
        for done, item in enumerate(items, start=1):
            yield item
            now = time.perf_counter()
            if now - told >= self.every_s or done == total:
                self.say(describe_pace(name, done, total, unit, now - begun))
                told = now

    def say(self, line: str) -> None:
        """Tell one line."""
        self._log.info(line)


def describe_pace(name: str, done: int, total: int, unit: str, elapsed_s: float) -> str:
    """Return how much is done, at which rate, and what time is left at that rate."""
    left = timedelta(seconds=round((total - done) * elapsed_s / done))
    return f"{name}: {done}/{total} {unit}, {done / elapsed_s:.1f}/s, {left} left"


class Launcher(dg.ConfigurableResource, ABC):
    """Starts the training process somewhere, and waits for it."""

    @abstractmethod
    def train(
        self, context: dg.AssetExecutionContext, configuration: Mapping[str, Any], progress: Progress
    ) -> dg.MaterializeResult:
        """Train, and return what the process reported of its checkpoint.

        Args:
            context: The asset's context, through which the process reports.
            configuration: What ``db1_model.train`` reads.
            progress: Gets each line that the process prints.

        Raises:
            RuntimeError: If the process fails, or ends without reporting its checkpoint.
        """
