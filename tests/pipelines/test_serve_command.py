from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


def test_a_second_server_of_code_is_refused_as_it_would_end_the_runs_of_the_first(
    run_db1: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    with socket.socket() as first:
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as gRPC does
        first.bind(("127.0.0.1", 0))
        first.listen()
        port = first.getsockname()[1]

        code, printed = run_db1("serve", "--port", str(port))

    assert code == 1
    assert f"no server of code can listen at 127.0.0.1:{port}" in printed
