from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from storage.folder import StoredFolder, place_at
from storage.local import RUNS
from storage.manifest import ManifestError
from storage.place import DATA


@dataclass(frozen=True)
class Shelf:
    """A folder of the data root, and the kind of things that lie there.

    Args:
        folder: Below the root.
        kind: Of the things' manifests.
        made_as: What errors and commands call the kind.
    """

    folder: str
    kind: str
    made_as: str


SHELVES = (
    Shelf("specialists", "specialist", "specialist"),
    Shelf("trajectories", "trajectories", "trajectories"),
    Shelf("corpora", "trajectories", "trajectories"),
    Shelf("catalogue", "catalogue", "catalogue"),
    Shelf("tokenizer", "tokenizer", "tokenizer"),
    Shelf("tokens", "tokens", "tokens"),
    Shelf("shards", "shards", "shards"),
    Shelf("shards/_index", "shard-index", "shard-index"),
    Shelf("checkpoints", "checkpoint", "checkpoint"),
    Shelf("evaluation", "trajectories", "evaluation"),
    Shelf("champions", "champion", "champion"),
    Shelf("champions/_kept", "kept-champion", "kept-champion"),
    Shelf("champions/_games", "games", "games"),
    Shelf("report", "report", "report"),
)


@dataclass(frozen=True)
class Thing:
    """Something stored, complete or not.

    Args:
        root: The data root.
        shelf: Where it lies there.
        name: Its name.
    """

    root: str
    shelf: Shelf
    name: str

    @property
    def folder(self) -> StoredFolder:
        """Its folder."""
        return StoredFolder(f"{self.root}/{self.shelf.folder}", self.shelf.kind, self.name)

    def error(self, fault: str) -> ManifestError:
        """Return the error that names it, the fault, and the command that makes it anew."""
        return ManifestError(self.shelf.made_as, self.name, fault)


def list_things(path: str) -> list[Thing]:
    """Return all things below a data root, below the folder of a kind, or in one folder, complete or not.

    Raises:
        ValueError: If the path is none of these.
    """
    found = [thing for root, shelf, below in _resolve(path) for thing in _things(root, shelf, below)]
    if not found and not _is_root(path):
        raise ValueError(f"there is nothing in {path}; expected a data root, or a folder of a kind in it")
    return found


def _resolve(path: str) -> list[tuple[str, Shelf, str]]:
    """Return the data root, the shelf and the path below it, for every shelf that a path touches."""
    if _is_root(path):
        return [(path, shelf, "") for shelf in SHELVES]
    parts = path.rstrip("/").split("/")
    for cut in range(len(parts) - 1, -1, -1):
        below = "/".join(parts[cut:]) + "/"
        if fitting := [shelf for shelf in SHELVES if below.startswith(f"{shelf.folder}/")]:
            shelf = max(fitting, key=lambda one: len(one.folder))
            root = "/".join(parts[:cut]) or ("/" if path.startswith("/") else ".")
            inside = [] if below.strip("/") != shelf.folder else _inside(shelf)
            return [(root, shelf, below[len(shelf.folder) :].strip("/")), *((root, one, "") for one in inside)]
    if "://" not in path and not path.startswith("/"):
        return _resolve(str(Path(path).resolve()))
    kinds = ", ".join(shelf.folder for shelf in SHELVES if "/" not in shelf.folder)
    raise ValueError(f"{path} is no data root, for it holds none of {kinds}; expected one, or a folder of a kind in it")


def _inside(shelf: Shelf) -> list[Shelf]:
    return [one for one in SHELVES if one.folder.startswith(f"{shelf.folder}/")]


def _is_root(path: str) -> bool:
    return not {shelf.folder for shelf in SHELVES}.isdisjoint(place_at(path).folders())


def _things(root: str, shelf: Shelf, below: str) -> Iterable[Thing]:
    place = place_at(f"{root}/{shelf.folder}/{below}".rstrip("/"))
    names = {_thing_of(PurePosixPath(below, name)) for name in place.entries("")}
    elsewhere = {one.folder.rsplit("/", 1)[1] for one in _inside(shelf)}
    return [Thing(root, shelf, name) for name in sorted(names - {"."}) if name.split("/")[0] not in elsewhere]


def _thing_of(file: PurePosixPath) -> str:
    """Return the name of the thing to which a file below a shelf belongs."""
    for depth, part in enumerate(file.parts[:-1]):
        if DATA.fullmatch(part) or part.startswith(".") or part == RUNS:
            return "/".join(file.parts[:depth]) or "."
    return file.parent.as_posix()
