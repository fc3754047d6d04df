from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.exchange.foreign import refuse
from tasks.exchange.samples import BadSample, Sample, check_text, read_sample

PREFIX = "hf:"
"""How a source begins that is a data set of Hugging Face."""


class HuggingFaceSource:
    """Documents: the rows of a Hugging Face data set, of its split ``train`` where it has splits.

    Args:
        source: ``hf:NAME``, ``hf:NAME:CONFIGURATION``, or ``hf:FOLDER`` for what ``save_to_disk`` wrote.
        field: The column that is the text.

    Raises:
        ForeignDataError: If there is no such column.
        ModuleNotFoundError: If ``datasets`` is not installed.
    """

    def __init__(self, source: str, field: str = "text") -> None:
        try:
            import datasets  # pyright: ignore[reportMissingImports]  # of an extra
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{source} needs the package {error.name!r}, which is not installed; the extra 'huggingface' brings it:"
                "\n  pip install -e '.[huggingface]' -c constraints.txt",
                name=error.name,
            ) from error
        self._name, self._field = source.removeprefix(PREFIX), field
        if Path(self._name).is_dir():
            found = datasets.load_from_disk(self._name)
        else:
            found = datasets.load_dataset(*self._name.split(":"), split="train")
        self._rows: Any = found["train"] if isinstance(found, datasets.DatasetDict) else found
        if field not in (names := self._rows.column_names):
            refuse(source, f"the columns {names}", f"{field!r} among them", "name the column of the texts with --field")

    def __iter__(self) -> Iterator[Sample | BadSample]:
        """See ``SampleSource``."""
        for number, row in enumerate(self._rows.select_columns([self._field]), start=1):
            where = f"{self._name}, row {number}"
            yield read_sample(where, lambda row=row, where=where: Sample(where, (check_text(row[self._field]),)))

    def recipe(self) -> Mapping[str, Any]:
        """See ``SampleSource``; the fingerprint is the library's own."""
        return {"data_set": self._name, "fingerprint": self._rows._fingerprint, "field": self._field}
