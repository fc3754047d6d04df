from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from db1_model.transformer import DB1

Mask = NDArray[np.bool_] | None
"""The legal values of a discrete action, shape (values,), or None when all are legal."""


class Choice(NamedTuple):
    """Neighbouring rows of a pass whose legal tokens are one range.

    Args:
        rows: The rows.
        first: First token of the range.
        last: The token after its last.
        forbidden: What masks forbid, bool of shape (rows, tokens of the range), or None.
    """

    rows: slice
    first: int
    last: int
    forbidden: Tensor | None


def find_choices(
    slots: Sequence[int], legal: Sequence[tuple[int, int]], masks: Sequence[Mask], device: torch.device
) -> list[Choice]:
    """Gather neighbouring rows whose legal tokens are the same range.

    Args:
        slots: The slot of each row.
        legal: The first legal token of each row, and the one after the last.
        masks: What of it is legal now.
        device: Where the model computes.

    Raises:
        ValueError: If a mask allows no action.
    """
    choices: list[Choice] = []
    for (first, last), group in groupby(range(len(slots)), key=lambda row: legal[row]):
        members = list(group)
        forbidden = None
        if any(masks[row] is not None for row in members):
            allowed = np.array([np.ones(last - first, bool) if masks[row] is None else masks[row] for row in members])
            if not allowed.any(1).all():
                raise ValueError(f"the mask of slot {slots[members[int(allowed.any(1).argmin())]]} allows no action")
            forbidden = torch.from_numpy(~allowed).to(device, non_blocking=True)
        choices.append(Choice(slice(members[0], members[-1] + 1), first, last, forbidden))
    return choices


def choose_tokens(
    model: DB1, hidden: Tensor, choices: Sequence[Choice], *, temperature: float, generator: torch.Generator
) -> Tensor:
    """Choose a legal token for each of the first rows.

    Args:
        model: The model, whose head gives the logits.
        hidden: Hidden states of these rows, shape (rows, width).
        choices: Those of all rows.
        temperature: 0 takes the likeliest token; above it, tokens are drawn with logits over the temperature.
        generator: What draws them.

    Returns:
        The tokens, int64 of shape (rows,).
    """
    tokens = []
    for rows, first, last, forbidden in choices:
        logits = model.logits(hidden[rows], first, last).float()
        if forbidden is not None:
            logits = logits.masked_fill(forbidden[: len(logits)], -torch.inf)
        if temperature == 0:
            tokens.append(logits.argmax(-1) + first)
        else:
            p = torch.softmax(logits / temperature, -1)
            tokens.append(torch.multinomial(p, 1, generator=generator).squeeze(1) + first)
        if rows.stop >= len(hidden):
            break
    return tokens[0] if len(tokens) == 1 else torch.cat(tokens)
