from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

_SHARE_UNITS = 2**48  # shares are whole multiples of this fraction, so that all counting is exact
_MASK = 2**64 - 1
_ROUNDS = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7)  # odd numbers that tell the rounds apart


class Mixture:
    """Which task each global position trains, as a pure function of the position.

    The tasks are the leaves of a Huffman tree. Of the first n positions of a node, round(n w) go to its first child,
    whose share of the node is w, and the others to its second. So a node's count is off by at most 1/2, plus its share
    of its parent's error. In a Huffman tree no inner node has more than 2/3 of its parent, so a task's count after any
    number of positions is less than 1/2 + 3/2 = 2 from its share of them. Memory is O(tasks), a position O(log tasks).

    Args:
        shares: A positive share for each task; they need not add up to 1.

    Raises:
        ValueError: If there is no task or a share is not a positive number.
    """

    def __init__(self, shares: Sequence[float]) -> None:
        if not shares or not all(math.isfinite(share) and share > 0 for share in shares):
            raise ValueError(f"the shares of the tasks are {list(shares)}; expected at least one, all positive")
        total = math.fsum(shares)
        units = [max(1, round(share / total * _SHARE_UNITS)) for share in shares]
        self.num_tasks = len(units)
        self._splits: list[tuple[int, int, int, int]] = []  # (units of the first child, of the node, both children)
        heap = [(unit, task) for task, unit in enumerate(units)]
        heapq.heapify(heap)
        while len(heap) > 1:
            (second_units, second), (first_units, first) = heapq.heappop(heap), heapq.heappop(heap)
            node = self.num_tasks + len(self._splits)
            self._splits.append((first_units, first_units + second_units, first, second))
            heapq.heappush(heap, (first_units + second_units, node))
        self._root = heap[0][1]

    def at(self, position: int) -> tuple[int, int]:
        """Return the task of a global position, and how many earlier positions were this task's."""
        node = self._root
        while node >= self.num_tasks:
            first_units, units, first, second = self._splits[node - self.num_tasks]
            before, rest = divmod(2 * position * first_units + units, 2 * units)
            if rest + 2 * first_units >= 2 * units:  # the first child's count grows at this position
                node, position = first, before
            else:
                node, position = second, position - before
        return node, position

    def counts(self, position: int) -> list[int]:
        """Return how many of the positions before a global position are each task's; O(tasks) whatever the position."""
        counts = [0] * (self.num_tasks + len(self._splits))
        counts[self._root] = position
        for node in range(len(counts) - 1, self.num_tasks - 1, -1):  # a node comes after its children
            first_units, units, first, second = self._splits[node - self.num_tasks]
            counts[first] = (2 * counts[node] * first_units + units) // (2 * units)
            counts[second] = counts[node] - counts[first]
        return counts[: self.num_tasks]


def mix(*values: int) -> int:
    """Return 64 bits that look random, as a function of whole numbers.

    Source:
        The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    state = 0
    for value in values:
        state = (state + (value & _MASK) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def permute(index: int, size: int, key: int) -> int:
    """Return the place of an index in a permutation of ``0..size - 1`` that the key determines.

    Needs no memory: a Feistel network over the next power of two, applied again until the result is below ``size``.

    Args:
        index: In ``0..size - 1``.
        size: Number of indices.
        key: Determines the permutation.

    Source:
        Black and Rogaway, "Ciphers with arbitrary finite domains", 2002 (cycle walking).
    """
    bits = max(2, (size - 1).bit_length())
    low_bits = bits // 2
    high_bits = bits - low_bits
    low_mask = (1 << low_bits) - 1
    keys = [_scramble(key + odd) for odd in _ROUNDS]
    while True:
        high, low = index >> low_bits, index & low_mask
        for round_key in keys:
            high ^= _scramble(low + round_key) >> (64 - high_bits)
            low ^= _scramble(high - round_key) >> (64 - low_bits)
        index = high << low_bits | low
        if index < size:
            return index


def _scramble(value: int) -> int:
    value = (value * 0xBF58476D1CE4E5B9) & _MASK
    return ((value ^ (value >> 31)) * 0x94D049BB133111EB) & _MASK
