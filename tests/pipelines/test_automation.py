from __future__ import annotations

import dagster as dg
import pytest

from assets.resources import Stores
from pipelines import automation
from pipelines.automation import define_behind_champion_sensor, define_new_data_sensor
from pipelines.jobs import define_job
from storage.manifest import ManifestError

DEMO = define_job("demo", "")


def evaluate(monkeypatch: pytest.MonkeyPatch, changed: dict[str, str] | ManifestError) -> dg.SensorResult:
    def changed_tasks(*_: object) -> dict[str, str]:
        if isinstance(changed, ManifestError):
            raise changed
        return changed

    monkeypatch.setattr(automation, "changed_tasks", changed_tasks)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"stores": Stores()})
        result = define_new_data_sensor([DEMO])(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_changed_data_request_one_run_of_their_job(monkeypatch: pytest.MonkeyPatch) -> None:
    requests = evaluate(monkeypatch, {"control/CartPole": "d1"}).run_requests or []

    assert [(request.job_name, request.tags["db1/changed_tasks"]) for request in requests] == [
        ("demo", "control/CartPole")
    ]


def test_the_same_change_has_the_same_run_key_and_another_change_another(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [
        (evaluate(monkeypatch, changed).run_requests or [])[0].run_key
        for changed in ({"control/CartPole": "d1"}, {"control/CartPole": "d1"}, {"control/CartPole": "d2"})
    ]

    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({}, "demo: 0 tasks changed"), (ManifestError("shard-index", "demo", "there is none"), "demo: there is none")],
)
def test_without_a_change_or_a_trained_model_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str] | ManifestError, reason: str
) -> None:
    result = evaluate(monkeypatch, changed)

    assert not result.run_requests
    assert reason in str(result.skip_reason)


def look_behind(monkeypatch: pytest.MonkeyPatch, found: dict[str, str] | ManifestError) -> dg.SensorResult:
    def reasons_to_train(*_: object) -> dict[str, str]:
        if isinstance(found, ManifestError):
            raise found
        return found

    monkeypatch.setattr(automation, "reasons_to_train", reasons_to_train)
    with dg.DagsterInstance.ephemeral() as instance:
        context = dg.build_sensor_context(instance, resources={"stores": Stores()})
        result = define_behind_champion_sensor([DEMO])(context)
    assert isinstance(result, dg.SensorResult)
    return result


def test_scores_below_the_champions_request_one_run_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"share_at_half": "0.5, the champion's is 0.6", "champion": "c", "evaluations": "e"}

    first, again, other = (
        (look_behind(monkeypatch, one).run_requests or [])[0] for one in (found, found, found | {"evaluations": "f"})
    )

    assert first.tags["db1/share_at_half"] == found["share_at_half"]
    assert first.run_key == again.run_key != other.run_key


@pytest.mark.parametrize(
    ("found", "reason"),
    [({}, "demo: not behind"), (ManifestError("champion", "demo", "there is none yet"), "demo: there is none yet")],
)
def test_without_a_champion_or_when_all_is_well_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, found: dict[str, str] | ManifestError, reason: str
) -> None:
    result = look_behind(monkeypatch, found)

    assert not result.run_requests
    assert reason in str(result.skip_reason)
