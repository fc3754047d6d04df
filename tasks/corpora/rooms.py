from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

SIDE = 3
"""Cells of a room's side."""

TILE = 16
"""Pixels of a cell's side: a cell is one patch of the model's image."""

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (230, 20, 20),
    "orange": (255, 140, 0),
    "yellow": (250, 250, 0),
    "green": (0, 190, 0),
    "cyan": (0, 220, 220),
    "blue": (20, 40, 255),
    "purple": (130, 30, 190),
    "pink": (255, 120, 200),
    "brown": (125, 70, 30),
    "grey": (115, 115, 115),
    "white": (245, 245, 245),
}
"""Colours and their red, green and blue."""

PLACES = (
    "at the top left",
    "at the top",
    "at the top right",
    "at the left",
    "in the middle",
    "at the right",
    "at the bottom left",
    "at the bottom",
    "at the bottom right",
)
"""Names of a room's cells, row by row."""

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
    def words(self) -> str:
        """The thing without an article: ``red ball``, ``open blue door``."""
        return f"{self.kind.removesuffix(self.noun)}{self.colour} {self.noun}"

    @property
    def phrase(self) -> str:
        """The thing with its article: ``a red ball``, ``an open blue door``."""
        return f"{'an' if self.words[0] in 'aeiou' else 'a'} {self.words}"

    @property
    def place(self) -> str:
        """The cell in words: one of ``PLACES``."""
        return PLACES[SIDE * self.row + self.column]

    @property
    def is_held_out(self) -> bool:
        """Whether colour, kind and place occur together in evaluation alone; one triple in five does."""
        return (list(COLOURS).index(self.colour) + KINDS.index(self.kind) + PLACES.index(self.place)) % 5 == 0


COMBINATIONS = tuple(Thing(colour, kind) for colour in COLOURS for kind in KINDS)
"""A thing of each colour and kind."""


def draw_room(rng: np.random.Generator, num_things: int, *, held_out: bool) -> tuple[Thing, ...]:
    """Draw things of different colours or kinds in different cells.

    Args:
        rng: What they are drawn from.
        num_things: How many.
        held_out: Whether the first is of a held-out combination and the others are any; otherwise none is.
    """
    while True:
        chosen = rng.choice(len(COMBINATIONS), num_things, replace=False).tolist()
        cells = rng.choice(SIDE * SIDE, num_things, replace=False).tolist()
        things = tuple(
            replace(COMBINATIONS[place], column=cell % SIDE, row=cell // SIDE)
            for place, cell in zip(chosen, cells, strict=True)
        )
        if things[0].is_held_out if held_out else not any(thing.is_held_out for thing in things):
            return things


def render_room(things: Sequence[Thing]) -> NDArray[np.uint8]:
    """Draw a room with minigrid's shapes, shape (``SIDE`` * ``TILE``, ``SIDE`` * ``TILE``, 3)."""
    image = np.tile(_shape("nothing")[0][..., None], (SIDE, SIDE, 3))
    for thing in things:
        plain, coloured = _shape(thing.kind)
        cell = slice(thing.row * TILE, (thing.row + 1) * TILE), slice(thing.column * TILE, (thing.column + 1) * TILE)
        image[cell] = plain[..., None] + coloured[..., None] * np.array(COLOURS[thing.colour])
    return np.round(image).astype(np.uint8)


@cache
def _shape(kind: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how bright a kind's cell is where it has no colour, 0 to 255, and which share of a pixel is coloured."""
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
    tile = Grid.render_tile(makers[kind]("red") if kind in makers else None, tile_size=TILE)
    red, grey, _ = np.moveaxis(tile.astype(float), -1, 0)
    return grey, (red - grey) / 255
