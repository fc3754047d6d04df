from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import Manifest, ManifestError
from storage.retention import remove

KIND, KEPT, GAMES = "champion", "kept-champion", "games"
HISTORY, SCORES = "history.json", "scores.json"
WITHDRAWN = "rolled back"


@dataclass(frozen=True)
class Decision:
    """Who serves from now on, and why.

    Args:
        outcome: ``first``, ``promoted``, ``kept``, ``rolled back`` or ``crowned``.
        challenger: Digest of the checkpoint that it was about.
        champion: Digest of the checkpoint that served before; empty for the first one.
        serves: Digest of the checkpoint that serves now.
        reason: In words.
        key: Digest of what it was decided from; empty where a person decided.
        contest: The numbers, as JSON values; only the last decision has those of single tasks.
    """

    outcome: str
    challenger: str
    champion: str
    serves: str
    reason: str
    key: str = ""
    contest: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class History:
    """All decisions of an experiment, oldest first.

    Args:
        line: Digests of the champions that are kept; the last one serves, the one before is next after a rollback.
        decisions: What was decided.
        times: When, in ISO 8601.
    """

    line: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()
    times: tuple[str, ...] = ()

    @property
    def serving(self) -> str:
        """Digest of the checkpoint that serves; empty when there is none yet."""
        return self.line[-1] if self.line else ""

    def was_withdrawn(self, digest: str) -> bool:
        """Say whether the last thing that happened to a champion was that it was rolled back."""
        about = [one for one in self.decisions if one.challenger == digest and one.outcome != "kept"]
        return bool(about) and about[-1].outcome == WITHDRAWN


