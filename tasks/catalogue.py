from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

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


def to_markdown(entries: Sequence[Entry]) -> str:
    """Return the entries as a document: a summary a family, then a table of all tasks of each."""
    proven = sum(entry.is_proven for entry in entries)
    families = list(dict.fromkeys(entry.family for entry in entries))
    lines = ["# Tasks", "", f"{len(entries)} tasks, {proven} of them with a proven expert (see `tasks/proof.py`)."]
    lines += ["", "| family | tasks | proven | expert | licence | extra |", "|---|---|---|---|---|---|"]
    for family in families:
        of_family = [entry for entry in entries if entry.family == family]
        routes, licences, extras = (
            ", ".join(sorted({getattr(entry, name) for entry in of_family}))
            for name in ("expert_route", "licence", "extra")
        )
        num_proven = sum(entry.is_proven for entry in of_family)
        lines.append(f"| {family} | {len(of_family)} | {num_proven} | {routes} | {licences} | {extras} |")
    for family in families:
        lines += [
            "",
            f"## {family}",
            "",
            "| task | random | expert | episodes | steps/s | proven | what is to be done |",
        ]
        lines.append("|---|---|---|---|---|---|---|")
        for entry in entries:
            if entry.family == family:
                numbers = (entry.random, entry.expert, entry.episodes, entry.steps_per_s)
                cells = [entry.task, *map(format_number, numbers), entry.doubt or "yes", entry.description]
                lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


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
        licence=task.licence,
        extra=task.extra,
        doubt=doubt,
        description=task.description,
    )
