from __future__ import annotations

from contextlib import suppress

import fsspec

from storage.folder import StoredFolder
from storage.inventory import Thing
from storage.manifest import MANIFEST_NAME
from storage.place import Stray

MIN_AGE_S = 24 * 3600
"""Age in seconds before which something in an object store may belong to a writer at work, who cannot be seen."""


def clean(thing: Thing, *, dry_run: bool = False, min_age_s: float = MIN_AGE_S) -> list[Stray]:
    """Remove what lies in the folder of a thing and no manifest refers to; what a writer is at work on stays.

    That is the data of writers that were stopped, replaced data that could not be removed, files that the manifest does
    not list, and the training states of a checkpoint or a specialist that is complete. A broken manifest may refer to
    anything, so nothing is removed beside one.

    Args:
        thing: Where to look.
        dry_run: Whether to remove nothing.
        min_age_s: Age in seconds that data in an object store must have.

    Returns:
        What was removed, or would be.
    """
    return thing.folder.place.strays(min_age_s=min_age_s, remove=not dry_run)


def remove(folder: StoredFolder) -> None:
    """Remove a stored thing, first its manifest, so that what an interruption leaves is no thing any more."""
    files, path = fsspec.core.url_to_fs(folder.place.locate(), use_listings_cache=False)
    for name in (f"{path}/{MANIFEST_NAME}", path):
        with suppress(FileNotFoundError):
            files.rm(name, recursive=True)