class ChampionStore:
    """The checkpoints that serve, one an experiment, with those that served before and all decisions.

    A champion is kept as a whole, with its tokenizer and its scores, under ``_kept/<experiment>/<digest>``, since the
    checkpoint's own place belongs to the next one. The record ``<experiment>`` says which one serves. It is written
    after the champion that it names, and replaced in one step: a promotion that is stopped leaves the old champion.
    What was played in a contest's further looks lies under ``_games``, a thing for each checkpoint, task and look, as
    long as the checkpoint is kept.

    Args:
        root: Where they lie.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)

    def experiments(self) -> list[str]:
        """Return the sorted names of the experiments that have a champion."""
        return stored_names(self.root)

    def record(self, experiment: str) -> StoredFolder:
        """Return the folder of an experiment's decisions."""
        return StoredFolder(self.root, KIND, experiment)

    def kept(self, experiment: str, digest: str) -> StoredFolder:
        """Return the folder of a champion, by the digest of its checkpoint."""
        return StoredFolder(f"{self.root}/_kept", KEPT, f"{experiment}/{digest[:12]}")

    def games(self, experiment: str, digest: str, task: str, look: int) -> StoredFolder:
        """Return the folder of what a checkpoint played in a task for one look of a contest."""
        return StoredFolder(f"{self.root}/_games", GAMES, f"{experiment}/{digest[:12]}/{task}/look-{look}")

    def read(self, experiment: str) -> History:
        """Return what was decided so far, which may be nothing.

        Raises:
            ManifestError: If the record is damaged.
        """
        if not (folder := self.record(experiment)).exists:
            return History()
        files = folder.open()
        value = json.loads(files.path(HISTORY).read_bytes())
        decisions = tuple(Decision(**one) for one in value["decisions"])
        return History(tuple(value["line"]), decisions, tuple(files.manifest.metadata["times"]))

    def open(self, experiment: str) -> StoredFiles:
        """Return the files of the champion that serves: weights, model, tokenizer and scores.

        Raises:
            ManifestError: If there is none, or it is damaged.
        """
        if not (serving := self.read(experiment).serving):
            raise ManifestError(KIND, experiment, "there is none yet")
        return self.kept(experiment, serving).open()

    def keep(
        self, experiment: str, checkpoint: StoredFiles, tokenizer: StoredFiles, scores: Sequence[Mapping[str, Any]]
    ) -> Manifest:
        """Store a checkpoint with all that it needs to serve and to be compared; what is there already stays.

        Its files are hard links where that is possible, which is safe as no stored file is ever changed.

        Args:
            experiment: Whose champion it is going to be.
            checkpoint: The checkpoint.
            tokenizer: The text tokenizer of its vocabulary.
            scores: What it did, a row a task, each with the digest ``evaluation``.
        """
        digest = checkpoint.manifest.digest
        inputs = {"checkpoint": digest, "tokenizer": tokenizer.manifest.digest}
        evaluations = {row["task"]: row["evaluation"] for row in scores}
        recipe = {**checkpoint.manifest.recipe, **inputs, "evaluations": evaluations}

        def fill(path: Path) -> dict[str, Any]:
            for files in (checkpoint, tokenizer):
                for file in files.manifest.files:
                    _link(files.path(file.path), path / file.path)
            (path / SCORES).write_text(json.dumps(list(scores), indent=1))
            return {**checkpoint.manifest.metadata, "checkpoint": digest}

        folder = self.kept(experiment, digest)
        return folder.find(recipe) or folder.write(fill, recipe=recipe)

    def decide(self, experiment: str, decision: Decision, *, keep: int) -> Manifest:
        """Add a decision; if another checkpoint serves by it, that one must be kept already.

        Args:
            experiment: Whose champion it is about.
            decision: The decision.
            keep: How many champions stay for a rollback, with the one that serves.

        Raises:
            RuntimeError: If another champion serves than the decision says, as another process decided meanwhile.
            ManifestError: If the checkpoint that is to serve is not kept, or damaged.
        """
        return self._add(experiment, lambda history: _follow(history, decision, keep=max(1, keep)))

    def roll_back(self, experiment: str, reason: str) -> Manifest:
        """Make the champion before the present one serve again.

        Args:
            experiment: Whose champion.
            reason: Why, for the history.

        Raises:
            ValueError: If none before it is kept.
            ManifestError: If that one is damaged.
        """

        def withdraw(history: History) -> History:
            if len(history.line) < 2:
                raise ValueError(
                    f"experiment {experiment!r} has {len(history.line)} kept champions, expected at least 2 to roll "
                    f"back; see:\n  db1 champion --experiment {experiment}"
                )
            before, serving = history.line[-2:]
            decision = Decision(WITHDRAWN, serving, serving, before, reason)
            return History(history.line[:-1], (*history.decisions, decision))

        return self._add(experiment, withdraw)

    def _add(self, experiment: str, change: Callable[[History], History]) -> Manifest:
        changed = change(self.read(experiment))
        self.kept(experiment, changed.serving).open().verify()

        def fill(path: Path) -> dict[str, Any]:
            history = self.read(experiment)
            after = change(history)
            if after.serving != changed.serving:
                raise RuntimeError(f"the champion of {experiment!r} was replaced meanwhile, so nothing was changed")
            value = {"line": after.line, "decisions": _without_old_tasks(after.decisions)}
            (path / HISTORY).write_text(json.dumps(value, indent=1))
            now = datetime.now(UTC).isoformat(timespec="seconds")
            return {"times": [*history.times, now], "serves": after.serving}

        last = changed.decisions[-1]
        recipe = {"decision": {name: value for name, value in asdict(last).items() if name != "contest"}}
        manifest = self.record(experiment).write(fill, recipe=recipe)
        if last.serves != last.champion and last.outcome != WITHDRAWN:
            self._remove_old("_kept", KEPT, experiment, changed.line)
        if last.outcome != WITHDRAWN:
            self._remove_old("_games", GAMES, experiment, changed.line)
        return manifest

    def _remove_old(self, shelf: str, kind: str, experiment: str, line: Sequence[str]) -> None:
        names = {self.kept(experiment, digest).name for digest in line}
        for name in stored_names(f"{self.root}/{shelf}"):
            if name.split("/")[0] == experiment and "/".join(name.split("/")[:2]) not in names:
                remove(StoredFolder(f"{self.root}/{shelf}", kind, name))


def _follow(history: History, decision: Decision, *, keep: int) -> History:
    if history.serving != decision.champion:
        raise RuntimeError(
            f"checkpoint {history.serving[:12] or 'none'} serves, but the decision was made against "
            f"{decision.champion[:12] or 'none'}; another process decided meanwhile, so decide again"
        )
    line = history.line
    if decision.serves != history.serving:
        line = (*(digest for digest in line if digest != decision.serves), decision.serves)
    return History(line[-keep:], (*history.decisions, decision))


def _without_old_tasks(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    rows = [asdict(decision) for decision in decisions]
    for row in rows[:-1]:
        if row["contest"]:
            row["contest"] = {**row["contest"], "tasks": []}
    return rows


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
