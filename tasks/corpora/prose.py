from __future__ import annotations

import ast
import hashlib
import importlib.util
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.task import EVALUATION_SEED

PACKAGES = ("numpy", "matplotlib", "gymnasium", "dagster", "zarr", "fsspec")
"""Packages that are always installed and whose documentation may be used freely (BSD, MIT, Apache, matplotlib's)."""

LEAST_CHARACTERS = 400
_RUN, _FEWEST_WORDS = 8, 5
_HELD_OUT = 13  # of 256: about one document in twenty


@dataclass(frozen=True)
class Document:
    """A text.

    Args:
        text: Its words; paragraphs are divided by empty lines.
        source: Where it is from.
    """

    text: str
    source: str

    @property
    def is_held_out(self) -> bool:
        """Whether it is kept from training; about one in twenty, chosen by the hash of where it is from."""
        return hashlib.sha256(self.source.encode()).digest()[0] < _HELD_OUT


class Prose:
    """The documents of ``text/documentation``; see ``Library``."""

    def draw(self, seed: int) -> Document:
        """See ``Library``."""
        training, held_out = documents()
        chosen, place = (held_out, seed - EVALUATION_SEED) if seed >= EVALUATION_SEED else (training, seed)
        return chosen[place % len(chosen)]

    def byte_counts(self) -> NDArray[np.int64]:
        """See ``Library``."""
        return _byte_counts(documents()[0])

    def facts(self) -> Mapping[str, Any]:
        """See ``Library``."""
        return {"versions": versions()}


@cache
def documents() -> tuple[tuple[Document, ...], tuple[Document, ...]]:
    """Return English prose that is installed here, for training and held out: Python's own topics and docstrings.

    A module's docstrings are one document. Prompts of examples, tables and lines of markup are left out, and so is a
    paragraph of which most has been said before: more than half of its runs of eight words.
    """
    seen: set[tuple[str, ...]] = set()
    found = [Document(text, source) for source, raw in _sources() if (text := _clean(raw, seen))]
    kept = [document for document in found if len(document.text) >= LEAST_CHARACTERS]
    return tuple(one for one in kept if not one.is_held_out), tuple(one for one in kept if one.is_held_out)


@cache
def versions() -> dict[str, str]:
    """Return the versions of what the documents are from."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@cache
def _byte_counts(training: tuple[Document, ...]) -> NDArray[np.int64]:
    said = "".join(document.text for document in training).encode()
    return np.bincount(np.frombuffer(said, np.uint8), minlength=256)


def _sources() -> Iterator[tuple[str, str]]:
    from pydoc_data.topics import topics

    for name in sorted(topics):
        yield f"python/{name}", topics[name]
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for root in map(Path, (spec and spec.submodule_search_locations) or ()):
            for path in sorted(root.rglob("*.py")):
                yield f"{package}/{path.relative_to(root).as_posix()}", _docstrings(path)


def _docstrings(path: Path) -> str:
    kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    tree = ast.parse(path.read_bytes())
    said = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    return "\n\n".join(text for text in said if text)


def _clean(raw: str, seen: set[tuple[str, ...]]) -> str:
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", raw):
        lines = [re.sub(r"\s+", " ", line).strip() for line in paragraph.splitlines()]
        text = " ".join(line for line in lines if _is_prose(line))
        words = re.findall(r"\w+", text.lower())
        runs = [tuple(words[first : first + _RUN]) for first in range(max(1, len(words) - _RUN + 1))]
        if len(words) >= _FEWEST_WORDS and sum(run in seen for run in runs) <= len(runs) / 2:
            seen.update(runs)
            paragraphs.append(text)
    return "\n\n".join(paragraphs)


def _is_prose(line: str) -> bool:
    letters = sum(character.isalpha() or character == " " for character in line)
    return bool(line) and not line.startswith((">>>", "...", "..", "|", "+--", "$")) and letters >= 0.7 * len(line)
