from __future__ import annotations

import pytest

from storage.locations import Locations


def test_everything_lies_below_the_root_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB1_DATA", raising=False)
    assert Locations.from_environment().shards == "data/shards"
    monkeypatch.setenv("DB1_DATA", "/big/disk")
    assert Locations.from_environment().trajectories == "/big/disk/trajectories"


def test_a_root_in_an_object_store_is_refused() -> None:
    with pytest.raises(ValueError, match="'s3://bucket/db1', expected a local folder"):
        Locations("s3://bucket/db1")
