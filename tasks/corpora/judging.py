from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("sacrebleu", "pycocoevalcap")
"""What measures BLEU and CIDEr: the optional dependencies ``captions``."""

INSTALL = "pip install -e '.[captions]' -c constraints.txt"
"""The command that brings them."""


@dataclass(frozen=True)
class CaptionScores:
    """How near captions are to references; None where the package that measures it is not installed.

    Args:
        bleu_4: From 0 to 100.
        cider: From 0 to 10.
        bleu_signature: How BLEU was computed, so that others can compute the same.
    """

    bleu_4: float | None
    cider: float | None
    bleu_signature: str = ""


def measuring_packages() -> dict[str, str | None]:
    """Return the versions of the packages that measure captions; None for one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def score_captions(captions: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionScores:
    """Measure BLEU-4 and CIDEr of captions, over all of them together.

    Args:
        captions: One a picture.
        references: What may be said of each picture, of all equally many.

    Raises:
        ValueError: If there is no caption, or pictures have different numbers of references, or none.

    Source:
        Papineni et al., "BLEU: a method for automatic evaluation of machine translation", 2002; Post, "A call for
        clarity in reporting BLEU scores", 2018 (sacrebleu). Vedantam et al., "CIDEr: consensus-based image description
        evaluation", 2015; Chen et al., "Microsoft COCO captions", 2015 (CIDEr-D, the variant that is computed).
    """
    counts = sorted({len(some) for some in references})
    if not captions or len(captions) != len(references) or len(counts) != 1 or counts[0] == 0:
        raise ValueError(
            f"{len(captions)} captions and references of {len(references)} pictures, {counts} each; "
            "expected as many captions as pictures, at least one, with equally many references, at least one"
        )
    packages = measuring_packages()
    said = [_plain(caption) for caption in captions]
    known = [[_plain(one) for one in some] for some in references]
    bleu, signature = _bleu(said, known) if packages["sacrebleu"] else (None, "")
    return CaptionScores(bleu, _cider(said, known) if packages["pycocoevalcap"] else None, signature)


def repeated_share(text: str, length: int = 4) -> float | None:
    """Return which share of a text's runs of words has occurred before in it; None where there is no run.

    Args:
        text: Words with spaces between.
        length: Words of a run.

    Source:
        Welleck et al., "Neural text generation with unlikelihood training", 2020 (seq-rep-n).
    """
    said = text.split()
    runs = [tuple(said[first : first + length]) for first in range(len(said) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _bleu(captions: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, str]:
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU()
    score = bleu.corpus_score(captions, [list(one) for one in zip(*references, strict=True)]).score
    return min(100.0, float(score)), str(bleu.get_signature())


def _cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    from pycocoevalcap.cider.cider import Cider  # pyright: ignore[reportMissingImports]  # of an extra

    known = {place: list(some) for place, some in enumerate(references)}
    return float(Cider().compute_score(known, {place: [one] for place, one in enumerate(captions)})[0])
