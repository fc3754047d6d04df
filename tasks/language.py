from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tasks.corpora.judging import INSTALL, repeated_share
from tasks.corpora.transcripts import CaptionRow, Said, accuracy_by_kind, compare_captions

PROMPTS = (
    "digital brain laboratory is a shanghai based",
    "",
    "This function returns",
    "The following example shows how to",
    "If the file does not exist,",
    "A class is",
)
"""How the report's samples of writing begin; fixed, and every sample is shown."""

DECODINGS: Mapping[str, Mapping[str, Any]] = {
    "likeliest": {"temperature": 0.0, "top_p": 1.0, "seed": 0, "max_tokens": 60},
    "drawn": {"temperature": 0.8, "top_p": 0.95, "seed": 0, "max_tokens": 60},
}
"""How the tokens of a sample are chosen: always the likeliest, or drawn."""


@dataclass(frozen=True)
class Sample:
    """A text that the model wrote.

    Args:
        prompt: How it begins.
        decoding: One of ``DECODINGS``.
        text: How the model went on.
    """

    prompt: str
    decoding: str
    text: str

    @property
    def repetition(self) -> float | None:
        """Share of the continuation's runs of four words that occurred before in it; None below four words."""
        return repeated_share(self.text)


@dataclass(frozen=True)
class Reading:
    """What the model needs for the held-out documents of a task, all together.

    Args:
        task: Id of the task.
        num_documents: Documents.
        num_bytes: Their bytes.
        num_tokens: Their tokens, an end of each among them.
        bits: What the model needs for them.
        references: Bits per byte of others than the model, means over documents, by name.
    """

    task: str
    num_documents: int
    num_bytes: int
    num_tokens: int
    bits: float
    references: Mapping[str, float]

    @property
    def bits_per_byte(self) -> float:
        """Bits over bytes."""
        return self.bits / self.num_bytes

    @property
    def perplexity(self) -> float:
        """Two to the power of the bits of a token."""
        return 2 ** (self.bits / self.num_tokens)


@dataclass(frozen=True)
class Transcript:
    """The model's answers in the lessons of a task.

    Args:
        task: Id of the task.
        lessons: The turns of each.
    """

    task: str
    lessons: Sequence[Sequence[Said]]

    @property
    def said(self) -> list[Said]:
        """The turns of all lessons."""
        return [one for lesson in self.lessons for one in lesson]

    @property
    def asks(self) -> bool:
        """Whether its turns have questions."""
        return any(one.turn.question for one in self.said)

    @property
    def shows(self) -> bool:
        """Whether its turns have pictures."""
        return any(one.turn.image is not None for one in self.said)

    @cached_property
    def captions(self) -> list[CaptionRow]:
        """How good captions are, the model's first; none where pictures are not described."""
        return compare_captions(self.said) if self.shows and not self.asks else []

    @cached_property
    def accuracies(self) -> Mapping[str, tuple[int, int]]:
        """How many answers are right, and of how many, for each kind of question and ``all`` last."""
        return accuracy_by_kind(self.said)


@dataclass(frozen=True)
class LanguageFacts:
    """What a report shows of a model's language.

    Args:
        samples: What it wrote; none where it was trained on no documents.
        readings: What it needs for documents, one a task.
        transcripts: What it answered, one a task.
    """

    samples: Sequence[Sample] = ()
    readings: Sequence[Reading] = ()
    transcripts: Sequence[Transcript] = ()

    @cached_property
    def measures(self) -> dict[str, float | str]:
        """The model's numbers, by task and name; ``captions/missing`` says which of them were not measured."""
        told: dict[str, float | str | None] = {}
        for reading in self.readings:
            told[f"{reading.task}/bits_per_byte"] = reading.bits_per_byte
            told[f"{reading.task}/perplexity_per_token"] = reading.perplexity
        for decoding in DECODINGS:
            shares = [one.repetition for one in self.samples if one.decoding == decoding]
            known = [share for share in shares if share is not None]
            told[f"writing/{decoding}/repeated_4_grams"] = float(np.mean(known)) if known else None
        for one in self.transcripts:
            for kind, (right, number) in one.accuracies.items():
                name = "right" if kind == "all" else f"right/{kind.replace(' ', '_')}"
                told[f"{one.task}/{name}"] = right / number
            for model in one.captions[:1]:
                scores = {"bleu_4": model.scores.bleu_4, "cider": model.scores.cider}
                told |= {f"{one.task}/{name}": value for name, value in scores.items()}
                told[f"{one.task}/attributes_right"] = model.attributes
        told["captions/missing"] = self.missing or None
        return {name: value for name, value in told.items() if value is not None}

    @property
    def missing(self) -> str:
        """Which scores of captions were not measured, and the command that helps; empty when all were."""
        rows = [one.captions[0].scores for one in self.transcripts if one.captions]
        absent = {
            "BLEU-4": any(scores.bleu_4 is None for scores in rows),
            "CIDEr": any(scores.cider is None for scores in rows),
        }
        named = " and ".join(name for name, is_absent in absent.items() if is_absent)
        return f"{named} not measured: the packages are not installed; bring them with: {INSTALL}" if named else ""

    def to_json(self) -> dict[str, Any]:
        """Return all of it but the pictures as JSON values."""
        return {
            "measures": self.measures,
            "decodings": DECODINGS,
            "samples": [asdict(one) | {"repetition": one.repetition} for one in self.samples],
            "readings": [asdict(one) for one in self.readings],
            "captions": {one.task: [asdict(row) for row in one.captions] for one in self.transcripts if one.captions},
            "answers": {one.task: [_turn(said) for said in one.said] for one in self.transcripts},
        }


def _turn(said: Said) -> dict[str, Any]:
    question = {"question": said.turn.question} if said.turn.question else {}
    return {**question, "expected": said.turn.answer, "answer": said.answer, "score": said.score}
