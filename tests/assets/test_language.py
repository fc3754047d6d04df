from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from assets import language
from assets.report import report_folder
from assets.resources import Experiment, Progress, Stores
from pipelines.definitions import define
from pipelines.runs import STAGES, make_stages, plan_runs
from storage.manifest import Manifest
from tasks.corpora import prose
from tasks.language import DECODINGS, PROMPTS

TINY = Experiment(
    name="spoken",
    tasks="captions/rooms-1,text/documentation",
    num_episodes=2,
    num_evaluation_episodes=2,
    num_processes=1,
    training={"steps": 1, "batch_windows": 2, "warmup_steps": 0},
)


def test_a_report_of_language_has_its_numbers_and_samples_and_is_made_anew_when_captions_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DB1_DATA", str(tmp_path))
    monkeypatch.setattr(prose, "PACKAGES", ("fsspec",))
    prose.documents.cache_clear()
    with dg.DagsterInstance.ephemeral() as instance:
        make = _maker(tmp_path, instance)
        first = make(*STAGES)
        again = make("report")
        packages = dict.fromkeys(language.measuring_packages(), "1.0")
        monkeypatch.setattr(language, "measuring_packages", lambda: packages)
        other = make("report")
        told = instance.get_latest_materialization_event(dg.AssetKey("report"))
    prose.documents.cache_clear()

    assert first.digest == again.digest
    assert first.key != other.key
    assert first.metadata == other.metadata
    measures = first.metadata["language"]
    assert measures["text/documentation/bits_per_byte"] > 1
    assert measures["text/documentation/perplexity_per_token"] > 2
    assert 0 <= measures["captions/rooms-1/attributes_right"] <= 1
    assert told is not None
    assert told.asset_materialization is not None
    metadata = told.asset_materialization.metadata
    assert {name: metadata[name].value for name in measures} == measures
    numbers = json.loads(report_folder(Stores(root=str(tmp_path)), TINY).open().path("scores.json").read_text())
    assert len(numbers["language"]["samples"]) == len(PROMPTS) * len(DECODINGS)


def _maker(root: Path, instance: dg.DagsterInstance) -> Callable[..., Manifest]:
    def make(*stages: str) -> Manifest:
        job = define(Progress()).resolve_implicit_global_asset_job_def()
        make_stages(plan_runs(stages, TINY.task_ids), job, instance, TINY, tell=lambda *_: None)
        return report_folder(Stores(root=str(root)), TINY).read()

    return make
