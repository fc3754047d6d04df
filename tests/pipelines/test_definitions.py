from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pipelines.definitions import defs
from tasks.registry import families

SPECS = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
MEASURE = """
import resource, sys
from pipelines.definitions import defs
defs.get_repository_def().load_all_definitions()
usage = resource.getrusage(resource.RUSAGE_SELF)
heavy = {"torch", "lightning", "ortools", "minigrid", "numba", "ray"} & set(sys.modules)
print(usage.ru_utime + usage.ru_stime, *sorted(heavy))
"""


def test_definitions_load_without_torch_and_simulators_within_three_cpu_seconds() -> None:
    out = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True).stdout.split()

    assert out[1:] == []
    assert float(out[0]) < 3.0


@pytest.mark.parametrize("name", sorted(SPECS))
def test_an_asset_says_what_it_is_and_whose(name: str) -> None:
    spec = SPECS[name]

    assert spec.description
    assert spec.group_name in {"specialists", "trajectories", "tokens", "training", "evaluation"}
    assert spec.kinds
    assert spec.owners
    assert spec.code_version


@pytest.mark.parametrize("family", families())
def test_a_familys_data_walk_from_trajectories_to_the_report(family: str) -> None:
    parents = {name: {dep.asset_key.to_user_string() for dep in spec.deps} for name, spec in SPECS.items()}

    walk = [f"trajectories/{family}", f"tokens/{family}", "shards", "checkpoint", f"evaluation/{family}", "report"]

    assert all(before in parents[after] for before, after in itertools.pairwise(walk))
    assert f"evaluation/{family}" in parents["champion"]


def test_every_check_blocks() -> None:
    graph = defs.resolve_asset_graph()

    checks = [graph.get_check_spec(key) for key in graph.asset_check_keys]

    assert len(checks) >= 3 * len(families()) + 1
    assert all(check.blocking for check in checks)


def test_the_jobs_the_schedule_and_the_sensors_are_there() -> None:
    repository = defs.get_repository_def()

    assert {"demo", "demo_language", "full"} <= set(repository.job_names)
    assert [schedule.name for schedule in repository.schedule_defs] == ["retrain"]
    assert {sensor.name for sensor in repository.sensor_defs} == {"new_data", "behind_champion", "inbox"}
    assert isinstance(defs.resolve_job_def("demo"), dg.JobDefinition)


def test_no_asset_or_check_is_longer_than_25_lines() -> None:
    for file in (Path(__file__).parents[2] / "assets").glob("*.py"):
        functions = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
        for function in functions:
            if any("dg.asset" in ast.unparse(decorator) for decorator in function.decorator_list):
                assert (function.end_lineno or 0) - function.lineno < 25, f"{file.name}: {function.name}"
