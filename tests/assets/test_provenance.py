from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from assets.provenance import UNKNOWN, cpu_seconds, git_revision

BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"


def test_the_revision_of_a_folder_that_is_no_checkout_is_unknown(tmp_path: Path) -> None:
    assert git_revision(tmp_path) == UNKNOWN


def test_the_revision_names_the_commit_and_says_when_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (tmp_path / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    commit = git("rev-parse", "HEAD")

    assert git_revision.__wrapped__(tmp_path) == commit
    (tmp_path / "file").write_text("2")
    assert git_revision.__wrapped__(tmp_path) == f"{commit}-dirty"


def test_the_cpu_time_of_a_child_counts_while_it_lives_and_after_it_ended() -> None:
    before = cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        alive = cpu_seconds()
        child.communicate(b"\n")
    after = cpu_seconds()

    assert alive - before >= 0.25
    assert after - before >= 0.25
