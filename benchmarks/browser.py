"""Pictures of web pages, made by a Chromium without a window."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_PORT_FILE = "DevToolsActivePort"
_SECONDS_TO_START, _SECONDS_TO_ANSWER = 60, 60


def find_chromium() -> str:
    """Return the browser's program.

    Raises:
        FileNotFoundError: If it is not installed.
    """
    if (program := shutil.which("chromium")) is None:
        raise FileNotFoundError("chromium is not installed; on Debian:\n  apt-get install chromium")
    return program


def photograph(url: str, to: Path, *, wait_s: float = 15.0, width: int = 1600, height: int = 1000) -> None:
    """Save a page as PNG, by a browser that is started for it.

    Args:
        url: Its address.
        to: The file.
        wait_s: Seconds until the page has asked for all that it shows.
        width: Of the picture, in pixels.
        height: The same.

    Raises:
        FileNotFoundError: If Chromium is not installed.
        TimeoutError: If it does not start, or does not answer.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--remote-debugging-port=0"]
        command = [find_chromium(), *options, f"--window-size={width},{height}", f"--user-data-dir={profile}", url]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                with connect(_find_page(Path(profile) / _PORT_FILE), max_size=None) as connection:
                    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
                    _ask(connection, 1, "Emulation.setDeviceMetricsOverride", **size)
                    time.sleep(wait_s)
                    picture = _ask(connection, 2, "Page.captureScreenshot", format="png")
                    to.write_bytes(base64.b64decode(picture["data"]))
            finally:
                process.terminate()


def _ask(connection: ClientConnection, number: int, method: str, **parameters: Any) -> dict[str, Any]:
    """Return the browser's answer to a command of its debugging protocol."""
    connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
    while True:
        answer = json.loads(connection.recv(timeout=_SECONDS_TO_ANSWER))
        if answer.get("id") == number:
            return answer["result"]


def _find_page(port_file: Path) -> str:
    """Return the address of the protocol of the first page."""
    begun = time.monotonic()
    while time.monotonic() - begun < _SECONDS_TO_START:
        try:
            port = port_file.read_text().splitlines()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=10) as answer:
                pages = [one for one in json.load(answer) if one["type"] == "page"]
            return pages[0]["webSocketDebuggerUrl"]
        except (OSError, IndexError):
            time.sleep(0.3)
    raise TimeoutError(f"chromium has not started after {_SECONDS_TO_START} s")
