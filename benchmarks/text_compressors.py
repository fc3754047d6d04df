"""How many bits a byte do compressors need for the held-out documents, once they know the training documents?

    python -m benchmarks.text_compressors

A model's bits per byte stand in its report, under ``text/documentation``: the mean over documents. Here as there each
document is taken by itself, after what was learned. ``xz -9`` learns nothing before: it gets the document alone,
and once more with all training documents in front, less what these take.
"""

from __future__ import annotations

import lzma
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tasks.corpora.prose import documents
from tasks.corpora.reading import unigram_bits

_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9}]


def main() -> None:
    """Print the table."""
    training, held_out = ([one.text.encode() for one in some] for some in documents())
    known = b"\n\n".join(training)
    alone = _xz(known)
    ways: dict[str, Callable[[bytes], float]] = {
        "frequencies of bytes": lambda text: unigram_bits(text.decode()) * len(text) / 8,
        "xz -9, document alone": _xz,
        "xz -9, after all training documents": lambda text: _xz(known + text) - alone,
    }
    table = Table("bits per byte", "mean of documents", "all together")
    with tempfile.TemporaryDirectory() as folder:
        ways["zstd -19, dictionary of 110 KiB trained on them"] = _train_zstd(training, Path(folder))
        for name, measure in ways.items():
            sizes = [measure(text) for text in track(held_out, name, transient=True)]
            bits = [8 * size / len(text) for size, text in zip(sizes, held_out, strict=True)]
            table.add_row(name, f"{np.mean(bits):.3f}", f"{8 * sum(sizes) / sum(map(len, held_out)):.3f}")
    console = Console()
    console.print(f"{len(training)} training documents of {len(known):,} bytes, {len(held_out)} held out")
    console.print(table)


def _xz(text: bytes) -> int:
    return len(lzma.compress(text, format=lzma.FORMAT_RAW, filters=_FILTERS))


def _train_zstd(training: Sequence[bytes], folder: Path) -> Callable[[bytes], float]:
    dictionary, samples = folder / "dictionary", []
    for number, text in enumerate(training):
        samples.append(folder / str(number))
        samples[-1].write_bytes(text)
    subprocess.run(["zstd", "-q", "--train", *samples, "-o", dictionary], check=True)

    def measure(text: bytes) -> float:
        command = ["zstd", "-19", "-q", "-c", "--no-check", "-D", str(dictionary)]
        return len(subprocess.run(command, input=text, capture_output=True, check=True).stdout)

    return measure


if __name__ == "__main__":
    main()
