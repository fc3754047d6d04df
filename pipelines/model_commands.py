from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

console = Console(highlight=False)
_WIDE = 120  # columns where the output is no terminal


def parity(
    folder: Annotated[Path, typer.Argument(help="Holds config.json, weights.npz and cases.npz.", show_default=False)],
) -> None:
    """Compare the model with what the published DB1 computed; exit code 1 when a case is not within its tolerance."""
    from db1_model.parity import check_parity

    result = check_parity(folder)
    config = result.config
    console.print(
        f"{config.num_layers} layers of width {config.width}, {config.num_heads} heads, norm {config.norm}, relative "
        f"biases {'of each layer' if config.untie_relative_bias else 'shared'}, memory {config.memory_length}"
    )
    table = Table(box=SIMPLE_HEAD, header_style="bold", padding=0)
    table.add_column("case", overflow="fold")
    for name in ("difference", "tolerance", ""):
        table.add_column(name, justify="right", no_wrap=True, min_width=max(len(name), 5))
    for case in result.differences:
        verdict = "[green]holds[/]" if case.holds else "[bold red]FAILS[/]"
        table.add_row(case.case, f"{case.largest:.1e}", f"{case.tolerance:.0e}", verdict)
    console.print(table, width=None if console.is_terminal else _WIDE)
    if any(case.relative for case in result.differences):
        console.print("a gradient's difference is a share of its largest expected entry")
    if result.absent:
        console.print(f"left out, as the folder does not have them: {', '.join(result.absent)}", soft_wrap=True)
    if result.unknown:
        console.print(f"[yellow]not compared, as no such case is known: {', '.join(result.unknown)}[/]", soft_wrap=True)
    num_cases, num_failed = len(result.differences), len(result.failed)
    held = f"{num_cases - num_failed} of {num_cases} cases hold"
    if result.failed:
        console.print(f"[bold red]{held}; not:[/] {', '.join(result.failed)}", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"[bold green]{held}[/]")
