from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.folder import StoredFolder

POINTS = 50

WRITER = """
import errno, os, random, signal, subprocess, sys
from pathlib import Path
import numpy as np
from storage.doctor import examine
from storage.inventory import list_things
from storage.tokens import TokenEpisode, TokenStore

root, num_points = sys.argv[1], int(sys.argv[2])
store = TokenStore(root + "/tokens")
task = store.root + "/zoo/a"

def episodes(version):
    random = np.random.default_rng(version)
    for length in range(1, 9):
        tokens = random.integers(0, 2**16, size=(length, 50), dtype=np.uint16)
        images = random.integers(0, 256, size=(length, 16, 16, 3), dtype=np.uint8)
        yield TokenEpisode(tokens, images, seed=version, total_return=0.0)

def write(version):
    store.write("zoo/a", {}, episodes(version), recipe={"version": version}, metadata={})

def version_there():
    (thing,) = list_things(root)
    assert examine(thing).faults == (), examine(thing)
    found = store.read("zoo/a")
    for one, expected in zip(found, episodes(found[0].seed), strict=True):
        assert (one.tokens == expected.tokens).all() and (one.images == expected.images).all()
    return found[0].seed

def strays():
    return [stray for thing in list_things(root) for stray in examine(thing).strays]

def at_operation(number, strike):
    count = 0
    def hook(event, arguments):
        nonlocal count
        if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir") or event == "open":
            count += 1
            if count >= number:
                strike(event, arguments)
    sys.addaudithook(hook)
    return lambda: count

def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            code = work() or 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
            code = 99
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

draw = random.Random(0)
"""

STRUCK = (
    WRITER
    + """
def kill(event, arguments):
    os.kill(os.getpid(), signal.SIGKILL)

def refuse(event, arguments):
    writes = event != "open" or (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes and event not in ("os.remove", "os.rmdir"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

def write_until(number, strike):
    at_operation(number, strike)
    try:
        write(1)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        return 28

def count_operations():
    counted = at_operation(10**9, kill)
    write(1)
    return counted()

strike = {"kill": kill, "full": refuse}[sys.argv[3]]
assert in_child(lambda: write(0)) == 0
operations = in_child(count_operations)
assert operations > 50, operations
seen = set()
for trial in range(num_points):
    assert in_child(lambda: write(0)) == 0
    number = draw.randrange(1, operations + 1)
    status = in_child(lambda: write_until(number, strike))
    assert status in (-signal.SIGKILL, 28, 0), (number, status)
    seen.add((status, in_child(version_there)))
    if status == 28:
        assert in_child(lambda: len(strays())) == 0
assert {version for _, version in seen} <= {0, 1} and len(seen) > 1, seen
assert in_child(lambda: write(2)) == 0
assert in_child(version_there) == 2 and in_child(lambda: len(strays())) == 0
"""
)

FULL_DISK = (
    WRITER
    + """
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", root], check=True)
write(0)
num_bytes = 1024 * int(subprocess.run(["du", "-sk", root], check=True, capture_output=True).stdout.split()[0])
seen = set()
for trial in range(num_points):
    filler = Path(root, "filler")
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    filler.write_bytes(bytes(free - draw.randrange(num_bytes)))
    try:
        write(1)
        full = False
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        full = True
    filler.unlink()
    seen.add((full, version_there()))
    assert strays() == []
    write(0)
assert seen == {(True, 0)} or seen == {(True, 0), (False, 1)}, seen
"""
)


def run_script(script: str, *arguments: str, prefix: tuple[str, ...] = ()) -> None:
    command = [*prefix, sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("strike", ["kill", "full"])
def test_a_write_struck_at_any_point_leaves_the_old_thing_or_the_new_and_the_next_one_cleans_up(
    tmp_path: Path, strike: str
) -> None:
    run_script(STRUCK, str(tmp_path), str(POINTS), strike)


def test_a_full_disk_leaves_the_old_thing_alone_and_nothing_half_written(tmp_path: Path) -> None:
    prefix = ("unshare", "--user", "--map-root-user", "--mount")
    try:
        subprocess.run([*prefix, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    run_script(FULL_DISK, str(tmp_path), str(POINTS), prefix=prefix)


def test_of_many_writers_at_once_one_wins_whole(tmp_path: Path) -> None:
    def write(number: int) -> None:
        def fill(path: Path) -> dict:
            for name in ("a", "b", "c"):
                (path / name).write_text(str(number))
            return {}

        StoredFolder(tmp_path, "report", "demo").write(fill, recipe={"writer": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    files = StoredFolder(tmp_path, "report", "demo").open()

    assert len({files.path(name).read_text() for name in ("a", "b", "c")}) == 1
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == sorted(
        [".lock", files.manifest.folder, "manifest.json"]
    )
