from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

PROOF_EPISODES = 20
"""Episodes of each policy without which nothing is proven."""

_STANDARD_ERRORS = 2.0


def find_doubt(reference_scores: Mapping[str, Mapping[str, Any]], floor: str) -> str | None:
    """Return why a task's expert is not proven to be one; None when it is.

    An expert is proven when on equal seeds its mean return is above the random policy's, and above the floor's, by more
    than two standard errors of the paired difference, over at least ``PROOF_EPISODES`` seeds.

    Args:
        reference_scores: What ``measure_reference_scores`` returned.
        floor: Name of the reference score that counts as 0.
    """
    expert = reference_scores["expert"]
    for name in dict.fromkeys(("random", floor)):
        rival = reference_scores[name]
        returns = dict(zip(rival["seeds"], rival["returns"], strict=True))
        pairs = [
            (mine, returns[seed])
            for seed, mine in zip(expert["seeds"], expert["returns"], strict=True)
            if seed in returns
        ]
        if len(pairs) < PROOF_EPISODES:
            return f"{len(pairs)} evaluation episodes of the expert and {name}, expected at least {PROOF_EPISODES}"
        differences = np.subtract(*np.transpose(pairs))
        margin = float(_STANDARD_ERRORS * differences.std(ddof=1) / np.sqrt(len(pairs)))
        if not (ahead := float(differences.mean())) > margin:
            return f"the expert is {ahead:.4g} ahead of {name}, expected more than {margin:.4g} (two standard errors)"
    return None
