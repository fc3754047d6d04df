from __future__ import annotations

import json
import re

import numpy as np
import pytest

from tasks.corpora import judging
from tasks.corpora.captions import RoomCaptions
from tasks.corpora.dialogue import CityLessons
from tasks.corpora.lesson import Turn
from tasks.corpora.rooms import Thing, render_room
from tasks.corpora.transcripts import Said
from tasks.language import PROMPTS, LanguageFacts, Reading, Sample, Transcript
from tasks.records import CheckpointFacts, EvaluationRecord
from tasks.report import Report, build_report

DIGEST = "c0ffee" + "0" * 58
CHECKPOINT = CheckpointFacts(DIGEST, "db1-nano", step=1, num_parameters=1, date="2026-01-02")
SCORES = {name: {"mean": mean, "returns": [mean], "seeds": [5]} for name, mean in (("random", 0.0), ("expert", 1.0))}
RECORD = EvaluationRecord("captions/rooms-1", [0.5], [5], SCORES, "random", DIGEST)
BALL, KEY = Thing("red", "ball", 0, 2), Thing("blue", "key", 1, 1)
READING = Reading("text/documentation", 2, num_bytes=40, num_tokens=20, bits=60.0, references={"unigram": 4.5})


def caption(thing: Thing, answer: str) -> Said:
    expected = f"{thing.phrase} {thing.place}"
    turn = Turn(expected, (thing,), image=render_room((thing,)))
    return Said(RoomCaptions(0, 1), turn, answer, float(answer == expected))


def reply(question: str, expected: str, answer: str) -> Said:
    return Said(CityLessons(4, is_talk=True), Turn(expected, None, question), answer, float(answer == expected))


LANGUAGE = LanguageFacts(
    samples=[
        Sample(PROMPTS[0], "likeliest", " of the of the of the of the"),
        Sample("", "drawn", "<b>bold</b>"),
        Sample("A class is", "drawn", ""),
    ],
    readings=[READING],
    transcripts=[
        Transcript(
            "captions/rooms-1",
            [[caption(BALL, "a red ball at the bottom left"), caption(KEY, "a green key in the middle")]],
        ),
        Transcript(
            "dialogue/city-talks",
            [[reply("Where is Wuhan?", "Hubei", "Hubei")]]
            + [[reply("How far is it?", f"{number} km", "1 km")] for number in (2, 3)],
        ),
    ],
)


@pytest.fixture(scope="module")
def report() -> Report:
    return build_report([RECORD], CHECKPOINT, [], LANGUAGE)


def words_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<(style|script)>.*?</\1>|<[^>]+>", " ", page, flags=re.DOTALL))


def test_bits_become_a_byte_and_a_perplexity_a_token() -> None:
    assert READING.bits_per_byte == 1.5
    assert READING.perplexity == 8.0


def test_page_shows_every_sample_with_its_repetition_and_no_words_become_markup(report: Report) -> None:
    words = words_of(report.page)

    assert f"{PROMPTS[0]} of the of the of the of the likeliest &middot; 60 % repeated" in words
    assert "&lt;b&gt;bold&lt;/b&gt; drawn &middot; too short to repeat" in words
    assert "<b>bold" not in report.page
    assert "A class is (the end)" in words


def test_page_shows_what_was_said_beside_what_was_expected(report: Report) -> None:
    words = words_of(report.page)

    assert "a red ball at the bottom left \N{CHECK MARK} right a green key" in words
    assert "\N{BALLOT X} wrong, 67 % right expected: a blue key in the middle" in words
    assert "Where is Wuhan? Hubei \N{CHECK MARK} right How far is it?" in words
    assert "1 km \N{BALLOT X} wrong expected: 2 km" in words
    assert "expected: 3 km" not in words  # only the first two lessons are shown


def test_page_with_pictures_needs_no_other_file(report: Report) -> None:
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", report.page)

    assert sum(source.startswith("data:image/png;base64,") for source in sources) >= 2
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources)


def test_measures_and_samples_are_in_the_numbers(report: Report) -> None:
    told = json.loads(report.numbers)["language"]

    assert told["measures"]["text/documentation/bits_per_byte"] == 1.5
    assert told["measures"]["captions/rooms-1/right"] == 0.5
    assert told["measures"]["captions/rooms-1/attributes_right"] == pytest.approx(np.mean([1, 2 / 3]))
    assert told["measures"]["dialogue/city-talks/right"] == pytest.approx(1 / 3)
    assert told["measures"]["writing/likeliest/repeated_4_grams"] == pytest.approx(3 / 5)
    assert told["samples"][0]["prompt"] == PROMPTS[0]
    assert told["answers"]["dialogue/city-talks"][1]["answer"] == "1 km"


def test_scores_that_were_not_measured_are_told_in_words_with_the_command_that_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(judging, "measuring_packages", lambda: {"sacrebleu": None, "pycocoevalcap": None})
    language = LanguageFacts(transcripts=[Transcript("captions/rooms-1", LANGUAGE.transcripts[0].lessons)])

    words = words_of(build_report([RECORD], CHECKPOINT, [], language).page).replace("&#x27;", "'")

    assert f"BLEU-4 and CIDEr not measured: the packages are not installed; bring them with: {judging.INSTALL}" in words
    assert language.measures["captions/missing"] == language.missing
    assert "captions/rooms-1/bleu_4" not in language.measures


def test_equal_language_gives_equal_bytes_and_a_report_without_it_says_nothing_of_it(report: Report) -> None:
    plain = build_report([RECORD], CHECKPOINT, [])

    assert build_report([RECORD], CHECKPOINT, [], LANGUAGE) == report
    assert "language" not in json.loads(plain.numbers)
    assert not any(name in plain.page for name in ("Writing", "blockquote", "gallery"))
