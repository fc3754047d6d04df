from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.corpora.lesson import draw_one

SIDE = 4
"""Cells of a room's side."""

TILE = 16
"""Pixels of a cell's side: a cell is one patch of the model's image."""

COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
KINDS = ("ball", "box", "key", "open door", "closed door", "locked door")


@dataclass(frozen=True)
class Thing:
    """Something in a room.

    Args:
        colour: One of ``COLOURS``.
        kind: One of ``KINDS``.
        column: Cell from the left.
        row: Cell from the top.
    """

    colour: str
    kind: str
    column: int = 0
    row: int = 0

    @property
    def noun(self) -> str:
        """Its kind without the state of a door."""
        return self.kind.split()[-1]

    @property
    def phrase(self) -> str:
        """The thing in words: ``a red ball``, ``an open blue door``."""
        state = self.kind.removesuffix(self.noun)
        return f"{'an' if state.startswith('open') else 'a'} {state}{self.colour} {self.noun}"

    @property
    def is_held_out(self) -> bool:
        """Whether its colour and kind occur together in evaluation alone; one kind of each colour does."""
        return (COLOURS.index(self.colour) + KINDS.index(self.kind)) % len(KINDS) == 0


COMBINATIONS = tuple(Thing(colour, kind) for colour in COLOURS for kind in KINDS)
"""A thing of each colour and kind."""


def draw_room(rng: np.random.Generator, num_things: int, *, held_out: bool) -> tuple[Thing, ...]:
    """Draw things in different cells, no two alike.

    Args:
        rng: What they are drawn from.
        num_things: How many.
        held_out: Whether the first is of a held-out combination; otherwise none is.
    """
    first = [thing for thing in COMBINATIONS if thing.is_held_out == held_out]
    chosen = [draw_one(rng, first)]
    others = [thing for thing in (COMBINATIONS if held_out else first) if thing != chosen[0]]
    chosen += [others[place] for place in rng.choice(len(others), num_things - 1, replace=False)]
    cells = rng.choice(SIDE * SIDE, num_things, replace=False).tolist()
    return tuple(
        Thing(thing.colour, thing.kind, cell % SIDE, cell // SIDE) for thing, cell in zip(chosen, cells, strict=True)
    )


def render_room(things: tuple[Thing, ...]) -> NDArray[np.uint8]:
    """Draw a room with minigrid's tiles, shape (``SIDE`` * ``TILE``, ``SIDE`` * ``TILE``, 3)."""
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import Ball, Box, Door, Key

    makers = {
        "ball": Ball,
        "box": Box,
        "key": Key,
        "open door": lambda colour: Door(colour, is_open=True),
        "closed door": Door,
        "locked door": lambda colour: Door(colour, is_locked=True),
    }
    grid = Grid(SIDE, SIDE)
    for thing in things:
        grid.set(thing.column, thing.row, makers[thing.kind](thing.colour))
    return grid.render(TILE, (-1, -1), 0).astype(np.uint8)
