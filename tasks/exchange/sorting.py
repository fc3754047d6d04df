from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.exchange.samples import BadSample, Sample, SampleSource

LEAST_HELD_OUT = 2
"""Samples that are to be held out at least, so that one can be compared with another."""

_HELD_OUT = 13  # of 256: about one sample in twenty
_BAD_SHOWN = 5
_BAD_AT_ONCE = 100  # from which on there is no need to read to the end when most are bad
_FATE_BAD, _FATE_DUPLICATE, _FATE_HELD_OUT, _FATE_TRAINING = range(4)


class SortedSamples:
    """Divides samples into those to train on and those that are held out; leaves out bad ones and duplicates.

    About one sample in twenty is held out, by the SHA-256 of what it says alone: so it stays held out whatever its file
    is called and wherever it stands there. Memory holds some 100 bytes of each distinct sample.

    Args:
        source: The samples.
        limit: Number of samples that are taken from the beginning; 0 takes all.
        most_bad: Share of them that may be bad; one may always be, unless it is 0.

    Raises:
        ValueError: If the share is not in 0..1.
    """

    def __init__(self, source: SampleSource, *, limit: int = 0, most_bad: float = 0.01) -> None:
        if not 0.0 <= most_bad <= 1.0:
            raise ValueError(f"the share of bad samples is {most_bad}; expected 0..1, such as --most-bad 0.01")
        self._source, self._limit, self._most_bad = source, limit, most_bad
        self._fates = bytearray()
        self._bad: list[BadSample] = []
        self.byte_counts: NDArray[np.int64] = np.zeros(256, np.int64)
        """How often each byte occurs in the answers to train on, shape (256,)."""

    def held_out(self) -> Iterator[Sample]:
        """Yield the samples that are held out; this comes first, and finds out about the others.

        Raises:
            ValueError: If too many samples are bad, too few are held out, or none is left to train on.
        """
        self._fates, self._bad, seen = bytearray(), [], set[bytes]()
        for sample in self._samples():
            fate = self._judge(sample, seen)
            self._fates.append(fate)
            if isinstance(sample, BadSample):
                self._note(sample)
            elif fate == _FATE_HELD_OUT:
                yield sample
            elif fate == _FATE_TRAINING:
                for answer in sample.answers:
                    self.byte_counts += np.bincount(np.frombuffer(answer.encode(), np.uint8), minlength=256)
        self._check()

    def training(self) -> Iterator[Sample]:
        """Yield the samples that are trained on, after those that are held out."""
        for fate, sample in zip(self._fates, self._samples(), strict=True):
            if fate == _FATE_TRAINING and isinstance(sample, Sample):
                yield sample

    def facts(self) -> Mapping[str, Any]:
        """Return how many samples of each fate there are, and the first bad ones, as JSON values."""
        return {
            "samples": len(self._fates),
            "training": self._fates.count(_FATE_TRAINING),
            "held_out": self._fates.count(_FATE_HELD_OUT),
            "duplicates": self._fates.count(_FATE_DUPLICATE),
            "bad": self._fates.count(_FATE_BAD),
            "first_bad": [{"where": one.where, "fault": one.fault} for one in self._bad],
        }

    def _samples(self) -> Iterator[Sample | BadSample]:
        return islice(self._source, self._limit or None)

    @staticmethod
    def _judge(sample: Sample | BadSample, seen: set[bytes]) -> int:
        if isinstance(sample, BadSample):
            return _FATE_BAD
        if (digest := sample.sha256[:16]) in seen:
            return _FATE_DUPLICATE
        seen.add(digest)
        return _FATE_HELD_OUT if digest[0] < _HELD_OUT else _FATE_TRAINING

    def _note(self, sample: BadSample) -> None:
        if len(self._bad) < _BAD_SHOWN:
            self._bad.append(sample)
        num_bad = self._fates.count(_FATE_BAD) if len(self._fates) % _BAD_AT_ONCE == 0 else 0
        if num_bad > max(len(self._fates) / 2, self._most_bad * len(self._fates)):
            self._check()

    def _check(self) -> None:
        facts, allowed = self.facts(), int(self._most_bad * len(self._fates))
        if facts["bad"] > (max(1, allowed) if self._most_bad else 0):
            listed = "".join(f"\n  {one.where}: {one.fault}" for one in self._bad)
            raise ValueError(
                f"{facts['bad']:,} of {facts['samples']:,} samples are bad; expected at most {self._most_bad:.3g} of "
                f"them. The first:{listed}\nmend them, or allow a larger share with --most-bad"
            )
        if facts["held_out"] < LEAST_HELD_OUT or not facts["training"]:
            raise ValueError(
                f"{facts['held_out']} of {facts['samples']} samples are held out, and {facts['training']} are left to "
                f"train on; expected at least {LEAST_HELD_OUT}, as one in twenty is, and 1: bring at least 100, such "
                "as the chapters of a book, a line of JSON each"
            )
