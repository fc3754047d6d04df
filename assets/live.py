from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg

from db1_model.training_log import Row, current_log, rows_after, run_folder
from storage.folder import StoredFolder

_SHOWN = "loss", "learning_rate", "positions_per_s"
_POINTS = 100
_POLL_S = 5.0


@contextmanager
def observe_training(
    context: dg.AssetExecutionContext, checkpoint: StoredFolder, recipe: Mapping[str, Any], *, poll_s: float = _POLL_S
) -> Iterator[None]:
    """Report the log of a training as observations of its asset while the body trains, wherever that is.

    Dagster's UI draws their numbers as series. There are about a hundred a training: a run that goes on where another
    stopped repeats none of the other's.

    Args:
        context: The asset's context.
        checkpoint: What is trained.
        recipe: What it is made from.
        poll_s: Seconds between two looks at the log.
    """
    series = _Series(context, checkpoint, recipe)
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(poll_s):
            try:
                series.report()
            except Exception as error:  # the next look reports what this one could not
                context.log.warning(f"the training's log could not be reported: {error!r}")

    thread = threading.Thread(target=follow, name="training log", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        series.report()


class _Series:
    def __init__(self, context: dg.AssetExecutionContext, checkpoint: StoredFolder, recipe: Mapping[str, Any]) -> None:
        self._context = context
        self._checkpoint = checkpoint
        self._run = run_folder(checkpoint, recipe)
        self._steps = recipe["training"]["steps"]
        self._reported = self._last_reported()

    def report(self) -> None:
        """Report the rows that were not reported yet, but for those that follow another too closely."""
        for row in rows_after(current_log(self._checkpoint, self._run), self._reported):
            if row["step"] - self._reported >= self._steps / _POINTS or row["step"] == self._steps:
                self._context.log_event(self._observation(row))
                self._reported = row["step"]

    def _observation(self, row: Row) -> dg.AssetObservation:
        return dg.AssetObservation(
            self._context.asset_key,
            description=f"{self._checkpoint.name}: step {row['step']:,} of {self._steps:,}, loss {row['loss']:.4f}",
            metadata={
                "step": int(row["step"]),
                **{name: float(row[name]) for name in _SHOWN},
                "experiment": self._checkpoint.name,
                "training": self._run.name,
            },
        )

    def _last_reported(self) -> float:
        """Return the last step of this training that an earlier run has reported."""
        for record in self._context.instance.fetch_observations(self._context.asset_key, limit=1).records:
            told = record.asset_observation.metadata if record.asset_observation else {}
            if "training" in told and told["training"].value == self._run.name:
                return float(told["step"].value)  # type: ignore[arg-type]
        return 0.0
