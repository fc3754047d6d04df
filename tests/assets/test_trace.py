from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from assets.data_card import write_data_card
from assets.resources import Stores
from assets.trace import Link, Trace
from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError

TASKS = ("control/Acrobot", "control/CartPole")
SCORES = {"random": {"mean": 0.0}, "expert": {"mean": 10.0}}
VOCABULARY = {"text_size": 8, "num_bins": 4, "tokenizer_digest": "7e47"}


def store(root: Path, shelf: str, kind: str, name: str, recipe: dict[str, Any], **metadata: Any) -> Manifest:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / "content").write_text(name)
        return metadata

    return StoredFolder(root / shelf, kind, name).write(fill, recipe=recipe)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What an experiment ``tiny`` of two tasks stores, from a report back to the experts."""
    shards = {}
    evaluated = {}
    store(tmp_path, "tokenizer", "tokenizer", "tiny", {}, tokenizer_digest="7e47")
    for task in TASKS:
        episodes = store(tmp_path, "trajectories", "trajectories", task, {"task": task, "num_episodes": 3})
        recipe = {"trajectories": episodes.digest, "vocabulary": VOCABULARY}
        tokens = store(tmp_path, "tokens", "tokens", task, recipe)
        shards[task] = store(tmp_path, "shards", "shards", task, {"tokens": tokens.digest}).digest
        evaluated[task] = {"trajectories": episodes.digest}
    index = store(tmp_path, "shards/_index", "shard-index", "tiny", {"shards": shards})
    mixture = [{"task": TASKS[1], "requested_share": 0.25, "realised_share": 0.25, "windows": 3, "epochs": 0.5}]
    checkpoint = store(tmp_path, "checkpoints", "checkpoint", "tiny", {"shards": index.digest}, mixture=mixture)
    facts = {"returns": [4.0, 6.0], "seeds": [7, 8], "reference_scores": SCORES, "floor": "random"}
    evaluations = {}
    for task, recipe in evaluated.items():
        recipe["checkpoint"] = checkpoint.digest
        evaluations[task] = store(tmp_path, "evaluation", "trajectories", task, recipe, **facts).digest
    store(tmp_path, "report", "report", "tiny", {"checkpoint": checkpoint.digest, "evaluations": evaluations})
    return tmp_path


def count_things(link: Link) -> Counter[str]:
    """Return how many things there are on each shelf from a link on, each counted once."""
    shelves: dict[int, str] = {}

    def walk(one: Link) -> None:
        shelves[id(one)] = one.shelf
        for before in one.inputs:
            walk(before)

    walk(link)
    return Counter(shelves.values())


def test_the_way_leads_from_a_report_over_every_thing_back_to_the_experts_once(root: Path) -> None:
    report = Trace(Stores(root=str(root)), "tiny").begin("report")

    assert list(report.faults()) == []
    of_tasks = dict.fromkeys(("evaluation", "shards", "tokens", "trajectories"), 2)
    assert count_things(report) == {"report": 1, "checkpoints": 1, "shards/_index": 1, "tokenizer": 1, **of_tasks}
    evaluation = report.inputs[1]
    assert (evaluation.facts or {})["score"] == pytest.approx(0.5)
    assert (evaluation.facts or {})["seeds"] == [7, 8]
    assert evaluation.inputs[0] is report.inputs[0]


def test_the_way_from_a_champion_leads_over_what_is_kept_of_it_to_the_experts(root: Path) -> None:
    checkpoint = StoredFolder(root / "checkpoints", "checkpoint", "tiny").read()
    evaluations = {task: StoredFolder(root / "evaluation", "trajectories", task).read().digest for task in TASKS}
    store(
        root,
        "champions/_kept",
        "kept-champion",
        f"tiny/{checkpoint.digest[:12]}",
        {**checkpoint.recipe, "evaluations": evaluations},
        checkpoint=checkpoint.digest,
    )
    decision = {"outcome": "first", "challenger": checkpoint.digest, "serves": checkpoint.digest, "reason": "alone"}
    store(root, "champions", "champion", "tiny", {"decision": decision})

    champion = Trace(Stores(root=str(root)), "tiny").begin("champion")

    assert list(champion.faults()) == []
    facts = champion.facts or {}
    assert (facts["outcome"], facts["reason"]) == ("first", "alone")
    of_tasks = dict.fromkeys(("evaluation", "shards", "tokens", "trajectories"), 2)
    alone = dict.fromkeys(("champions", "champions/_kept", "checkpoints", "shards/_index", "tokenizer"), 1)
    assert count_things(champion) == alone | of_tasks


def test_what_was_replaced_since_breaks_the_link_and_names_both_digests(root: Path) -> None:
    used = StoredFolder(root / "tokens", "tokens", TASKS[0]).read().digest
    now = store(root, "tokens", "tokens", TASKS[0], {"vocabulary": VOCABULARY, "trajectories": "other"})

    checkpoint = Trace(Stores(root=str(root)), "tiny").begin("checkpoint")

    (broken,) = checkpoint.faults()
    assert (broken.shelf, broken.name, broken.digest) == ("tokens", TASKS[0], used)
    assert now.digest[:12] in broken.fault
    assert broken.manifest is None
    assert broken.inputs == ()


def test_the_checkpoint_that_played_is_found_by_its_digest_under_another_experiments_name(root: Path) -> None:
    report = Trace(Stores(root=str(root)), "other", task=TASKS[1])

    with pytest.raises(ManifestError, match="db1 make report --experiment other"):
        report.begin("report")
    used = StoredFolder(root / "checkpoints", "checkpoint", "tiny").read().digest
    link = report._follow("checkpoints", used, "other")

    assert (link.name, link.digest) == ("tiny", used)
    assert (link.facts or {})["requested_share"] == 0.25


def test_things_of_tasks_need_a_task_and_what_is_missing_is_told_with_its_command(tmp_path: Path) -> None:
    trace = Trace(Stores(root=str(tmp_path)), "tiny")

    with pytest.raises(ValueError, match="name one with --task"):
        trace.begin("tokens")
    with pytest.raises(ValueError, match="unknown stage 'tokenz'; expected one of"):
        trace.begin("tokenz")
    with pytest.raises(ManifestError, match="db1 make checkpoint --experiment tiny"):
        trace.begin("checkpoint")


def test_the_data_card_lists_each_task_with_its_digests_and_says_what_was_replaced(root: Path) -> None:
    stores, checkpoint = Stores(root=str(root)), StoredFolder(root / "checkpoints", "checkpoint", "tiny").read()
    replaced = StoredFolder(root / "trajectories", "trajectories", TASKS[0]).read().digest
    shards = StoredFolder(root / "shards", "shards", TASKS[1]).read().digest
    store(root, "trajectories", "trajectories", TASKS[0], {"task": "another", "num_episodes": 9})

    card = write_data_card(stores, checkpoint)

    first, second = (line for line in card.splitlines() if line.startswith("| `control/"))
    assert f"`{replaced[:12]}` (replaced since)" in first
    assert f"`{shards[:12]}`" in second
    assert "| 0 to 2 |" in second
    assert "25.00 %" in second
    assert "not known any more: 1." in card
    imported = StoredFolder(root / "checkpoints", "checkpoint", "theirs").write(
        lambda folder: {}, recipe={"deepspeed": "f"}
    )
    assert write_data_card(stores, imported) == ""
