from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tasks.exchange.samples import BadSample, Sample, check_text, read_sample, take_field
from tasks.exchange.source_files import SourceFiles, guard, parse_json, read_json_lines

_ROLES = ("system", "user", "assistant")
_EXPECTED = "system at the beginning if at all, then user and assistant in turns"


class MessageSource:
    """Talks, a line of JSON each: ``{"messages": [{"role": "user", "content": "..."}, ...]}``.

    Every answer of the ``assistant`` to the ``user`` is a turn; what the ``system`` says at the beginning comes before
    the first question, with an empty line between. A last question without an answer is left out.

    Args:
        source: A file, or a folder with all that lies below it; a path or a URL.
        field: The field that holds the messages.

    Raises:
        ForeignDataError: If there is no such file.
    """

    def __init__(self, source: str, field: str = "messages") -> None:
        self.files = SourceFiles(source, (".jsonl", ".jsonl.gz"))
        self._field = field

    def __iter__(self) -> Iterator[Sample | BadSample]:
        """See ``SampleSource``."""
        for name in self.files:
            with self.files.open(name) as file:
                yield from guard(name, self._read(read_json_lines(file, name)))

    def _read(self, lines: Iterator[tuple[str, bytes]]) -> Iterator[Sample | BadSample]:
        for where, line in lines:
            yield read_sample(
                where, lambda line=line, where=where: _talk(where, take_field(parse_json(line), self._field))
            )

    def recipe(self) -> Mapping[str, Any]:
        """See ``SampleSource``."""
        return {"files": self.files.digest, "field": self._field}


def _talk(where: str, messages: Any) -> Sample:
    if not isinstance(messages, list):
        raise ValueError(f"the messages are {type(messages).__name__}; expected a list")
    said: dict[str, list[str]] = {role: [] for role in _ROLES}
    for number, message in enumerate(messages):
        role = take_field(message, "role")
        if role not in _ROLES:
            raise ValueError(f"message {number} has the role {role!r}; expected one of {', '.join(_ROLES)}")
        is_answer = len(said["user"]) > len(said["assistant"])
        if role != ("assistant" if is_answer else "user") and not (role == "system" and not said["user"]):
            before = messages[number - 1]["role"] if number else "nothing"
            raise ValueError(f"message {number} is of {role!r} after {before!r}; expected {_EXPECTED}")
        said[role].append(check_text(take_field(message, "content"), f"message {number}"))
    if not said["assistant"]:
        raise ValueError(f"{len(messages)} messages without an answer; expected {_EXPECTED}")
    questions = said["user"][: len(said["assistant"])]
    questions[0] = "\n\n".join([*said["system"], questions[0]])
    return Sample(where, tuple(said["assistant"]), tuple(questions))
