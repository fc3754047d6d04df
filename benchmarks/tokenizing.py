"""How fast numbers become bins: whole trajectories by the table of edges, against the formula and per-sample calls.

    OMP_NUM_THREADS=1 python -m benchmarks.tokenizing

Raises if a bin differs from the reference: ../shared/golden/scalar_bins.npz where it lies, otherwise DB1's formula.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from db1_model.bin_edges import LARGEST_VALUE, MU
from db1_model.scalars import encode_actions, encode_values

GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden" / "scalar_bins.npz"
_STEP_NUMBERS = 20
_STEPS = 1_000

Encode = Callable[[NDArray[np.float32]], NDArray[np.int32]]


def value_formula(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Put unbounded numbers into 1,024 bins by DB1's formula in float32."""
    logarithm = np.log(np.abs(values) * np.float32(MU) + np.float32(1))
    return action_formula(np.copysign(logarithm / np.float32(math.log(MU * LARGEST_VALUE + 1)), values))


def action_formula(values: NDArray[np.float32]) -> NDArray[np.int32]:
    """Put numbers in [-1, 1] into 1,024 bins by DB1's formula in float32."""
    scaled = (np.clip(values, np.float32(-1), np.float32(1)) + np.float32(1)) * np.float32(512)
    return np.minimum(scaled, np.float32(1023)).astype(np.int32)


def check_bins(values: NDArray[np.float32], actions: NDArray[np.float32]) -> str:
    """Return what the bins were compared with.

    Raises:
        ValueError: If one differs.
    """
    expected = {"values": value_formula(values), "actions": action_formula(actions)}
    numbers, source = {"values": values, "actions": actions}, "the float32 formula"
    if GOLDEN.exists():
        golden = np.load(GOLDEN)
        expected = {"values": golden["value_bins"], "actions": golden["action_bins"]}
        numbers, source = {"values": golden["values"], "actions": golden["actions"]}, GOLDEN.name
    for name, encode in {"values": encode_values, "actions": encode_actions}.items():
        if differing := int(np.sum(encode(numbers[name]) != expected[name])):
            raise ValueError(f"{differing} of {numbers[name].size} {name} have other bins than {source}; expected none")
    return f"{sum(one.size for one in numbers.values()):,} bins equal those of {source}"


def main() -> None:
    """Check the bins, time each way in interleaved rounds, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=int, default=200, help=f"trajectories of {_STEPS} x {_STEP_NUMBERS}")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the median counts")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    shape = (arguments.trajectories, _STEPS, _STEP_NUMBERS)
    values = random.normal(scale=10, size=shape).astype(np.float32)
    actions = random.uniform(-1, 1, size=shape).astype(np.float32)
    print(check_bins(values, actions))
    few = max(1, arguments.trajectories // 20)
    ways: dict[str, tuple[Encode, NDArray[np.float32]]] = {
        "observations, whole trajectories": (encode_values, values),
        "observations, float32 formula": (value_formula, values),
        "observations, a step a call": (encode_values, values[:few].reshape(-1, _STEP_NUMBERS)),
        "observations, a step a call, formula": (value_formula, values[:few].reshape(-1, _STEP_NUMBERS)),
        "actions, whole trajectories": (encode_actions, actions),
        "actions, float32 formula": (action_formula, actions),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(arguments.rounds + 1):
        for name, (encode, calls) in ways.items():
            begun = time.process_time()
            for numbers in calls:
                encode(numbers)
            if turn:  # the first round compiles
                seconds[name].append(time.process_time() - begun)
    rates = {name: ways[name][1].size / median(taken) for name, taken in seconds.items()}
    first = next(iter(rates.values()))
    print(f"{'':38}{'M scalars/CPU-s':>16}{'ratio':>8}")
    for name, rate in rates.items():
        print(f"{name:38}{rate / 1e6:16.1f}{rate / first:8.3f}")


if __name__ == "__main__":
    main()
