from __future__ import annotations

import pytest

from storage.locations import Locations


def test_everything_lies_below_the_root_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB1_DATA", raising=False)
    assert Locations.from_environment().shards == "data/shards"
    monkeypatch.setenv("DB1_DATA", "/big/disk")
    assert Locations.from_environment().trajectories == "/big/disk/trajectories"
    monkeypatch.setenv("DB1_DATA", "s3://bucket/db1/")
    assert Locations.from_environment().tokens == "s3://bucket/db1/tokens"


@pytest.mark.parametrize("root", ["s3:/bucket/db1", "s3://", "file:///data"])
def test_a_root_that_is_neither_a_path_nor_an_object_store_is_refused(root: str) -> None:
    with pytest.raises(ValueError, match=f"the data root is '{root}', expected a path or a URL"):
        Locations(root)
