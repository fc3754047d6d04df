"""Stands for kubectl and for its cluster: pods are processes of this machine, and what is known of them lies in files.

python fake_kubectl.py FOLDER COMMAND ARGUMENT...

Where the folder has a file ``breaks``, connections that follow the pods' words break before they tell any.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

FOLDER, COMMAND, ARGUMENTS = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
RUN = "import subprocess, sys; code = subprocess.call(sys.argv[2:]); open(sys.argv[1], 'w').write(str(code))"


def pods() -> list[Path]:
    return sorted(path for path in FOLDER.glob("pod-*"))


def codes() -> list[int | None]:
    """Exit code of each pod; None while it runs."""
    files = [pod / "code" for pod in pods()]
    return [int(file.read_text()) if file.exists() and file.read_text() else None for file in files]


def stop() -> None:
    """Kill the pods, and wait until the last process of each has let go of its log."""
    for pod in pods():
        with suppress(ProcessLookupError):
            os.killpg(int((pod / "pid").read_text()), signal.SIGKILL)
        with (pod / "log").open() as log:
            fcntl.flock(log, fcntl.LOCK_SH)


def apply() -> None:
    job = json.loads(sys.stdin.read())["items"][-1]
    name, (container,) = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"]
    for index in range(job["spec"]["completions"]):
        pod = FOLDER / f"pod-{index}"
        pod.mkdir()
        settings = {one["name"]: one["value"] for one in container["env"]} | {"JOB_COMPLETION_INDEX": str(index)}
        command = [re.sub(r"\$\((\w+)\)", lambda found: settings[found[1]], word) for word in container["command"]]  # noqa: B023
        command = [word.replace(f"{name}-0.{name}", "127.0.0.1") for word in command]
        with (pod / "log").open("wb") as log:
            fcntl.flock(log, fcntl.LOCK_EX)
            process = subprocess.Popen(
                [sys.executable, "-c", RUN, str(pod / "code"), *command],
                env={"PATH": os.environ["PATH"], **settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        (pod / "pid").write_text(str(process.pid))


def get() -> None:
    conditions = []
    if any(codes()):
        stop()
        conditions = [{"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}]
    elif None not in codes():
        conditions = [{"type": "Complete", "status": "True"}]
    print(json.dumps({"status": {"ready": codes().count(None), "conditions": conditions}}))


def logs() -> None:
    files = [(pod / "log").open("rb") for pod in pods()]
    ended = False
    if "--follow" in ARGUMENTS and (FOLDER / "breaks").exists():
        sys.exit(1)
    while not ended:
        ended = "--follow" not in ARGUMENTS or None not in codes() or any(codes())
        for file in files:
            read = file.read()
            whole = len(read) if ended else read.rfind(b"\n") + 1
            file.seek(whole - len(read), os.SEEK_CUR)
            sys.stdout.buffer.write(read[:whole])
        sys.stdout.buffer.flush()
        time.sleep(0.05)


def delete() -> None:
    stop()
    for pod in pods():
        for file in pod.iterdir():
            file.unlink()
        pod.rmdir()


with (FOLDER / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[2:]) + "\n")
{"apply": apply, "get": get, "logs": logs, "delete": delete}[COMMAND]()
