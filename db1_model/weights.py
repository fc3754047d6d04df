from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Kind = Literal["uniform", "families", "gato", "tokens", "temperature"]

_GATO_CONTROL = {
    "dm_lab": 9.35,
    "atari": 9.5,
    "atari_extended": 10.0,
    "sokoban": 1.33,
    "babyai": 9.06,
    "dm_control": 4.62,
    "dm_control_pixels": 7.07,
    "dm_control_random_small": 3.04,
    "dm_control_random_large": 3.04,
    "meta_world": 8.96,
    "procgen": 5.34,
    "rgb_stacking_simulator": 1.33,
    "rgb_stacking_real": 1.33,
    "modular_rl": 8.23,
    "dm_manipulation": 1.68,
    "playroom": 1.33,
}
GATO_LANGUAGE: Mapping[str, float] = {"text": 6.7, "dialogue": 4.0, "captions": 4 * 0.67, "questions": 2 * 0.67}
"""Gato's sample weight of its data sets of text and images in per cent, 14.7 in all, under the names of families."""

GATO_WEIGHTS: Mapping[str, float] = {**_GATO_CONTROL, **GATO_LANGUAGE}
"""Gato's sample weight of each of its data sets in per cent, under the names of families.

``text`` is MassiveText; ``captions`` are ALIGN, COCO, Conceptual Captions and LTIP; ``questions`` are OK-VQA and VQAv2;
``dialogue`` stands in the place of M3W, whose web pages mix text and images. Classic control, tours and other families
that Gato has not get the mean of its control data sets.

Source:
    Reed et al., "A generalist agent", 2022, table 1.
"""

_GATO_MEAN = math.fsum(_GATO_CONTROL.values()) / len(_GATO_CONTROL)
_NAMED = 8  # tasks or families that an error lists; of more it names the closest


@dataclass(frozen=True)
class Weights:
    """How much of the training each task gets, said before it is known which tasks there are.

    The kind gives every task a share. ``families`` and ``tasks`` then fix the shares of some, and what is left of 1
    goes to the others in proportion to theirs. Where every one has a fixed share, these need not add up to 1.

    Args:
        kind: ``uniform``: tasks are equal. ``families``: families are equal, and tasks within a family. ``gato``:
            families as in Gato's table (``GATO_WEIGHTS``), tasks within a family equal. ``tokens``: in proportion to
            the tokens that are stored. ``temperature``: in proportion to tokens ** (1 / ``temperature``).
        temperature: 1 is ``tokens``; the larger, the closer to ``uniform``.
        families: Shares of families by name.
        tasks: Shares of tasks by id, of the whole.

    Raises:
        ValueError: If the kind is unknown, or the temperature or a share is not a positive number.
    """

    kind: Kind = "uniform"
    temperature: float = 1.0
    families: Mapping[str, float] = field(default_factory=dict)
    tasks: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"weights of the kind {self.kind!r}; expected one of {', '.join(get_args(Kind))}")
        for name, value in [("temperature", self.temperature), *self.families.items(), *self.tasks.items()]:
            if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
                raise ValueError(f"the weight {name!r} is {value!r}; expected a positive number")

    def share(self, tasks: Sequence[str], num_tokens: Mapping[str, int] | None = None) -> list[float]:
        """Return the share of each task, adding up to 1.

        Args:
            tasks: Ids of the tasks.
            num_tokens: Stored tokens by task; the kinds ``tokens`` and ``temperature`` need them.

        Raises:
            ValueError: If a share is of an unknown task or family, nothing is left for those without one, or the
                numbers of tokens are missing.
        """
        by_family: dict[str, float] = {}
        base = self._base(tasks, num_tokens)
        for task in tasks:
            by_family[_family(task)] = by_family.get(_family(task), 0.0) + base[task]
        of_families = _fix("family", by_family, self.families)
        within = {task: base[task] * of_families[_family(task)] / by_family[_family(task)] for task in tasks}
        fixed = _fix("task", within if self.families else base, self.tasks)
        return [fixed[task] for task in tasks]

    def to_json(self) -> dict[str, Any]:
        """Return the description as JSON values."""
        return asdict(self)

    @classmethod
    def read(cls, value: Mapping[str, Any] | str | Path | None) -> Weights:
        """Read a description.

        Args:
            value: None or the name of a kind; the path of a JSON file with what follows; the fields as a mapping; or
                shares of tasks by id.

        Raises:
            ValueError: If it is none of these.
        """
        if isinstance(value, str | Path):
            return cls(kind=value) if value in get_args(Kind) else cls.read(_read_file(Path(value)))  # type: ignore[arg-type]
        value = value or {}
        if unknown := [name for name in value if name not in cls.__dataclass_fields__]:
            if len(unknown) < len(value):
                names = ", ".join(cls.__dataclass_fields__)
                raise ValueError(f"weights with the field {unknown[0]!r}; expected some of {names}, or shares of tasks")
            return cls(tasks=dict(value))
        return cls(**value)

    def _base(self, tasks: Sequence[str], num_tokens: Mapping[str, int] | None) -> dict[str, float]:
        if self.kind in ("tokens", "temperature"):
            if missing := [task for task in tasks if task not in (num_tokens or {})]:
                raise ValueError(f"weights by {self.kind} need the number of tokens of task {missing[0]!r}; found none")
            power = 1.0 if self.kind == "tokens" else 1.0 / self.temperature
            return {task: float((num_tokens or {})[task]) ** power for task in tasks}
        if self.kind == "uniform":
            return dict.fromkeys(tasks, 1.0)
        sizes: dict[str, int] = {}
        for task in tasks:
            sizes[_family(task)] = sizes.get(_family(task), 0) + 1
        of_families = {name: gato_weight(name) if self.kind == "gato" else 1.0 for name in sizes}
        return {task: of_families[_family(task)] / sizes[_family(task)] for task in tasks}


