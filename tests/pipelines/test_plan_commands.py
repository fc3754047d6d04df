from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipelines.cli import app

RUN = ("plan", "--preset", "db1-1.2b", "--tokens", "300e9", "--gpus", "16xH100", "--price", "2.5")


def test_a_plan_says_time_cost_memory_and_what_it_assumes() -> None:
    told = CliRunner().invoke(app, RUN).output

    for part in (
        "1,210,585,216",
        "4 d 0 h",
        "3,872",
        "memory a GPU, DDP",
        "shards",
        "40% MFU",
        "published MFU on H100",
    ):
        assert part in told


def test_a_plan_is_proportional_to_the_tokens_and_half_as_long_on_twice_the_gpus() -> None:
    plans = [
        json.loads(CliRunner().invoke(app, [*RUN, "--json", *more]).output)
        for more in ([], ["--tokens", "600e9"], ["--gpus", "32xH100"])
    ]

    assert plans[1]["gpu_hours"] == pytest.approx(2 * plans[0]["gpu_hours"])
    assert plans[2]["hours"] == pytest.approx(plans[0]["hours"] / 2)
    assert plans[2]["cost"] == pytest.approx(plans[0]["cost"])


@pytest.mark.parametrize("gpus", ["H100", "0xH100", "4xTPU"])
def test_unknown_gpus_are_refused(gpus: str) -> None:
    error = CliRunner().invoke(app, ["plan", "--gpus", gpus]).exception

    assert isinstance(error, ValueError)
    assert "expected a number and a kind, such as 16xH100, of A100-40, A100, H100, H200" in str(error)
