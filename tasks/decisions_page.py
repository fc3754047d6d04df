from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.cells import escape, number, signed, table, words

_DECISIONS_SHOWN = 10


@dataclass(frozen=True)
class ServingFacts:
    """Which checkpoint serves, and what was decided about it.

    Args:
        serves: Digest of the checkpoint that serves.
        decisions: Rows with ``outcome``, ``challenger``, ``serves`` and ``reason``; the newest last.
        contest: Numbers of the newest decision, as ``Contest.to_json`` returns them; None where nothing was compared.
    """

    serves: str
    decisions: Sequence[Mapping[str, Any]]
    contest: Mapping[str, Any] | None = None

    @property
    def differences(self) -> list[Mapping[str, Any]]:
        """The newest contest's differences, overall and then by family; none where nothing was compared."""
        if self.contest is None or self.contest["overall"] is None:
            return []
        return [self.contest["overall"], *self.contest["families"]]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"serves": self.serves, "decisions": [dict(row) for row in self.decisions], "contest": self.contest}


def decision_section(serving: ServingFacts, checkpoint: str, picture: str) -> str:
    """Return who serves and why, the numbers behind it, and the decisions before.

    Args:
        serving: What was decided.
        checkpoint: Digest of the report's checkpoint.
        picture: The figure of the differences, as HTML; empty where there is none.
    """
    newest = serving.decisions[-1]
    if serving.serves == checkpoint:
        who = "This report's checkpoint serves."
    else:
        who = f"This report's checkpoint does not serve: {serving.serves[:12]} does."
    told = f"<p>{escape(who)} Newest decision: <b>{escape(newest['outcome'])}</b>, {escape(newest['reason'])}.</p>"
    differences = _difference_table(serving.differences) if serving.differences else ""
    return told + differences + picture + _decision_table(serving.decisions)


def _difference_table(differences: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [
            words(one["name"]),
            number(one["num_tasks"], "d"),
            number(one["num_pairs"], "d"),
            number(100 * one["challenger"], ".1f"),
            number(100 * one["champion"], ".1f"),
            number(100 * one["difference"], "+.1f"),
            words(f"{signed(100 * one['low'], '+.1f')} to {signed(100 * one['high'], '+.1f')}"),
            number(-100 * one["margin"], ".1f"),
        ]
        for one in differences
    ]
    heads = ["of", "tasks", "episodes", "challenger, %", "champion, %", "difference", "interval", "allowed from"]
    note = (
        '<p class="note">Means over tasks on equal seeds, in per cent of the way from floor to expert. A challenger '
        "takes the champion&#x27;s place when each interval begins above what is allowed.</p>"
    )
    return note + table(heads, rows)


def _decision_table(decisions: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [words(one["outcome"]), _digest(one["challenger"]), _digest(one["serves"]), _sentence(one["reason"])]
        for one in list(decisions)[: -_DECISIONS_SHOWN - 1 : -1]
    ]
    return table(["decision", "about", "serves then", "because"], rows)


def _digest(digest: str) -> str:
    return f'<td><code title="{escape(digest)}">{escape(digest[:12])}</code></td>'


def _sentence(text: str) -> str:
    return f'<td class="sentence">{escape(text)}</td>'
