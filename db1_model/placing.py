from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def place_sequences(
    steps: NDArray[np.uint16],
    counts: NDArray[np.int64],
    prompts: NDArray[np.int64],
    rows: NDArray[np.int64],
    sources: NDArray[np.int32],
    local_positions: NDArray[np.int32],
    is_target: NDArray[np.bool_],
    padding: NDArray[np.int32],
    tokens: NDArray[np.int32],
    positions: NDArray[np.int32],
    loss_mask: NDArray[np.bool_],
    labels: NDArray[np.int64],
) -> None:
    """Fill in rows of a batch from the steps of one task; L is the context length.

    Args:
        steps: Stored tokens, shape (sequences, steps, tokens a step).
        counts: How many of its steps each sequence has, shape (sequences,).
        prompts: How many of these are a prompt, shape (sequences,).
        rows: The row of the batch that each sequence takes, shape (sequences,).
        sources: The column of each position of a step; a negative one is the token itself.
        local_positions: Local positions of a full sequence, shape (L,).
        is_target: Loss mask of a full sequence, shape (L,).
        padding: Tokens after the last step, shape (L + 1,).
        tokens: Batch of shape (batch, L), as the other three.
        positions: See ``TokenSequence``, as the other two.
        loss_mask: See there.
        labels: See there.
    """
    length, size, width = tokens.shape[1], len(sources), steps.shape[2]
    plain = size == width  # every stored token has a position, and no position is without one
    for place in range(size):
        plain = plain and sources[place] == place
    for number in range(len(rows)):
        row = rows[number]
        end = min(counts[number] * size, length + 1)
        flat = steps[number].reshape(-1)
        shown, said = tokens[row], labels[row]
        seen = min(end, length)
        if plain:
            for i in range(seen):
                shown[i] = flat[i]
            for i in range(1, end):
                said[i - 1] = flat[i]
        else:
            i, base = 0, 0
            while i < end:
                for place in range(min(size, end - i)):
                    source = sources[place]
                    token = np.int32(flat[base + source]) if source >= 0 else source
                    if i < length:
                        shown[i] = token
                    if i > 0:
                        said[i - 1] = token
                    i += 1
                base += width
        shown[end:] = padding[end:length]
        for i in range(end, length + 1):
            said[i - 1] = padding[i]
        positions[row, :seen] = local_positions[:seen]
        positions[row, seen:] = 0
        trained = max(prompts[number] * size - 1, 0)
        loss_mask[row, :trained] = False
        loss_mask[row, trained : end - 1] = is_target[trained : end - 1]
        loss_mask[row, end - 1 :] = False
