from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.provenance import cpu_seconds, git_revision, package_versions
from storage.manifest import Manifest, recipe_key

OWNERS = ["team:db1"]
_DATA_VERSION = "dagster/data_version"
_FOUND, _MADE = "none: found, made from the same recipe", "made now"
_OF_MAKING = ("git_revision", "seconds", "cpu_seconds", "gpu_seconds", "packages")
_RECORDS_READ = 100


class TasksFailedError(RuntimeError):
    """Some tasks of a run failed; what the others made is stored and reported."""


@dataclass(frozen=True)
class Made:
    """What a stage has made, or found already made from the same recipe.

    Args:
        manifest: What is stored now.
        found: Whether there was nothing to do.
        seconds: Wall-clock time that it took.
        cpu_seconds: CPU time that it took, of all processes of this machine; None where several things were made at
            once.
        gpus: GPUs that it took all this time.
    """

    manifest: Manifest
    found: bool
    seconds: float
    cpu_seconds: float | None = None
    gpus: int = 0

    def metadata(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Return the metadata of a materialization: what it is, what it cost, and by what code it was made or found."""
        cpu = {} if self.cpu_seconds is None else {"cpu_seconds": round(self.cpu_seconds, 2)}
        gpu = {"gpu_seconds": round(self.gpus * self.seconds, 2)} if self.gpus and not self.found else {}
        return {
            "work": _FOUND if self.found else _MADE,
            **more,
            "digest": self.manifest.digest,
            "bytes": self.manifest.bytes,
            "seconds": round(self.seconds, 2),
            **cpu,
            **gpu,
            "git_revision": git_revision(),
            "packages": dg.MetadataValue.json(package_versions()),
            "recipe": dg.MetadataValue.json(dict(self.manifest.recipe)),
        }


def find_or_make(find: Callable[[], Manifest | None], make: Callable[[], Manifest]) -> Made:
    """Return what is there, and make it when nothing is."""
    begun, cpu_begun = time.perf_counter(), cpu_seconds()
    found = find()
    manifest = found or make()
    return Made(manifest, found is not None, time.perf_counter() - begun, cpu_seconds() - cpu_begun)


def report_one(made: Made, metadata: Mapping[str, Any]) -> dg.MaterializeResult:
    """Report a stage without partitions: its data version is its manifest's digest."""
    return dg.MaterializeResult(metadata=made.metadata(metadata), data_version=dg.DataVersion(made.manifest.digest))


def report_tasks(
    context: dg.AssetExecutionContext,
    make: Callable[[str], Made],
    describe: Callable[[Manifest], Mapping[str, Any]],
) -> Iterator[dg.MaterializeResult]:
    """Make every task of the run, and report each: its partition's data version is its own manifest's digest.

    A task that fails does not stop the others: the run fails when all were tried, and finds theirs when it runs again.

    A run over a range has a single result, so Dagster gives all its partitions one data version and one provenance.
    The events that follow it repeat that provenance with each partition's own version, and count as the latest.

    Raises:
        TasksFailedError: If tasks failed; the message names each one's reason.
    """
    made: dict[str, Made] = {}
    failed: dict[str, str] = {}
    for task_id in context.partition_keys:
        try:
            made[task_id] = make(task_id)
        except Exception as error:
            if len(context.partition_keys) == 1:
                raise
            context.log.error(f"{task_id} failed", exc_info=error)
            failed[task_id] = f"{type(error).__name__}: {error}"
    versions = {task_id: one.manifest.digest for task_id, one in made.items()}
    metadata = {task_id: one.metadata(describe(one.manifest)) for task_id, one in made.items()}
    if failed:
        for task_id, values in metadata.items():
            tags = {_DATA_VERSION: versions[task_id]}
            context.log_event(dg.AssetMaterialization(context.asset_key, partition=task_id, metadata=values, tags=tags))
        reasons = "\n".join(f"  {task_id}: {reason}" for task_id, reason in failed.items())
        raise TasksFailedError(
            f"{len(failed)} of {len(failed) + len(made)} tasks failed, the others are made:\n{reasons}"
        )
    if len(made) == 1:
        yield dg.MaterializeResult(metadata=metadata.popitem()[1], data_version=dg.DataVersion(*versions.values()))
        return
    yield dg.MaterializeResult(data_version=dg.DataVersion(recipe_key(versions)))
    of_last = dg.AssetRecordsFilter(asset_key=context.asset_key, asset_partitions=[context.partition_keys[-1]])
    together = context.instance.fetch_materializations(of_last, limit=1).records[0].asset_materialization
    provenance = dict(together.tags or {}) if together else {}
    for task_id, values in metadata.items():
        tags = provenance | {_DATA_VERSION: versions[task_id]}
        context.log_event(dg.AssetMaterialization(context.asset_key, partition=task_id, metadata=values, tags=tags))


def find_making(
    instance: dg.DagsterInstance, asset: Sequence[str], digest: str, *, task: str | None = None
) -> dict[str, Any]:
    """Return what Dagster recorded when something was made: git revision, seconds, CPU and GPU seconds, packages.

    Args:
        instance: The records.
        asset: Key of the asset.
        digest: Of what was made.
        task: Its partition; None where the asset has none.

    Returns:
        JSON values; empty where nothing is recorded, or so long ago that 100 later events stand before it.
    """
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(list(asset)), asset_partitions=[task] if task else None)
    for record in instance.fetch_materializations(wanted, limit=_RECORDS_READ).records:
        told = record.asset_materialization.metadata if record.asset_materialization else {}
        values = {name: value.value for name, value in told.items() if name in (*_OF_MAKING, "digest", "work")}
        if (values.get("digest"), values.get("work")) == (digest, _MADE):
            return {name: values[name] for name in _OF_MAKING if name in values}
    return {}


def picture(png: bytes) -> dg.MetadataValue:
    """Return a PNG that Dagster's UI shows."""
    return dg.MetadataValue.md(f"![figure](data:image/png;base64,{base64.b64encode(png).decode()})")


def table(rows: Sequence[Mapping[str, Any]]) -> dg.MetadataValue:
    """Return rows with equal keys as a table that Dagster's UI shows."""
    if not rows:
        return dg.MetadataValue.md("(no rows)")
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    return dg.MetadataValue.md("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")
