from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO

from tasks.exchange.foreign import refuse
from tasks.exchange.samples import LONGEST_TEXT, BadSample, Sample, check_text, read_sample, take_field
from tasks.exchange.source_files import SourceFiles, decode_text, guard, parse_json, read_json_lines, read_tar

_MOST_BYTES = 4 * LONGEST_TEXT
_BATCH_ROWS = 1000


class TextSource:
    """Documents: a text file each, a line of JSON each, a row of Parquet each, or a sample of a WebDataset tar each.

    A tar's sample is its member ``.txt``, or the field of its member ``.json``; other members are left out.

    Args:
        source: A file, or a folder with all that lies below it; a path or a URL.
        field: The field of a JSON object, or the column of Parquet, that is the text.

    Raises:
        ForeignDataError: If there is no such file, or a Parquet file lacks the column.
        ModuleNotFoundError: If there are Parquet files, and the package that reads them is not installed.
    """

    def __init__(self, source: str, field: str = "text") -> None:
        self.files = SourceFiles(source, tuple(_READERS))
        self._source, self._field = source, field

    def __iter__(self) -> Iterator[Sample | BadSample]:
        """See ``SampleSource``."""
        for name in self.files:
            read = next(read for ending, read in _READERS.items() if name.lower().endswith(ending))
            with self.files.open(name) as file:
                yield from guard(name, read(file, name, self._field))

    def recipe(self) -> Mapping[str, Any]:
        """See ``SampleSource``."""
        return {"files": self.files.digest, "field": self._field}


def _document(where: str, find: Callable[[], Any]) -> Sample | BadSample:
    return read_sample(where, lambda: Sample(where, (check_text(find()),)))


def _read_whole(file: BinaryIO, name: str, field: str) -> Iterator[Sample | BadSample]:
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        yield BadSample(name, f"more than {_MOST_BYTES:,} bytes; expected at most that: divide it into documents")
    else:
        yield _document(name, partial(decode_text, content))


def _read_lines(file: BinaryIO, name: str, field: str) -> Iterator[Sample | BadSample]:
    for where, line in read_json_lines(file, name):
        yield _document(where, lambda line=line: take_field(parse_json(line), field))


def _read_samples(file: BinaryIO, name: str, field: str) -> Iterator[Sample | BadSample]:
    for key, parts in read_tar(file):
        if "txt" in parts:
            yield _document(f"{name}, {key}.txt", partial(decode_text, parts["txt"]))
        elif "json" in parts:
            yield _document(f"{name}, {key}.json", lambda part=parts["json"]: take_field(parse_json(part), field))


def _read_rows(file: BinaryIO, name: str, field: str) -> Iterator[Sample | BadSample]:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{name} needs the package {error.name!r}, which is not installed; the extra 'import' brings it:\n"
            "  pip install -e '.[import]' -c constraints.txt",
            name=error.name,
        ) from error
    rows, number = pq.ParquetFile(file), 0
    if field not in (names := rows.schema_arrow.names):
        refuse(name, f"the columns {names}", f"{field!r} among them", "name the column of the texts with --field")
    for batch in rows.iter_batches(batch_size=_BATCH_ROWS, columns=[field]):
        for value in batch.column(0):
            number += 1
            yield _document(f"{name}, row {number}", value.as_py)


_READERS: Mapping[str, Callable[[BinaryIO, str, str], Iterator[Sample | BadSample]]] = {
    ".txt": _read_whole,
    ".txt.gz": _read_whole,
    ".md": _read_whole,
    ".jsonl": _read_lines,
    ".jsonl.gz": _read_lines,
    ".parquet": _read_rows,
    ".tar": _read_samples,
}