def share_tasks(
    tasks: Sequence[str],
    weights: Mapping[str, Any] | str | None,
    *,
    num_tokens: Mapping[str, int] | None = None,
) -> list[float]:
    """Return the share of each task in the training positions, adding up to 1.

    Args:
        tasks: Ids of the tasks.
        weights: What ``Weights.read`` takes; None for equal shares.
        num_tokens: Stored tokens by task, for weights that depend on them.

    Raises:
        ValueError: As ``Weights.read`` and ``Weights.share`` do.
    """
    return Weights.read(weights).share(tasks, num_tokens)


def gato_weight(family: str) -> float:
    """Return Gato's weight of a family in per cent; of one that it has not, the mean of its control data sets."""
    weights = {_letters(name): weight for name, weight in GATO_WEIGHTS.items()}
    return weights.get(_letters(family), _GATO_MEAN)


def _fix(noun: str, base: Mapping[str, float], fixed: Mapping[str, float]) -> dict[str, float]:
    """Give what is left of 1 after the fixed shares to the others, in proportion to their base."""
    if unknown := sorted(set(fixed) - set(base)):
        raise ValueError(
            f"a weight for {noun} {unknown[0]!r}, which the shards do not hold; they hold {_name(unknown[0], base)}"
        )
    others = {name: value for name, value in base.items() if name not in fixed}
    total = math.fsum(fixed.values())
    if not others:
        return {name: fixed[name] if abs(total - 1) < 1e-9 else fixed[name] / total for name in base}
    if total >= 1:
        raise ValueError(
            f"the weights add up to {total:g}, which leaves nothing for {noun} {next(iter(others))!r} and "
            f"{len(others) - 1} others without one; expected less than 1"
        )
    left, whole = 1.0 - total, math.fsum(others.values())
    return {name: fixed[name] if name in fixed else left * others[name] / whole for name in base}


def _name(unknown: str, known: Mapping[str, float]) -> str:
    if len(known) <= _NAMED:
        return ", ".join(known)
    close = difflib.get_close_matches(unknown, known, n=3, cutoff=0.0)
    return f"{len(known)} others, the closest are {', '.join(close)}"


def _read_file(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        kinds = ", ".join(get_args(Kind))
        raise ValueError(f"weights {str(path)!r}: {error}; expected {kinds}, or a JSON file with weights") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds {value!r:.80}; expected a JSON object such as {{'kind': 'families'}}")
    return value


def _family(task: str) -> str:
    return task.split("/", 1)[0]


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
