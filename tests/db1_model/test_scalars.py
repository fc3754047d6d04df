from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db1_model.scalars import LARGEST_VALUE, MU, decode_actions, decode_values, encode_actions, encode_values

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "scalar_bins.npz"
golden = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the published model's outputs in ../shared/golden")


@golden
def test_bins_equal_db1s() -> None:
    reference = np.load(GOLDEN)

    np.testing.assert_array_equal(encode_values(reference["values"]), reference["value_bins"])
    np.testing.assert_array_equal(encode_actions(reference["actions"]), reference["action_bins"])


@golden
def test_lower_edges_are_db1s() -> None:
    reference = np.load(GOLDEN)
    bins = reference["bins"]

    np.testing.assert_array_equal(decode_actions(bins, edge="lower"), reference["decoded_actions_lower_edge"])
    values, expected = decode_values(bins, edge="lower"), reference["decoded_values_lower_edge"]
    # DB1's power is torch's, which rounds 18 of the 1,024 powers to the neighbouring float32.
    rounding = np.spacing(MU * np.abs(expected) + 1, dtype=np.float32) / MU + np.spacing(np.abs(expected))
    assert np.all(np.abs(values - expected) <= rounding)
    assert np.sum(values != expected) <= 18


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 512), (1.0, 744), (10.0, 860), (256.0, 1023), (1e30, 1023), (-1e30, 0)]
)
def test_values_fall_into_known_bins(value: float, expected: int) -> None:
    assert encode_values(np.array([value], np.float32)) == expected


@settings(max_examples=30)
@given(st.lists(st.floats(-1, 1, width=32), min_size=1), st.sampled_from([64, 1024, 1000]))
def test_decoding_an_action_lands_within_half_a_bin(numbers: list[float], num_bins: int) -> None:
    values = np.array(numbers, np.float32)

    decoded = decode_actions(encode_actions(values, num_bins=num_bins), num_bins=num_bins)

    assert np.all(np.abs(decoded - values) <= 1 / num_bins + 1e-6)


@settings(max_examples=30)
@given(st.lists(st.floats(-256, 256, width=32), min_size=1))
def test_decoding_a_value_lands_within_half_a_bin_on_the_mu_laws_scale(numbers: list[float]) -> None:
    def squeeze(x: np.ndarray) -> np.ndarray:
        return np.sign(x) * np.log(MU * np.abs(x) + 1) / np.log(MU * LARGEST_VALUE + 1)

    values = np.array(numbers, np.float64)

    decoded = decode_values(encode_values(values)).astype(np.float64)

    assert np.all(np.abs(squeeze(decoded) - squeeze(values)) <= 1 / 1024 + 1e-6)


@pytest.mark.parametrize("num_bins", [64, 1024])
def test_the_centre_of_every_bin_lies_in_it(num_bins: int) -> None:
    bins = np.arange(num_bins)

    assert np.array_equal(encode_actions(decode_actions(bins, num_bins=num_bins), num_bins=num_bins), bins)
    assert np.array_equal(encode_values(decode_values(bins, num_bins=num_bins), num_bins=num_bins), bins)


def test_a_long_array_is_encoded_as_its_parts_are() -> None:
    values = np.random.default_rng(0).normal(size=(50_000, 2)).astype(np.float32)

    assert np.array_equal(encode_values(values)[30_000:30_010], encode_values(values[30_000:30_010]))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="number 2 is"):
        encode_values(np.array([0, 1, bad], np.float32))


def test_a_bin_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 0\.\.1023"):
        decode_actions(np.array([1024]))
