from __future__ import annotations

import pytest

from tasks.corpora import judging
from tasks.corpora.judging import CaptionScores, repeated_share, score_captions

ROOM, OTHER = "a red ball left of a blue box", "an open green door at the top"


@pytest.mark.parametrize(
    ("text", "length", "share"),
    [
        ("a b c d a b c d", 4, 1 / 5),
        ("a b c d e f g h", 4, 0.0),
        ("a a a a a", 4, 1 / 2),
        ("a b a b", 1, 1 / 2),
        ("a\nb  c", 4, None),
        ("", 4, None),
    ],
)
def test_a_run_of_words_counts_as_repeated_where_it_stood_before(text: str, length: int, share: float | None) -> None:
    assert repeated_share(text, length) == pytest.approx(share)


def test_bleu_is_100_for_one_of_the_references_whatever_its_case_and_0_for_other_words() -> None:
    pytest.importorskip("sacrebleu")
    references = [[OTHER, ROOM], [OTHER, OTHER]]

    assert score_captions([ROOM.upper(), OTHER], references).bleu_4 == pytest.approx(100)
    assert score_captions(["nothing to see here now", "no"], references).bleu_4 == pytest.approx(0, abs=5)
    assert "nrefs:2" in score_captions([ROOM, OTHER], references).bleu_signature


def test_cider_is_10_for_the_reference_and_0_for_other_words() -> None:
    pytest.importorskip("pycocoevalcap")
    references = [[ROOM], [OTHER]]

    assert score_captions([ROOM, OTHER], references).cider == pytest.approx(10)
    assert score_captions([OTHER, ROOM], references).cider == pytest.approx(0)
    assert score_captions([ROOM, ""], references).cider == pytest.approx(5)


def test_without_the_packages_nothing_is_measured_and_no_score_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "PACKAGES", ("no-such-package-a", "no-such-package-b"))
    assert judging.measuring_packages() == {"no-such-package-a": None, "no-such-package-b": None}

    monkeypatch.setattr(judging, "measuring_packages", lambda: {"sacrebleu": None, "pycocoevalcap": None})
    assert score_captions([ROOM], [[ROOM]]) == CaptionScores(None, None)


@pytest.mark.parametrize("references", [[[ROOM], [ROOM, OTHER]], [[ROOM]], [[], []], []])
def test_references_that_do_not_fit_the_captions_are_refused(references: list[list[str]]) -> None:
    with pytest.raises(ValueError, match="expected as many captions as pictures"):
        score_captions([ROOM, OTHER] if references else [], references)
