from __future__ import annotations

import html
from collections.abc import Sequence


def escape(value: str) -> str:
    """Return text that a browser shows and does not read as markup."""
    return html.escape(value)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that is sorted by a click on a heading.

    Args:
        heads: Names of the columns.
        rows: At least one, each with a cell a column.
    """
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    numeric = [all(cell.startswith('<td class="number') for cell in column) for column in zip(*rows, strict=True)]
    head = "".join(
        f"<th{' class=number' if right else ''}><button>{escape(name)}</button></th>"
        for name, right in zip(heads, numeric, strict=True)
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def named(name: str, colour: str) -> str:
    """Return a cell with a name after a dot of a colour."""
    return f'<td><span class="dot" style="background:{colour}"></span>{escape(name)}</td>'


def words(text: str) -> str:
    """Return a cell with a text."""
    return f"<td>{escape(text)}</td>"


def number(value: float | None, form: str) -> str:
    """Return a cell with a number; None is a dash, and the smallest when sorted."""
    if value is None:
        return '<td class="number" data-value="-Infinity">&ndash;</td>'
    return f'<td class="number" data-value="{value}">{signed(value, form)}</td>'


def percent(share: float | None) -> str:
    """Return a cell with a share in per cent."""
    return number(None if share is None else 100 * share, ".2f")


def signed(value: float, form: str) -> str:
    """Return a formatted number with a true minus sign."""
    return format(value, form).replace("-", "\N{MINUS SIGN}")
