from __future__ import annotations

from itertools import product

import numpy as np

_ARTICLES = ("the", "a")
_COLOURS = ("", "red ", "green ", "blue ", "purple ", "yellow ", "grey ")
_PLACES = ("", " in front of you", " behind you", " on your left", " on your right")
_JOINTS = (" and ", ", then ", " after you ")


def compose_missions(num_composed: int = 3000, *, seed: int = 0) -> list[str]:
    """Return missions in BabyAI's language, from which a tokenizer learns its words.

    Args:
        num_composed: Number of missions with two things or more, drawn at random.
        seed: Seed of the draw.

    Returns:
        Every instruction about one thing, then composed ones: "put .. next to ..", "..and..", "..then..", "..after..".

    Source:
        Chevalier-Boisvert et al., "BabyAI: a platform to study the sample efficiency of grounded language learning",
        2019, figure 2 (the grammar).
    """
    things = _describe("object", "box", "ball", "key")
    doors = _describe("door")
    single = [f"{verb} {thing}" for verb in ("go to", "pick up") for thing in things]
    single += [f"{verb} {door}" for verb in ("go to", "open") for door in doors]
    generator = np.random.default_rng(seed)

    def draw(choices: list[str] | tuple[str, ...]) -> str:
        return choices[generator.integers(len(choices))]

    def clause() -> str:
        if generator.random() < 0.5:
            return draw(single)
        return f"put {draw(things)} next to {draw(things + doors)}"

    composed = [draw(_JOINTS).join(clause() for _ in range(generator.integers(1, 3))) for _ in range(num_composed)]
    return single + composed


def _describe(*kinds: str) -> list[str]:
    return [
        f"{article} {colour}{kind}{place}"
        for article, colour, kind, place in product(_ARTICLES, _COLOURS, kinds, _PLACES)
    ]
