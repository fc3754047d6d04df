from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PROOF_EPISODES = 20
"""Episodes of each policy without which nothing is proven."""

_STANDARD_ERRORS = 2.0


def find_doubt(reference_scores: Mapping[str, Mapping[str, Any]], floor: str) -> str | None:
    """Return why a task's expert is not proven to be one; None when it is.

    An expert is proven when on equal seeds its mean return is above the random policy's, and above the floor's, by more
    than two standard errors of the paired difference, over at least ``PROOF_EPISODES`` seeds. Imported episodes, whose
    score says ``paired: false``, share no seeds with anybody: there the standard error is that of the difference of the
    means of two independent samples of unequal variances, each of at least ``PROOF_EPISODES``. How hard the instances
    are then counts as noise, so this takes more to prove.

    Args:
        reference_scores: What ``measure_reference_scores`` returned, or an import.
        floor: Name of the reference score that counts as 0.

    Source:
        Welch, "The generalization of 'Student's' problem when several different population variances are involved",
        1947.
    """
    expert = reference_scores["expert"]
    for name in dict.fromkeys(("random", floor)):
        rival = reference_scores[name]
        if not expert.get("paired", True):
            if doubt := _doubt_unpaired(expert["returns"], rival["returns"], name):
                return doubt
            continue
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


def _doubt_unpaired(expert: Sequence[float], rival: Sequence[float], name: str) -> str | None:
    if (fewest := min(len(expert), len(rival))) < PROOF_EPISODES:
        return (
            f"{fewest} episodes of the expert or {name}, on unequal seeds, expected at least {PROOF_EPISODES} of each"
        )
    variances = [np.var(returns, ddof=1) / len(returns) for returns in (expert, rival)]
    margin = float(_STANDARD_ERRORS * np.sqrt(sum(variances)))
    if not (ahead := float(np.mean(expert) - np.mean(rival))) > margin:
        return (
            f"the expert is {ahead:.4g} ahead of {name}, expected more than {margin:.4g} (two standard errors, on "
            "unequal seeds)"
        )
    return None
