from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.folder import StoredFolder
from storage.manifest import ManifestError
from storage.trajectories import KIND
from tasks.proof import find_doubt
from tasks.task import Task


@dataclass(frozen=True)
class Entry:
    """What is known of a task: what it is, and how its expert did when its episodes were made.

    Args:
        task: Its id.
        family: Its family.
        expert_route: Where the expert's knowledge comes from; ``imported`` when the stored episodes were.
        random: Mean return of the random policy; None as long as no episodes are stored, as all that follows.
        expert: Mean return of the expert.
        floor: The reference score that counts as 0.
        episodes: Stored episodes.
        steps_per_s: Transitions that the expert made a second of wall-clock time, over all processes.
        core_seconds: Wall-clock seconds of the expert's stored episodes, times the processes.
        licence: SPDX identifier of the environment's code or data.
        extra: The optional dependencies that it needs; empty for none.
        doubt: Why the expert is not proven to be one; empty when it is.
        description: One sentence.
    """

    task: str
    family: str
    expert_route: str
    random: float | None
    expert: float | None
    floor: str
    episodes: int | None
    steps_per_s: float | None
    core_seconds: float | None
    licence: str
    extra: str
    doubt: str
    description: str

    @property
    def is_proven(self) -> bool:
        """Whether the expert is shown to be one; a task without such an expert does not count."""
        return not self.doubt


def list_entries(tasks: Iterable[Task], root: str) -> list[Entry]:
    """Return the entries of tasks, from the trajectories that are stored; a missing or damaged one proves nothing.

    Args:
        tasks: The tasks.
        root: Where trajectories lie, such as ``Locations().trajectories``.
    """
    return [_read_entry(task, StoredFolder(root, KIND, task.id)) for task in tasks]


def summarise_families(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """Return a row a family: its tasks, the means of random's and the expert's returns over those that are proven.

    Its seconds are those of one core for ten of the expert's episodes of each proven task.
    """
    return [
        _summarise(family, [entry for entry in entries if entry.family == family])
        for family in dict.fromkeys(entry.family for entry in entries)
    ]


def to_markdown(entries: Sequence[Entry]) -> str:
    """Return the entries as a document: a row a family, then a row a task."""
    proven = sum(entry.is_proven for entry in entries)
    lines = [
        "# Tasks",
        "",
        f"{len(entries)} tasks, {proven} of them with a proven expert: on at least 20 equal seeds ahead of chance, and "
        "of the score's floor, by more than two standard errors. Made by `db1 tasks --document docs/tasks.md`.",
        "",
        "Means are over the proven tasks of a family, seconds those of one core for ten episodes of each.",
        "",
        *_rows(summarise_families(entries)),
    ]
    for family in dict.fromkeys(entry.family for entry in entries):
        rows = [_row(entry) for entry in entries if entry.family == family]
        lines += ["", f"## {family}", "", *_rows(rows)]
    return "\n".join(lines) + "\n"


def _summarise(family: str, entries: Sequence[Entry]) -> dict[str, str]:
    proven = [entry for entry in entries if entry.is_proven]
    measured = [entry for entry in proven if entry.core_seconds and entry.episodes and entry.steps_per_s]
    seconds = sum((entry.core_seconds or 0.0) / (entry.episodes or 1) for entry in measured)
    row: dict[str, Any] = {"family": family, "tasks": len(entries), "proven": len(proven)}
    for name in ("random", "expert"):
        scores = [score for entry in proven if (score := getattr(entry, name)) is not None]
        row[name] = format_number(sum(scores) / len(scores) if scores else None)
    row["core-seconds"] = format_number(10.0 * seconds if measured else None)
    row["episodes/core-s"] = format_number(len(measured) / seconds if measured else None)
    for head, name in (("expert is", "expert_route"), ("licence", "licence"), ("extra", "extra")):
        row[head] = ", ".join(sorted({getattr(entry, name) for entry in entries}))
    return {name: str(value) for name, value in row.items()}


def _row(entry: Entry) -> dict[str, str]:
    names = ("random", "expert", "episodes", "steps/s")
    numbers = map(format_number, (entry.random, entry.expert, entry.episodes, entry.steps_per_s))
    return {
        "task": entry.task,
        **dict(zip(names, numbers, strict=True)),
        "expert is": entry.expert_route,
        "proven": entry.doubt or "yes",
        "what is to be done": entry.description,
    }


def _rows(rows: Sequence[Mapping[str, str]]) -> list[str]:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]


def format_number(value: float | None) -> str:
    """Return a number in four digits, or whole from 1,000 on; nothing for None."""
    return "" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _read_entry(task: Task, folder: StoredFolder) -> Entry:
    try:
        found = folder.read_manifest().metadata
    except ManifestError as error:
        doubt = error.fault if folder.exists else "no episodes are stored"
        return _entry(task, doubt=doubt)
    scores, seconds = found["reference_scores"], found.get("expert_seconds")
    return _entry(
        task,
        doubt=find_doubt(scores, found["floor"]) or "",
        random=scores["random"]["mean"],
        expert=scores["expert"]["mean"],
        episodes=found["num_episodes"],
        steps_per_s=found["num_transitions"] / seconds if seconds else None,
        core_seconds=seconds * found.get("num_processes", 1) if seconds else None,
        expert_route=found.get("expert_route"),
    )


def _entry(
    task: Task,
    *,
    doubt: str,
    random: float | None = None,
    expert: float | None = None,
    episodes: int | None = None,
    steps_per_s: float | None = None,
    core_seconds: float | None = None,
    expert_route: str | None = None,
) -> Entry:
    return Entry(
        task=task.id,
        family=task.family,
        expert_route=expert_route or task.expert_route,
        random=random,
        expert=expert,
        floor=task.floor,
        episodes=episodes,
        steps_per_s=steps_per_s,
        core_seconds=core_seconds,
        licence=task.licence,
        extra=task.extra,
        doubt=doubt,
        description=task.description,
    )
