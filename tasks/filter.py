from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from storage.episode import Episode
from storage.trajectories import StoredTrajectory

_LONGEST_WINDOW = 1000


class NothingToLearnError(ValueError):
    """No episode of a task is good enough to learn from."""


class FilteredEpisodes(Sequence[Episode]):
    """The stored episodes of a task whose return is good enough to learn from, in their order.

    Gato keeps an episode whose return is at least 80 % of the expert's, and takes for the expert's the best mean of a
    window of consecutive episodes. Returns may be negative here, and chance is not 0, so the share is one of the way
    from the floor's mean return to the expert's: 0.8 keeps returns of at least ``floor + 0.8 (expert - floor)``, which
    is Gato's rule where the floor is 0.

    Args:
        episodes: The task's trajectories.
        minimum_return_share: Share of the way from the floor to the expert, at most 1; 0 keeps all, also what is below
            the floor.

    Raises:
        ValueError: If the share is not in 0..1.
        NothingToLearnError: If the expert is not above the floor.

    Source:
        Reed et al., "A generalist agent", arXiv:2205.06175: expert performance is the largest mean return of
        ``min(1000, a tenth of the episodes)`` consecutive episodes.
    """

    def __init__(self, episodes: StoredTrajectory, minimum_return_share: float = 0.0) -> None:
        if not 0.0 <= minimum_return_share <= 1.0:
            raise ValueError(f"minimum_return_share is {minimum_return_share}; expected 0..1, such as Gato's 0.8")
        self._episodes = episodes
        self._facts: dict[str, Any] = {}
        self.places: NDArray[np.int64] = np.arange(len(episodes))
        """Where the kept episodes stand among all, shape (kept,)."""
        if minimum_return_share > 0.0:
            self._choose(episodes.manifest.metadata, episodes.manifest.name, minimum_return_share)

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> list[Episode]: ...
    def __getitem__(self, index: int | slice) -> Episode | list[Episode]:
        if isinstance(index, slice):
            return [self._episodes[int(place)] for place in self.places[index]]
        return self._episodes[int(self.places[index])]

    def facts(self) -> Mapping[str, Any]:
        """Return counts and scores as JSON values; nothing when all episodes are kept unseen."""
        return self._facts

    def _choose(self, metadata: Mapping[str, Any], name: str, share: float) -> None:
        returns, floor = self._episodes.total_returns, float(metadata["reference_scores"][metadata["floor"]]["mean"])
        expert = best_windowed_mean(returns)
        if expert <= floor:
            raise NothingToLearnError(
                f"task {name!r}: no episode can be kept, for the best windowed mean return of its {len(returns)} "
                f"episodes is {expert:.6g}, expected more than {metadata['floor']}'s {floor:.6g}; leave the task out, "
                "or set minimum_return_share to 0"
            )
        threshold = min(floor + share * (expert - floor), expert)
        self.places = np.flatnonzero(returns >= threshold)
        self._facts = {
            "episodes_kept": len(self.places),
            "episodes_dropped": len(returns) - len(self.places),
            "minimum_return": threshold,
            "expert_return": expert,
            "floor_return": floor,
        }


def best_windowed_mean(returns: NDArray[np.float64]) -> float:
    """Return the largest mean of ``min(1000, a tenth of the episodes)`` consecutive returns, at least one."""
    width = max(1, min(_LONGEST_WINDOW, len(returns) // 10))
    windows = np.lib.stride_tricks.sliding_window_view(returns, width)
    return float(min(windows.mean(axis=1).max(), returns.max()))
