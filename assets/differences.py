from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

_CODE = ("code_version", "task_code_version")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST = 40


@dataclass(frozen=True)
class Difference:
    """One way in which something stored was made otherwise than it would be made now.

    Args:
        kind: ``input``: it was made from other data; ``code``: by other code; ``configuration``: with other settings.
        what: Which input, or the path of the value in the recipe, with dots.
        was: What the stored thing was made from; None for nothing.
        now: What it would be made from.
    """

    kind: Literal["input", "code", "configuration"]
    what: str
    was: Any
    now: Any

    def __str__(self) -> str:
        if self.kind == "input":
            return f"other {self.what}"
        return f"other {self.kind}: {self.what} {_short(self.was)}, now {_short(self.now)}"


def compare_recipes(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Difference]:
    """Return how the recipe of something stored differs from the one that it would be made from now.

    Data that stand by task, such as the shards of an index, are one input.
    """
    was, now = _flatten(stored), _flatten(wanted)
    found: dict[tuple[str, str], Difference] = {}
    for path in sorted(was.keys() | now.keys(), key=lambda path: (path.rpartition(".")[2] not in _CODE, path)):
        if was.get(path) == now.get(path):
            continue
        values = was.get(path), now.get(path)
        name = path.rpartition(".")[2]
        if name in _CODE:
            difference = Difference("code", path, *values)
        elif any(isinstance(value, str) and _DIGEST.fullmatch(value) for value in values):
            what, _, part = path.partition(".")
            what = what if "/" in part or not part else name.removesuffix("_digest")
            difference = Difference("input", what, *values)
        else:
            difference = Difference("configuration", path, *values)
        found.setdefault((difference.kind, difference.what), difference)
    return list(found.values())


def _flatten(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{before}{name}.")
        else:
            flat[f"{before}{name}"] = value
    return flat


def _short(value: Any) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
