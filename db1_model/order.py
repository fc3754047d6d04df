from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

ORDER = np.dtype(
    [
        ("key", "<u8"),
        ("windows", "<u8"),  # of an epoch
        ("chunk", "<u8"),  # windows that follow each other in storage
        ("chunks", "<u8"),
        ("groups", "<u8"),
        ("prompt_below", "<u8"),  # of 2 ** 32
        ("ring", "<u8"),  # steps that windows are cut from, from a start drawn for each epoch; 0 for no ring
        ("stride", "<u8"),  # steps from a window to the next
    ]
)
DRAW = np.dtype([("start", "<u8"), ("near", "<u8"), ("prompted", "?"), ("random", "<u8", 4)])

_U = np.uint64
_ROUNDS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03, 0x8CB92BA72F3D8DD7], np.uint64)
_PHASE, _PROMPT, _NEAR, _STEP, _RANDOM = (_U(number) for number in range(1, 6))


@njit(cache=True, nogil=True)
def draw_windows(orders: Any, tasks: NDArray[np.int64], visits: NDArray[np.int64], draws: Any) -> None:
    """Draw which window each visit to a task takes, and where its prompt comes from.

    An epoch visits each of a task's windows once. They are cut into chunks, some MB that follow each other in storage;
    the chunks are permuted, some of them in a row make a group, and the windows of a group are permuted. So a reader
    that keeps a group in memory reads each chunk about once an epoch. What windows are left over when chunks are cut
    belong to the last group. Needs no memory, and the same time for any visit.

    Args:
        orders: Rows of ``ORDER``, one a task.
        tasks: The task of each visit.
        visits: How many earlier visits to its task there were.
        draws: Gets rows of ``DRAW``: the first step of the window (or its number, without a ring), a step (or number)
            of a window of the same group, whether there is a prompt, and random bits.

    Source:
        Black and Rogaway, "Ciphers with arbitrary finite domains", 2002 (cycle walking over a Feistel network).
    """
    for i in range(len(tasks)):
        order, visit, draw = orders[tasks[i]], _U(visits[i]), draws[i]
        epoch, index = visit // order.windows, visit % order.windows
        epoch_key, visit_key = _mix(order.key, epoch), _mix(order.key, ~visit)
        place = min(index // order.chunk, order.chunks - _U(1))
        group = ((place + _U(1)) * order.groups - _U(1)) // order.chunks
        first, end = group * order.chunks // order.groups, (group + _U(1)) * order.chunks // order.groups
        size = (end - first) * order.chunk
        if end == order.chunks:
            size = order.windows - first * order.chunk
        index = _permute(index - first * order.chunk, size, _mix(epoch_key, group))
        near = _below(size, _mix(visit_key, _NEAR))
        start, near = _number(order, epoch_key, first, end, index), _number(order, epoch_key, first, end, near)
        if order.ring > _U(0):
            phase = _below(order.ring, _mix(epoch_key, ~_PHASE))
            start = (phase + start * order.stride) % order.ring
            near = (phase + near * order.stride + _below(order.stride, _mix(visit_key, _STEP))) % order.ring
        draw.start, draw.near = start, near
        draw.prompted = _mix(visit_key, _PROMPT) >> _U(32) < order.prompt_below
        for number in range(4):
            draw.random[number] = _mix(visit_key, _RANDOM + _U(number))


@njit(cache=True, nogil=True)
def permute(index: int, size: int, key: int) -> Any:
    """Return the place of an index in a permutation of ``0..size - 1`` that the key determines."""
    return _permute(_U(index), _U(size), _U(key))


@njit(cache=True, nogil=True)
def _number(order: Any, epoch_key: Any, first: Any, end: Any, index: Any) -> Any:
    """The window at a place of a group, before its windows are permuted."""
    slot, rest = index // order.chunk, index % order.chunk
    if first + slot >= end:  # what is left over when chunks are cut
        return order.chunks * order.chunk + index - (end - first) * order.chunk
    return _permute(first + slot, order.chunks, epoch_key) * order.chunk + rest


@njit(cache=True, nogil=True)
def _permute(index: Any, size: Any, key: Any) -> Any:
    bits: Any = _U(2)
    while size - _U(1) >> bits:
        bits += _U(1)
    low_bits = bits // _U(2)
    high_bits, low_mask = bits - low_bits, (_U(1) << low_bits) - _U(1)
    while True:
        high, low = index >> low_bits, index & low_mask
        for odd in _ROUNDS:
            round_key = _scramble(key + odd)
            high ^= _scramble(low + round_key) >> (_U(64) - high_bits)
            low ^= _scramble(high - round_key) >> (_U(64) - low_bits)
        index = high << low_bits | low
        if index < size:
            return index


@njit(cache=True, nogil=True)
def _mix(state: Any, value: Any) -> Any:
    state = state + value + _U(0x9E3779B97F4A7C15)
    state = (state ^ (state >> _U(30))) * _U(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> _U(27))) * _U(0x94D049BB133111EB)
    return state ^ (state >> _U(31))


@njit(cache=True, nogil=True)
def _scramble(value: Any) -> Any:
    value = value * _U(0xBF58476D1CE4E5B9)
    return (value ^ (value >> _U(31))) * _U(0x94D049BB133111EB)


@njit(cache=True, nogil=True)
def _below(bound: Any, random: Any) -> Any:
    """The upper 64 bits of a product of 128."""
    mask, half = _U(0xFFFFFFFF), _U(32)
    low = (random & mask) * (bound & mask) >> half
    middle = (random >> half) * (bound & mask) + low
    other = (random & mask) * (bound >> half) + (middle & mask)
    return (random >> half) * (bound >> half) + (middle >> half) + (other >> half)
