from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from storage.doctor import Diagnosis, examine
from storage.inventory import SHELVES, Thing, list_things
from storage.locations import Locations
from storage.manifest import ManifestError, describe, making_command
from storage.place import Stray
from storage.retention import MIN_AGE_S, clean

console = Console(highlight=False)
_HOUR_S = 3600
_Path = Annotated[
    str | None,
    typer.Argument(
        help="A data root, the folder of a kind in it, or of one thing; where DB1_DATA points when empty.",
        show_default=False,
    ),
]


def doctor(
    path: _Path = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look at sizes, and read no file as a whole.")] = False,
) -> None:
    """Check all that is stored: every manifest, file and count; exit code 1 when something is wrong."""
    things = list_things(path or Locations.from_environment().root)
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        bar = progress.add_task("", total=sum(map(_bytes, things)))
        diagnoses = []
        for thing in things:
            progress.update(bar, description=escape(f"{thing.shelf.made_as} {thing.name}"))
            check = "sizes" if quick else "digests"
            diagnoses.append(examine(thing, check=check, advance=lambda size: progress.advance(bar, size)))
    there = [one for one in diagnoses if one.is_there]
    console.print(_draw(diagnoses))
    for diagnosis in there:
        _tell_faults(diagnosis)
    if strays := [stray for one in diagnoses for stray in one.strays]:
        size = decimal(sum(stray.bytes for stray in strays))
        command, places = f"db1 clean {path}" if path else "db1 clean", "place" if len(strays) == 1 else "places"
        console.print(f"strays, to which no manifest refers: {size} in {len(strays)} {places}; remove them with:")
        console.print(f"  {escape(command)}", soft_wrap=True)
    checked = "sizes and counts" if quick else "sizes, digests and counts"
    num_faulty = sum(bool(one.faults) for one in there)
    if num_faulty:
        console.print(f"[bold red]{num_faulty} of {len(there)} are damaged[/] ({checked} checked)")
        raise typer.Exit(1)
    console.print(f"[bold green]all {len(there)} are sound[/] ({checked} checked)")


def remove_strays(
    path: _Path = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would be removed.")] = False,
    min_age: Annotated[
        float, typer.Option(min=0, help="In an object store: only what is older than this many hours.")
    ] = MIN_AGE_S / _HOUR_S,
) -> None:
    """Remove what no manifest refers to: leftovers of writers that were stopped and of finished training runs."""
    num_bytes = num_strays = 0
    for thing in list_things(path or Locations.from_environment().root):
        for stray in clean(thing, dry_run=dry_run, min_age_s=min_age * _HOUR_S):
            num_strays, num_bytes = num_strays + 1, num_bytes + stray.bytes
            where = escape(thing.folder.place.locate(stray.name))
            console.print(f"{decimal(stray.bytes):>10}  {where}  [dim]{stray.reason}[/]", soft_wrap=True)
    told = "would be removed" if dry_run else "removed"
    total = f"[bold]{decimal(num_bytes)} in {num_strays} {'place' if num_strays == 1 else 'places'} {told}[/]"
    console.print(total if num_strays else "nothing to remove")


def _bytes(thing: Thing) -> int:
    try:
        return thing.folder.read_manifest().bytes
    except ManifestError:
        return 0


def _draw(diagnoses: Sequence[Diagnosis]) -> Table:
    table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("stored", no_wrap=True)
    for name in ("things", "files", "size", "sound", "damaged", "strays"):
        table.add_column(name, justify="right", no_wrap=True)
    for shelf in SHELVES:
        here = [one for one in diagnoses if one.thing.shelf == shelf]
        there, strays = [one for one in here if one.is_there], [stray for one in here for stray in one.strays]
        if there or strays:
            files = [file for one in there if one.manifest for file in one.manifest.files]
            damaged = sum(bool(one.faults) for one in there)
            table.add_row(
                shelf.folder,
                str(len(there)),
                f"{len(files):,}",
                decimal(sum(file.bytes for file in files)),
                str(len(there) - damaged),
                f"[bold red]{damaged}[/]" if damaged else "0",
                _size_of(strays),
            )
    return table


def _size_of(strays: Sequence[Stray]) -> str:
    return decimal(sum(stray.bytes for stray in strays)) if strays else "0"


def _tell_faults(diagnosis: Diagnosis) -> None:
    if diagnosis.faults:
        kind, name = diagnosis.thing.shelf.made_as, diagnosis.thing.name
        console.print(f"[bold red]✗[/] {escape(describe(kind, name))}; make it anew with:", soft_wrap=True)
        console.print(f"  {escape(making_command(kind, name))}", soft_wrap=True)
        for fault in diagnosis.faults:
            console.print(f"  [dim]-[/] {escape(fault)}", soft_wrap=True)
