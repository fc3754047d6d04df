from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.tokens import TokenEpisode, TokenStore

TASK, RECIPE, LAYOUT = "zoo/tokens", {"of": "trajectories"}, {"action_tokens": 1}


@pytest.mark.parametrize("with_images", [True, False])
def test_tokens_come_back_as_they_were_stored(
    tmp_path: Path, token_episodes: list[TokenEpisode], with_images: bool
) -> None:
    if not with_images:
        token_episodes = [replace(episode, images=None) for episode in token_episodes]
    store = TokenStore(str(tmp_path))
    manifest = store.write(TASK, LAYOUT, iter(token_episodes), recipe=RECIPE, metadata={"tokenizer": "x"})
    stored = store.read(TASK)

    for found, expected in zip(stored, token_episodes, strict=True):
        np.testing.assert_array_equal(found.tokens, expected.tokens)
        np.testing.assert_array_equal(found.images, expected.images)
        assert (found.tokens.dtype, found.seed, found.total_return) == (np.uint16, expected.seed, expected.total_return)
    assert stored.layout == LAYOUT
    assert stored.episode_lengths.tolist() == stored.seeds.tolist() == list(range(1, 31))
    assert store.find(TASK, RECIPE) == manifest
    assert manifest.metadata == {"tokenizer": "x", "num_episodes": 30, "num_transitions": 465, "num_tokens": 2325}
    again = TokenStore(str(tmp_path / "again")).write(TASK, LAYOUT, token_episodes, recipe=RECIPE, metadata={})
    assert again.digest == manifest.digest


def test_episodes_unlike_the_first_are_refused_by_number(tmp_path: Path, token_episodes: list[TokenEpisode]) -> None:
    good = token_episodes[8]
    for bad, match in [
        (replace(good, tokens=good.tokens[:, :4]), r"tokens uint16 \(9, 4\), expected uint16"),
        (replace(good, tokens=good.tokens.astype(np.int64)), "tokens int64"),
        (replace(good, images=None), r"images None, expected uint8 \(9, 4, 4, 3\)"),
        (replace(good, total_return=np.nan), "the return nan"),
    ]:
        with pytest.raises(ValueError, match=rf"episode 2 \(seed 9\) of task '{TASK}' has {match}"):
            TokenStore(str(tmp_path)).write(TASK, LAYOUT, [*token_episodes[:2], bad], recipe={}, metadata={})
    assert TokenStore(str(tmp_path)).tasks() == []
