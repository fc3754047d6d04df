from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from typing import Any

from tasks.corpora.pictures import read_picture
from tasks.exchange.samples import BadSample, Sample, check_text, read_sample, take_field
from tasks.exchange.source_files import SourceFiles, decode_text, guard, parse_json, read_tar

_PICTURES = ("jpg", "jpeg", "png", "webp")
_TAR = ".tar"


class PairSource:
    """Pictures with captions: samples of WebDataset tars as img2dataset writes them, or files of the same names.

    ``000123.jpg`` (or ``.jpeg``, ``.png``, ``.webp``) has its caption in ``000123.txt``, or in a field of
    ``000123.json``. A sample with neither picture nor caption is left out.

    Args:
        source: A tar, or a folder with all that lies below it; a path or a URL.
        field: The field of the JSON object that is the caption.
        shape: Height, width and 3 of the images.

    Raises:
        ForeignDataError: If there is no such file.
    """

    def __init__(self, source: str, field: str = "caption", *, shape: tuple[int, int, int]) -> None:
        self.files = SourceFiles(source, [*(f".{ending}" for ending in _PICTURES), ".txt", ".json", _TAR])
        self._field, self._shape = field, shape

    def __iter__(self) -> Iterator[Sample | BadSample]:
        """See ``SampleSource``."""
        names = [name.rpartition(".") for name in self.files]
        for stem, together in groupby(sorted(names), key=lambda name: name[0]):
            endings = [f".{ending}" for _, _, ending in together]
            for ending in endings:
                if ending.lower() == _TAR:
                    with self.files.open(f"{stem}{ending}") as file:
                        yield from guard(f"{stem}{ending}", self._read_all(f"{stem}{ending}, ", read_tar(file)))
            loose = {ending[1:].lower(): self._read(f"{stem}{ending}") for ending in endings if ending.lower() != _TAR}
            yield from self._read_all("", iter([(stem, loose)]))

    def recipe(self) -> Mapping[str, Any]:
        """See ``SampleSource``."""
        return {"files": self.files.digest, "field": self._field, "shape": list(self._shape)}

    def _read(self, name: str) -> bytes:
        with self.files.open(name) as file:
            return file.read()

    def _read_all(
        self, prefix: str, samples: Iterator[tuple[str, Mapping[str, bytes]]]
    ) -> Iterator[Sample | BadSample]:
        for key, parts in samples:
            if any(part in parts for part in (*_PICTURES, "txt")):
                yield read_sample(f"{prefix}{key}", partial(self._pair, f"{prefix}{key}", parts))

    def _pair(self, where: str, parts: Mapping[str, bytes]) -> Sample:
        pictures = [parts[ending] for ending in _PICTURES if ending in parts]
        if not pictures:
            raise ValueError(f"the members {', '.join(sorted(parts))}; expected one of {', '.join(_PICTURES)} as well")
        if "txt" in parts:
            caption = decode_text(parts["txt"])
        elif "json" in parts:
            caption = take_field(parse_json(parts["json"]), self._field)
        else:
            raise ValueError(f"the members {', '.join(sorted(parts))}; expected a caption in txt or json as well")
        image, _ = read_picture(io.BytesIO(pictures[0]), self._shape, name="the picture")
        return Sample(where, (check_text(caption, "the caption").strip(),), image=image)
