from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from storage.champions import ChampionStore, Decision
from storage.folder import StoredFiles, StoredFolder, stored_names
from storage.manifest import ManifestError

KILLED_AT_EVERY_MOMENT = """
import os, shutil, signal, sys
from pathlib import Path
from tests.storage.test_champions import crown, store_at

def kill_at(moment):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event == "open" or event.startswith(("os.", "shutil.")):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

root = Path(sys.argv[1])
for content in ("older", "old"):
    crown(root / "before", content)
crown(root / "elsewhere", "loads what is loaded when it is first needed")
seen, moment, status = set(), 0, 1
while status != 0:
    shutil.rmtree(root / "now", ignore_errors=True)
    shutil.copytree(root / "before", root / "now")
    moment += 1
    child = os.fork()
    if child == 0:
        kill_at(moment)
        crown(root / "now", "new")
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    champion = store_at(root / "now").open("demo")
    champion.verify()
    seen.add(champion.path("weights").read_text())
assert seen == {"old", "new"}, seen
assert moment > 40, moment
"""


def store_at(root: str | Path) -> ChampionStore:
    return ChampionStore(f"{root}/champions")


def stored(root: str | Path, kind: str, name: str, content: str) -> StoredFiles:
    def fill(path: Path) -> dict[str, int]:
        (path / name).write_text(content)
        return {"step": 7}

    folder = StoredFolder(f"{root}/{kind}", kind, "demo")
    folder.write(fill, recipe={"content": content})
    return folder.open()


def checkpoint(root: str | Path, content: str) -> StoredFiles:
    return stored(root, "checkpoint", "weights", content)


def crown(root: str | Path, content: str, *, keep: int = 2) -> str:
    """Make a checkpoint with this content the champion, and return its digest."""
    store, challenger = store_at(root), checkpoint(root, content)
    digest, serving = challenger.manifest.digest, store.read("demo").serving
    store.keep("demo", challenger, stored(root, "tokenizer", "tokenizer.json", "words"), [])
    store.decide("demo", Decision("promoted", digest, serving, digest, "better"), keep=keep)
    return digest


def test_the_champion_is_kept_as_a_whole_when_the_next_checkpoint_takes_its_place(tmp_path: Path) -> None:
    digest = crown(tmp_path, "first")

    checkpoint(tmp_path, "second")

    files = store_at(tmp_path).open("demo")
    assert files.path("weights").read_text() == "first"
    assert files.path("tokenizer.json").read_text() == "words"
    assert files.manifest.metadata == {"step": 7, "checkpoint": digest}
    assert store_at(tmp_path).experiments() == ["demo"]


def test_the_last_champions_stay_and_older_ones_go(tmp_path: Path) -> None:
    digests = [crown(tmp_path, content) for content in "abc"]

    store = store_at(tmp_path)

    assert store.read("demo").line == tuple(digests[1:])
    assert stored_names(tmp_path / "champions" / "_kept") == sorted(f"demo/{digest[:12]}" for digest in digests[1:])
    assert [one.serves for one in store.read("demo").decisions] == digests
    assert len(store.read("demo").times) == 3


def test_a_rollback_makes_the_one_before_serve_and_says_why(tmp_path: Path) -> None:
    first, second = crown(tmp_path, "first"), crown(tmp_path, "second")
    store = store_at(tmp_path)

    store.roll_back("demo", "it stumbles")

    history = store.read("demo")
    assert store.open("demo").path("weights").read_text() == "first"
    assert history.was_withdrawn(second)
    assert not history.was_withdrawn(first)
    assert (history.decisions[-1].outcome, history.decisions[-1].reason) == ("rolled back", "it stumbles")
    with pytest.raises(ValueError, match=r"1 kept champions, expected at least 2(.|\n)*db1 champion --experiment demo"):
        store.roll_back("demo", "again")


def test_a_damaged_champion_is_not_rolled_back_to(tmp_path: Path) -> None:
    first, second = crown(tmp_path, "first"), crown(tmp_path, "second")
    store = store_at(tmp_path)
    weights = store.kept("demo", first).open().path("weights")
    weights.unlink()
    weights.write_text("worse")

    with pytest.raises(ManifestError, match=r"kept champion 'demo/.*corrupt(.|\n)*db1 make champion --experiment demo"):
        store.roll_back("demo", "it stumbles")

    assert store.read("demo").serving == second


def test_a_decision_against_a_champion_that_serves_no_more_is_refused(tmp_path: Path) -> None:
    first, second = crown(tmp_path, "first"), crown(tmp_path, "second")

    with pytest.raises(RuntimeError, match="another process decided meanwhile"):
        store_at(tmp_path).decide("demo", Decision("kept", "c", first, first, "worse"), keep=2)

    assert store_at(tmp_path).read("demo").serving == second


def test_without_a_champion_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"champion of experiment 'demo': .*\n  db1 make champion --experiment demo"
    ):
        store_at(tmp_path).open("demo")


def test_only_the_last_decision_has_the_numbers_of_single_tasks(tmp_path: Path) -> None:
    digest = crown(tmp_path, "first")
    for challenger in "ab":
        contest = {"families": [1], "tasks": [2]}
        decision = Decision("kept", challenger, digest, digest, "worse", contest=contest)
        store_at(tmp_path).decide("demo", decision, keep=2)

    before, last = store_at(tmp_path).read("demo").decisions[-2:]

    assert before.contest == {"families": [1], "tasks": []}
    assert last.contest == {"families": [1], "tasks": [2]}


def test_games_stay_as_long_as_their_player_is_kept(tmp_path: Path) -> None:
    store, first = store_at(tmp_path), crown(tmp_path, "first")
    for digest in (first, "loser0123456789"):
        store.games("demo", digest, "control/CartPole", 1).write(lambda _: {}, recipe={"checkpoint": digest})

    store.decide("demo", Decision("kept", "loser0123456789", first, first, "worse"), keep=2)

    assert stored_names(tmp_path / "champions" / "_games") == [f"demo/{first[:12]}/control/CartPole/look-1"]


def test_a_promotion_killed_at_any_moment_leaves_the_old_champion_or_the_new_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_AT_EVERY_MOMENT, str(tmp_path)], check=True, timeout=300)


def test_champions_in_an_object_store_are_kept_rolled_back_and_removed(object_store: str) -> None:
    digests = [crown(object_store, content) for content in "abc"]
    store = store_at(object_store)

    store.roll_back("demo", "it stumbles")

    assert store.open("demo").path("weights").read_text() == "b"
    assert stored_names(f"{object_store}/champions/_kept") == sorted(f"demo/{digest[:12]}" for digest in digests[1:])
