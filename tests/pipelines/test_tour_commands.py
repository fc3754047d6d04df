from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from storage.episode import Episode
from storage.trajectories import TrajectoryStore
from tasks.registry import get_task
from tasks.rollout import record_expert
from tasks.task import EVALUATION_SEED, schema_of
from tasks.tsp.instances import with_tier

TASK = "tsp/tsp100-city-3"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def store(root: Path, episodes: list[Episode]) -> None:
    def metadata() -> Mapping[str, Any]:
        return {}

    TrajectoryStore(str(root / "trajectories")).write(
        TASK, schema_of(get_task(TASK)), iter(episodes), recipe={"made": len(episodes)}, metadata=metadata
    )


@pytest.fixture
def episodes() -> list[Episode]:
    task = with_tier(get_task(TASK), "fast")
    return list(record_expert(task, [0, EVALUATION_SEED]))


def test_a_tier_certifies_training_tours_so_far_and_evaluation_tours_are_proven(episodes: list[Episode]) -> None:
    training, evaluation = (episode.provenance for episode in episodes)

    assert training["stage"] == "1-tree"
    assert training["nodes"] == 0
    assert evaluation["proven"]
    assert evaluation["lower_bound"] == evaluation["length"]


def test_stored_tours_are_verified_and_a_false_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, episodes: list[Episode]
) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path))
    store(tmp_path, episodes)
    sound = run("verify-tours")
    first = episodes[0]
    store(tmp_path, [replace(first, provenance={**first.provenance, "tree_bound": first.provenance["length"]})])
    false = run("verify-tours", TASK)

    assert sound.exit_code == 0
    assert "all sound: 2 tours of 1 tasks, 1 of them proven" in sound.output
    assert f"mean certified gap {50 * episodes[0].provenance['certified_gap']:.4f} %" in sound.output
    assert false.exit_code == 1
    assert f"{TASK}, seed 0: the bound {first.provenance['length']} by potentials exceeds" in false.output


def test_places_of_a_file_get_their_shortest_tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    file = tmp_path / "places.csv"
    file.write_text("x,y\n0,0\n3,4\n3,0\n0,4\n")

    result = run("tour", str(file), "--out", str(tmp_path / "out"))

    assert result.exit_code == 0
    assert "4 places, 14: proven to be the shortest tour" in result.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["order.csv", "tour.png", "tour.svg"]


def test_a_trained_model_walks_the_places_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_project: Path
) -> None:
    monkeypatch.setenv("DB1_DATA", str(tiny_project))
    file = tmp_path / "places.csv"
    places = np.random.default_rng(0).uniform((30, 100), (32, 103), (12, 2))
    file.write_text("\n".join(["latitude,longitude", *(f"{north},{east}" for north, east in places)]))

    result = run("tour", str(file), "--out", str(tmp_path / "out"))
    without = run("tour", str(file), "--out", str(tmp_path / "without"), "--model", "none")

    assert result.exit_code == 0, result.output
    (row,) = re.findall(r"the model tiny +([\d.,]+) km +\+([\d.]+) %", result.output)
    lines = [
        feature["properties"]
        for feature in json.loads((tmp_path / "out/tour.geojson").read_text())["features"]
        if feature["geometry"]["type"] == "LineString"
    ]
    assert [line["tour"] for line in lines] == ["solver", "model"]
    assert lines[1]["length_km"] == pytest.approx(float(row[0].replace(",", "")), rel=1e-6)
    assert lines[1]["length_km"] / lines[0]["length_km"] - 1 == pytest.approx(float(row[1]) / 100, abs=1e-5)
    with (tmp_path / "out/order-model.csv").open() as table:
        assert sorted(int(line["place"]) for line in csv.DictReader(table)) == list(range(1, 13))
    assert "the model" not in without.output
    assert not (tmp_path / "without/order-model.csv").exists()


def test_no_stored_tours_says_how_to_make_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path))

    assert "db1 make trajectories tsp" in str(run("verify-tours").exception)
    assert "expected tasks of the family tsp" in str(run("verify-tours", "control").exception)
