from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import lightning
from torch import Tensor


class SequenceAudit(lightning.Callback):
    """Writes down which sequences every process trains at every step, so that what a run has seen can be proved.

    Each process appends to a file of its own. It stands before the callback that saves training states: then a state
    of a step lies on disk only when all processes have written the step down.

    Args:
        folder: Gets ``rank-<number>.jsonl``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: dict[str, Tensor],
        batch_idx: int,
    ) -> None:
        """Append a line: the step just trained, the number of processes, and a digest of each sequence."""
        row = {"step": trainer.global_step, "world_size": trainer.world_size, "sequences": digest_sequences(batch)}
        with (self.folder / f"rank-{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def digest_sequences(batch: dict[str, Tensor]) -> list[str]:
    """Return a digest of each sequence of a batch: of its tokens, labels and loss mask."""
    parts = [batch[name].cpu().numpy() for name in ("tokens", "labels", "loss_mask")]
    return [
        hashlib.sha256(b"".join(row.tobytes() for row in rows)).hexdigest()[:16] for rows in zip(*parts, strict=True)
    ]


def read_audit(folder: Path) -> dict[int, list[str]]:
    """Return the sequences of every step, in the order of their global positions.

    A step that was trained again after a kill counts as it was trained last, which is what its weights come from.

    Raises:
        ValueError: If a process did not write down a step that the others did.
    """
    files = {int(file.stem.removeprefix("rank-")): _read(file) for file in folder.glob("rank-*.jsonl")}
    steps: dict[int, list[str]] = {}
    for step, row in sorted(files.get(0, {}).items()):
        ranks = [files.get(rank, {}).get(step, {}) for rank in range(row["world_size"])]
        if any(one.get("world_size") != row["world_size"] for one in ranks):
            raise ValueError(f"step {step} of {row['world_size']} processes is not written down by all in {folder}")
        steps[step] = [name for together in zip(*(one["sequences"] for one in ranks), strict=True) for name in together]
    return steps


def _read(file: Path) -> dict[int, dict[str, Any]]:
    lines = [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return {row["step"]: row for row in lines}
