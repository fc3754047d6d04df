from __future__ import annotations

import math
import platform
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db1_model.bin_edges import LARGEST_VALUE, MU, mu_law_cells
from db1_model.scalars import decode_actions, decode_values, encode_actions, encode_values

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "scalar_bins.npz"
golden = pytest.mark.skipif(not GOLDEN.exists(), reason="needs the published model's outputs in ../shared/golden")


@golden
def test_bins_equal_db1s() -> None:
    reference = np.load(GOLDEN)

    np.testing.assert_array_equal(encode_values(reference["values"]), reference["value_bins"])
    np.testing.assert_array_equal(encode_actions(reference["actions"]), reference["action_bins"])


def formula(values: np.ndarray, num_bins: int, *, exact_logarithm: bool) -> np.ndarray:
    """Return the bins by DB1's formula in float32."""
    powers = np.abs(values) * np.float32(MU) + np.float32(1)
    logarithm = np.log(powers.astype(np.float64)).astype(np.float32) if exact_logarithm else np.log(powers)
    scaled = np.copysign(logarithm / np.float32(math.log(MU * LARGEST_VALUE + 1)), values)
    scaled = (np.clip(scaled, np.float32(-1), np.float32(1)) + np.float32(1)) * np.float32(num_bins / 2)
    return np.minimum(scaled, np.float32(num_bins - 1)).astype(np.int32)


def numbers_near_edges(num_bins: int, steps: int) -> np.ndarray:
    """Return the float32 numbers at most so many steps from an edge between two bins, shape (edges, 2 * steps)."""
    _, edges, _ = mu_law_cells(num_bins)
    edges = np.sort(edges[np.isfinite(edges)])
    assert len(edges) == num_bins - 1
    places = edges.view(np.int32).astype(np.int64)
    places = np.where(places < 0, -(places & 0x7FFFFFFF) - 1, places)[:, None] + np.arange(-steps, steps)
    return np.where(places < 0, ~places | 0x80000000, places).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("num_bins", [64, 1000, 4096])
def test_the_table_gives_the_formulas_bins_for_every_number_near_an_edge(num_bins: int) -> None:
    values = numbers_near_edges(num_bins, 300)

    assert np.array_equal(encode_values(values, num_bins=num_bins), formula(values, num_bins, exact_logarithm=True))


def test_db1s_table_differs_from_an_exact_logarithm_only_a_few_steps_from_an_edge() -> None:
    values = numbers_near_edges(1024, 300)

    differs = encode_values(values) != formula(values, 1024, exact_logarithm=True)

    assert not differs[:, :290].any()
    assert not differs[:, 310:].any()
    assert differs.sum() == 252


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numpy's float32 logarithm differs from DB1's elsewhere")
def test_db1s_table_gives_the_bins_of_single_precision_for_every_number_near_an_edge_and_any_other() -> None:
    near = numbers_near_edges(1024, 300)
    bits = np.random.default_rng(0).integers(0, 2**32, 500_000, dtype=np.uint32).view(np.float32)
    anywhere = bits[np.abs(bits) < 1e30]

    for values in (near, anywhere, np.array([0.0, -0.0, 1e-45, -1e-45], np.float32)):
        assert np.array_equal(encode_values(values), formula(values, 1024, exact_logarithm=False))


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
