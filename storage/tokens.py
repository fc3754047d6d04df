from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.arrays import ArrayWriter
from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import Manifest, canonical_json
from storage.stored_episodes import StoredEpisodes

KIND = "tokens"


@dataclass(frozen=True)
class TokenEpisode:
    """An episode as tokens.

    Args:
        tokens: uint16 of shape (T, tokens a step); the places of image patches are left out, the layout knows them.
        images: uint8 of shape (T, height, width, 3), or None when the task shows no images.
        seed: Seed of the episode.
        total_return: Sum of the episode's rewards.
    """

    tokens: NDArray[np.uint16]
    images: NDArray[np.uint8] | None
    seed: int
    total_return: float

    def __len__(self) -> int:
        return len(self.tokens)


class TokenStore:
    """Tokenized episodes in Zarr v3, one group a task.

    A group holds ``tokens`` and, for a task with images, ``images`` with one row a step, all episodes end to end;
    ``episode_offsets`` (episodes + 1); ``seeds`` and ``total_returns`` with one entry an episode; and the task and its
    layout in the attributes.

    Args:
        root: Where the tasks lie, such as ``Locations().tokens``.
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self, task: str, recipe: Mapping[str, Any]) -> Manifest | None:
        """Return the manifest when the task's tokens are complete, sound and made from exactly this recipe."""
        return StoredFolder(self.root, KIND, task).find(recipe)

    def write(
        self,
        task: str,
        layout: Mapping[str, Any],
        episodes: Iterable[TokenEpisode],
        *,
        recipe: Mapping[str, Any],
        metadata: Mapping[str, Any] | Callable[[], Mapping[str, Any]],
    ) -> Manifest:
        """Write the tokenized episodes of a task in place of those that were there.

        Args:
            task: Id of the task.
            layout: What the tokens of a step are, as JSON values.
            episodes: At least one episode, in the order in which they are stored; all with equal shapes of a step.
            recipe: What the tokens are made from: configuration, code version, digests of inputs.
            metadata: Anything else worth knowing, or a function that returns it once the episodes are written. The
                numbers of episodes, transitions and tokens are added to it.

        Raises:
            ValueError: If an episode is not as ``TokenEpisode`` says or unlike the first. What was stored before stays.
        """

        def fill(folder: Path) -> Mapping[str, Any]:
            writer = ArrayWriter(folder, json.loads(canonical_json({"task": task, "layout": dict(layout)})))
            num_episodes, num_transitions, num_tokens = 0, 0, 0
            writer.append("episode_offsets", np.zeros(1, dtype=np.int64))
            first: TokenEpisode | None = None
            for episode in episodes:
                first = first or episode
                _check(episode, first, f"episode {num_episodes} (seed {episode.seed}) of task {task!r}")
                num_episodes, num_transitions = num_episodes + 1, num_transitions + len(episode)
                num_tokens += episode.tokens.size
                writer.append("episode_offsets", np.array([num_transitions]))
                writer.append("tokens", episode.tokens)
                if episode.images is not None:
                    writer.append("images", episode.images)
                writer.append("seeds", np.array([episode.seed], dtype=np.int64))
                writer.append("total_returns", np.array([episode.total_return], dtype=np.float64))
            if first is None:
                raise ValueError(f"no tokenized episodes of task {task!r} to store; expected at least one")
            writer.close()
            counts = {"num_episodes": num_episodes, "num_transitions": num_transitions, "num_tokens": num_tokens}
            return {**(metadata() if callable(metadata) else metadata), **counts}

        return StoredFolder(self.root, KIND, task).write(fill, recipe=recipe)

    def read(self, task: str) -> StoredTokens:
        """Open the tokenized episodes of a task.

        Raises:
            ManifestError: If they are missing, incomplete or damaged.
        """
        return StoredTokens(StoredFolder(self.root, KIND, task).open())

    def tasks(self) -> list[str]:
        """Return the sorted ids of the tasks that have tokens here."""
        return stored_names(self.root)


class StoredTokens(StoredEpisodes[TokenEpisode]):
    """The stored tokens of a task; see ``StoredEpisodes``."""

    def __init__(self, files: StoredFiles) -> None:
        super().__init__(files)
        self.layout: dict[str, Any] = self._arrays.attributes["layout"]

    def steps(self, index: int) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
        """Return the tokens and the images of an episode; nothing else of it is read."""
        steps = self._read_steps(index)
        return steps["tokens"], steps.get("images")

    def _episode(self, index: int) -> TokenEpisode:
        tokens, images = self.steps(index)
        return TokenEpisode(tokens, images, seed=int(self.seeds[index]), total_return=float(self.total_returns[index]))

    @property
    def _rows(self) -> Sequence[str]:
        has_images = any(file.path.startswith("images/") for file in self.manifest.files)
        return ("tokens", "images") if has_images else ("tokens",)


def _check(episode: TokenEpisode, first: TokenEpisode, where: str) -> None:
    tokens, images = episode.tokens, episode.images
    if tokens.dtype != np.uint16 or tokens.ndim != 2 or tokens.shape[1:] != first.tokens.shape[1:] or tokens.size == 0:
        raise ValueError(
            f"{where} has tokens {tokens.dtype} {tokens.shape}, expected uint16 of shape "
            f"(T >= 1, {first.tokens.shape[-1]} tokens a step)"
        )
    expected = None if first.images is None else (len(tokens), *first.images.shape[1:])
    if (None if images is None else images.shape) != expected or (images is not None and images.dtype != np.uint8):
        found = None if images is None else f"{images.dtype} {images.shape}"
        raise ValueError(f"{where} has images {found}, expected {expected and f'uint8 {expected}'}")
    if not np.isfinite(episode.total_return):
        raise ValueError(f"{where} has the return {episode.total_return}, expected a finite number")
