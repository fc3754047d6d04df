from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from storage.folder import StoredFolder
from storage.trajectories import KIND
from tasks.catalogue import list_entries, to_markdown
from tasks.registry import get_task

CARTPOLE, PENDULUM = (get_task(f"control/{name}") for name in ("CartPole", "Pendulum"))


def store_scores(root: Path, task: str, expert: float) -> None:
    seeds = list(range(20))
    scores = {
        name: {"mean": mean, "returns": [mean] * 20, "seeds": seeds}
        for name, mean in (("random", 20.0), ("expert", expert))
    }

    def fill(folder: Path) -> Mapping[str, Any]:
        (folder / "episodes").write_text("as they are")
        counts = {"num_episodes": 20, "num_transitions": 5000, "expert_seconds": 2.5}
        return {"reference_scores": scores, "floor": "random", **counts}

    StoredFolder(root, KIND, task).write(fill, recipe={})


def test_a_task_counts_as_proven_only_when_stored_episodes_show_it(tmp_path: Path) -> None:
    (before,) = list_entries([CARTPOLE], str(tmp_path))
    store_scores(tmp_path, CARTPOLE.id, expert=500.0)
    store_scores(tmp_path, PENDULUM.id, expert=20.0)

    proven, doubted = list_entries([CARTPOLE, PENDULUM], str(tmp_path))

    assert (before.is_proven, before.doubt, before.expert) == (False, "no episodes are stored", None)
    assert (proven.is_proven, proven.expert, proven.random, proven.steps_per_s) == (True, 500.0, 20.0, 2000.0)
    assert not doubted.is_proven
    assert "0 ahead of random" in doubted.doubt


def test_a_damaged_manifest_proves_nothing(tmp_path: Path) -> None:
    store_scores(tmp_path, CARTPOLE.id, expert=500.0)
    manifest = tmp_path / CARTPOLE.id / "manifest.json"
    manifest.write_text(manifest.read_text().replace("500.0", "900.0", 1))

    (entry,) = list_entries([CARTPOLE], str(tmp_path))

    assert "broken" in entry.doubt


def test_the_document_counts_families_and_lists_every_task(tmp_path: Path) -> None:
    store_scores(tmp_path, CARTPOLE.id, expert=500.0)

    document = to_markdown(list_entries([CARTPOLE, PENDULUM], str(tmp_path)))

    assert "2 tasks, 1 of them with a proven expert" in document
    assert "| control | 2 | 1 | 20 | 500 | 1.25 | 8 | script | MIT |  |" in document
    assert "| control/CartPole | 20 | 500 | 20 | 2,000 | script | yes |" in document
