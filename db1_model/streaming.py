from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from db1_model.precision import blas_float32
from db1_model.ring import Asked, Run
from db1_model.rotary import rotate


class Step:
    """What the layers of one step remember and attend to; its positions stand row after row.

    Args:
        keys: The memory's, shape (rows, heads, d, columns) for every layer.
        values: The memory's, shape (rows, heads, columns, d) for every layer.
        relative_keys: Keys of the distances 0, 1, ..., divided by the root of d, for every layer: shape (heads, d,
            distances); none with rope.
        rows: The row of each position, int64 of shape (positions,).
        columns: The column that it takes in its row, of the same shape.
        everything: All positions.
        last: The positions asked for in the last layer.
        rotations: With rope, those of the positions: shape (positions, 1, 1, 2, d / 2).
    """

    def __init__(
        self,
        keys: Sequence[Tensor],
        values: Sequence[Tensor],
        relative_keys: Sequence[Tensor],
        rows: Tensor,
        columns: Tensor,
        everything: Asked,
        last: Asked,
        rotations: Tensor | None,
    ) -> None:
        self._keys, self._values, self._relative_keys = keys, values, relative_keys
        self._rows, self._columns = rows, columns
        self._everything, self._last = everything, last
        self._rotations = rotations

    def narrow(self, layer: int, x: Tensor) -> Tensor:
        """Return those of the positions that are asked for in a layer.

        Args:
            layer: The layer.
            x: Shape (positions, ...).
        """
        places = self._asked(layer).places
        return x if places is None else x[places]

    def attend(self, layer: int, query_key_value: Tensor, *biases: Tensor) -> Tensor:
        """Remember the step's keys and values in a layer, and return the attention of the positions asked for.

        Args:
            layer: The layer.
            query_key_value: Shape (positions, 3, heads, d).
            *biases: The content and the position bias, shape (heads, d) each; none with rope.

        Returns:
            Shape (positions asked for, heads * d).
        """
        q, k, v = query_key_value.unbind(1)
        if self._rotations is not None:
            q, k = rotate(query_key_value[:, :2], self._rotations).unbind(1)
        keys, values = self._keys[layer], self._values[layer]
        keys.permute(0, 3, 1, 2)[self._rows, self._columns] = k
        values.transpose(1, 2)[self._rows, self._columns] = v
        q, asked = self.narrow(layer, q), self._asked(layer)
        by_distance = None
        if biases:
            content_bias, position_bias = biases
            relative_keys = self._relative_keys[layer][:, :, : asked.num_distances]
            by_distance = _multiply((q + position_bias).transpose(0, 1), relative_keys)  # (heads, positions, distances)
            by_distance[:, :, -1] = -torch.inf
            q = q + content_bias
        q = q * q.shape[-1] ** -0.5
        attended = [_attend(q, keys, values, by_distance, run) for run in asked.runs]
        return attended[0] if len(attended) == 1 else torch.cat(attended)

    def _asked(self, layer: int) -> Asked:
        return self._last if layer == len(self._keys) - 1 else self._everything


def _attend(q: Tensor, keys: Tensor, values: Tensor, by_distance: Tensor | None, run: Run) -> Tensor:
    """Return the attention of a run, shape (rows * queries, heads * d).

    Args:
        q: Queries of the step, divided by the root of d, shape (positions, heads, d).
        keys: Of a layer, as in ``Step``.
        values: Of a layer, as in ``Step``.
        by_distance: The part of the scores that depends on the distance, float32 of shape (heads, positions,
            distances), minus infinity at the last; None with rope.
        run: The rows and what they see.
    """
    heads, d = q.shape[1:]
    num_keys = run.distances.shape[-1]
    q = q[run.places].unflatten(0, (-1, run.queries)).transpose(1, 2)  # (rows, heads, queries, d)
    keys, values = keys[run.rows, :, :, :num_keys].flatten(0, 1), values[run.rows, :, :num_keys].flatten(0, 1)
    scores = _multiply(q.reshape(-1, run.queries, d), keys).view(-1, heads, run.queries, num_keys)
    if run.hidden is not None:
        scores += run.hidden
    if by_distance is not None:
        by_row = by_distance[:, run.places].unflatten(1, (-1, run.queries)).transpose(0, 1)
        scores += by_row.gather(-1, run.distances.expand_as(scores))
    p = torch.softmax(scores, -1).to(values.dtype)
    attended = torch.bmm(p.flatten(0, 1), values).view(-1, heads, run.queries, d)
    return attended.transpose(1, 2).reshape(-1, heads * d)


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the products of two batches of matrices in float32, so that none of half precision overflows."""
    if a.dtype != torch.float32:
        return torch.bmm(a, b, out_dtype=torch.float32) if a.is_cuda else torch.bmm(a.float(), b.float())
    if a.shape[1] > 1:
        return torch.bmm(a, b)
    with blas_float32():
        return torch.bmm(a, b)
