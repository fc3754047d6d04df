from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from storage.folder import StoredFolder
from storage.locations import Locations
from storage.manifest import ManifestError
from storage.trajectories import KIND, StoredTrajectory, TrajectoryStore
from tasks.corpora.lesson import Turn
from tasks.corpora.overlap import words_in_common
from tasks.corpora.prose import Document, documents
from tasks.task import EVALUATION_SEED, Expert, Task

FORMAT_OF = {"text/own": "text", "captions/own": "pairs", "dialogue/own": "messages"}
"""The tasks whose episodes are a user's own, and the format in which each is imported."""

IMAGE_SHAPE = (64, 64, 3)
"""Height, width and 3 of the pictures of ``captions/own``."""

LONGEST_READ = 20_000
"""Most characters of a held-out document that are read in an evaluation, from its beginning."""

_SAMPLED_EPISODES, _SAMPLED_CHARACTERS = 2_000, 2_000  # from which a tokenizer learns; characters of a text

_DESCRIPTIONS = {
    "text/own": "Predict documents of your own; minus the bits per byte.",
    "captions/own": "Describe pictures of your own; the words in common with the caption.",
    "dialogue/own": "Answer as the assistant of talks of your own does; the words in common with its answer.",
}
_TOKENS = {"text/own": (0, 0), "captions/own": (0, 48), "dialogue/own": (47, 48)}  # of a question, of an answer
_FLOORS = {"text/own": "unigram", "captions/own": "shuffled", "dialogue/own": "shuffled"}


def describe_own(task_id: str, root: str = "") -> Task:
    """Return the task of a user's own data.

    Args:
        task_id: One of ``FORMAT_OF``.
        root: The data root whose held-out samples its environment shows; empty for that of the environment variable.
    """
    floor, (text_tokens, answer_tokens) = _FLOORS[task_id], _TOKENS[task_id]
    return Task(
        id=task_id,
        make_environment=partial(_make_environment, task_id, root),
        make_expert=partial(_make_expert, task_id, is_floor=False),
        expert_route="imported",
        num_episodes=1,
        description=_DESCRIPTIONS[task_id],
        licence="LicenseRef-own",
        code_version="1",
        baselines={floor: partial(_make_expert, task_id, is_floor=True)},
        floor=floor,
        text_tokens=text_tokens,
        answer_tokens=answer_tokens,
    )


class HeldOut:
    """A user's own samples that are kept from training, as episodes; they are opened when one is first asked for.

    Args:
        task_id: Id of the task.
        root: The data root; empty for that of the environment variable.
    """

    def __init__(self, task_id: str, root: str = "") -> None:
        self._task_id, self._root = task_id, root

    def episode(self, seed: int) -> Episode:
        """Return the episode of an evaluation seed; seeds beyond the last begin again.

        Raises:
            ValueError: If it is a seed below ``EVALUATION_SEED``, or nothing was imported.
        """
        if seed < EVALUATION_SEED:
            raise ValueError(
                f"the training episodes of task {self._task_id!r} are imported, seed {seed} has none; expected a seed "
                f"from {EVALUATION_SEED} on, or import them with:\n  {import_command(self._task_id)}"
            )
        return self.stored[(seed - EVALUATION_SEED) % len(self.stored)]

    @cached_property
    def stored(self) -> StoredTrajectory:
        """The episodes.

        Raises:
            ValueError: If nothing was imported, or something else than the trajectories that are there.
        """
        locations = Locations(self._root) if self._root else Locations.from_environment()
        try:
            if self._root or is_paired(locations, self._task_id):
                return TrajectoryStore(locations.corpora).read(self._task_id)
            fault = "they are missing, or of another import than the trajectories"
        except ManifestError as error:
            fault = error.fault
        raise ValueError(
            f"no held-out samples of task {self._task_id!r} ({fault}); import your own with:\n"
            f"  {import_command(self._task_id)} --replace"
        )


class OwnTexts:
    """A user's documents that are held out; see ``Library``."""

    def __init__(self, held_out: HeldOut) -> None:
        self._held_out = held_out

    def draw(self, seed: int) -> Document:
        """See ``Library``; of a long document the beginning."""
        episode = self._held_out.episode(seed)
        return Document(str(episode.actions[0])[:LONGEST_READ], str(episode.provenance["imported_from"]))

    def byte_counts(self) -> NDArray[np.int64]:
        """See ``Library``."""
        return np.array(self._held_out.stored.manifest.metadata["byte_counts"])

    def facts(self) -> Mapping[str, Any]:
        """See ``Library``."""
        return {}


class OwnLessons:
    """A user's pairs or talks that are held out; see ``Course``."""

    def __init__(self, held_out: HeldOut, *, image_shape: tuple[int, int, int] | None, asks: bool) -> None:
        self._held_out, self.image_shape, self.asks = held_out, image_shape, asks

    def draw(self, seed: int) -> Sequence[Turn]:
        """See ``Course``."""
        episode = self._held_out.episode(seed)
        questions = episode.observations.get("question", [""] * len(episode))
        images = episode.observations.get("image", [None] * len(episode))
        return [
            Turn(str(answer), None, str(question), image)
            for answer, question, image in zip(episode.actions, questions, images, strict=True)
        ]

    def judge(self, turn: Turn, answer: str) -> float:
        """See ``Course``."""
        return words_in_common(turn.answer, answer)


def count_held_out(task: Task) -> int | None:
    """Return how many samples a task's evaluation seeds stand for before they begin again; None where they do not."""
    if task.is_own:
        return len(HeldOut(task.id).stored)
    return len(documents()[1]) if task.family == "text" else None


def import_command(task_id: str) -> str:
    """Return the command that brings a user's own data."""
    return f"db1 import FOLDER --as {task_id} --format {FORMAT_OF[task_id]}"


def sample_sentences(trajectories: StoredTrajectory) -> list[str]:
    """Return texts of a user's own training episodes, evenly spread, from which a tokenizer learns its words."""
    places = range(0, len(trajectories), max(1, len(trajectories) // _SAMPLED_EPISODES))
    episodes = (trajectories[place] for place in places)
    said = ([*episode.observations.get("question", ()), *episode.actions] for episode in episodes)
    return [str(text)[:_SAMPLED_CHARACTERS] for texts in said for text in texts]


def is_paired(locations: Locations, task_id: str) -> bool:
    """Return whether what is held out is there, and of the same import as the trajectories."""
    folders = [StoredFolder(root, KIND, task_id) for root in (locations.trajectories, locations.corpora)]
    try:
        first, second = (folder.read_manifest().key for folder in folders)
    except ManifestError:
        return False
    return first == second


def _make_environment(task_id: str, root: str) -> gymnasium.Env:
    from tasks.corpora.environment import LessonEnvironment
    from tasks.corpora.reading import ReadingEnvironment

    held_out = HeldOut(task_id, root)
    if FORMAT_OF[task_id] == "text":
        return ReadingEnvironment(OwnTexts(held_out))
    is_talk = FORMAT_OF[task_id] == "messages"
    return LessonEnvironment(OwnLessons(held_out, image_shape=None if is_talk else IMAGE_SHAPE, asks=is_talk))


def _make_expert(task_id: str, *, is_floor: bool) -> Expert:
    from tasks.corpora.expert import Shuffled, Teacher
    from tasks.corpora.reading import Author, Unigram

    expert, floor = (Author, Unigram) if FORMAT_OF[task_id] == "text" else (Teacher, Shuffled)
    return floor() if is_floor else expert()
