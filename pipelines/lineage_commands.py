from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import dagster as dg
import typer
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.tree import Tree

from assets.resources import Stores
from assets.staleness import Finding, Survey
from assets.trace import TRACED, Link, Trace
from pipelines.experiments import get_experiment
from pipelines.records import open_records
from tasks.registry import get_task

console = Console(highlight=False)
_SHORT = 12  # digits of a digest
_LAST = ("code_version", "task_code_version", "git_revision", "seconds", "cpu_seconds", "gpu_seconds", "bytes")
_NOT_DRAWN = ("packages", "files", "execution")
_ExperimentName = Annotated[
    str, typer.Option("--experiment", "-e", help="Whose things are meant; see pipelines/experiments.py.")
]
_AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def trace(
    what: Annotated[str, typer.Argument(metavar="STAGE[/FAMILY]", help=f"One of {', '.join(TRACED)}, and a family.")],
    task: Annotated[str, typer.Option("--task", help="Id of a task: of it all is told.")] = "",
    experiment: _ExperimentName = "demo",
    as_json: _AsJSON = False,
) -> None:
    """Show what something stored was made from, by digest, back to the expert; exit code 1 when a link is broken."""
    stage, _, family = what.partition("/")
    if task and family and get_task(task).family != family:
        raise ValueError(f"task {task!r} is not of family {family!r}; expected a task of it, see: db1 tasks {family}")
    stores = Stores.from_environment()
    with _find_records() as instance:
        begin = Trace(stores, get_experiment(experiment).name, task=task, instance=instance).begin(stage)
    faults = list({id(link): link for link in begin.faults()}.values())
    if as_json:
        print(json.dumps(begin.to_json(), indent=1))
    else:
        tree = Tree(_label(begin), guide_style="dim")
        _grow(tree, begin, task, {id(begin)})
        console.print(tree)
        for link in faults:
            console.print(
                f"[bold red]broken:[/] {_name(link)} {link.digest[:_SHORT]} was used, but {escape(link.fault)}; "
                "what it was made from is not known any more",
                soft_wrap=True,
            )
        told = f"[bold red]broken links: {len(faults)}[/]" if faults else "[bold green]all links hold[/]"
        console.print(f"{told}; what is out of date is told by: db1 stale -e {experiment}")
    if faults:
        raise typer.Exit(1)


def stale(
    experiment: _ExperimentName = "demo",
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the sentences anew that the tokenizer was learnt from.")
    ] = False,
    as_json: _AsJSON = False,
) -> None:
    """Tell what is missing or out of date, and why, in the order of the data; exit code 1 when something is."""
    chosen, stores = get_experiment(experiment), Stores.from_environment()
    survey = Survey(stores, chosen, read_sentences=not quick)
    if as_json:
        findings = survey.run()
        print(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        with console.status("comparing what is stored with what it would be made from"):
            findings = survey.run()
        for line in _summarise(findings):
            console.print(line, soft_wrap=True)
        told = f"what is told here is made by: db1 make all -e {experiment}"
        console.print(told if findings else "[bold green]nothing is out of date[/]", soft_wrap=True)
    if findings:
        raise typer.Exit(1)


def _summarise(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield a line for the things of a stage that share a state and its reasons."""
    alike: dict[tuple[str, str, tuple[str, ...]], list[Finding]] = {}
    for finding in findings:
        alike.setdefault((finding.stage, finding.state, finding.reasons), []).append(finding)
    for (stage, state, reasons), group in alike.items():
        assets = {finding.asset for finding in group}
        asset = assets.pop() if len(assets) == 1 else f"{stage}/*"
        colour = {"damaged": "bold red", "waiting": "dim"}.get(state, "yellow")
        name = group[0].name if len(group) == 1 else f"{len(group)} tasks"
        why = "; ".join(reasons)
        if len(group) == 1:
            inputs = [one for one in group[0].details if one["kind"] == "input"]
            digests = [f"{one['what']} {_digit(one['was'])}, now {_digit(one['now'])}" for one in inputs]
            why += f" ({'; '.join(digests)})" if digests else ""
        yield f"{asset:<26} {escape(name):<28} [{colour}]{state}[/]{': ' if why else ''}{escape(why)}"


def _digit(value: Any) -> str:
    return "nothing" if value is None else str(value)[:_SHORT]


@contextmanager
def _find_records() -> Iterator[dg.DagsterInstance | None]:
    """Open Dagster's records of this project; None where there are none."""
    if not (os.environ.get("DAGSTER_HOME") or (Path("dagster.yaml").is_file() and Path(".dagster").is_dir())):
        yield None
        return
    with open_records() as instance:
        yield instance


def _grow(tree: Tree, link: Link, task: str, seen: set[int]) -> None:
    """Draw what a link was made from; of other tasks only those whose way is broken."""
    left_out: dict[str, int] = {}
    for one in link.inputs:
        is_other = "/" in one.name and one.name != task and link.name != one.name
        if is_other and not one.fault and not any(one.faults()):
            left_out[one.shelf] = left_out.get(one.shelf, 0) + 1
            continue
        branch = tree.add(_label(one, again=id(one) in seen))
        if id(one) not in seen:
            seen.add(id(one))
            _grow(branch, one, task, seen)
    for shelf, count in left_out.items():
        others = "other tasks" if task else "tasks"
        tree.add(f"[dim]{shelf} of {count} {others}, whose links all hold[/]")


def _name(link: Link) -> str:
    words = {"checkpoints": "checkpoint", "shards/_index": "index of shards", "specialists": "specialist"}
    return escape(f"{words.get(link.shelf, link.shelf)} {link.name}")


def _label(link: Link, *, again: bool = False) -> str:
    head = f"[bold]{_name(link)}[/] [cyan]{link.digest[:_SHORT]}[/]"
    if again:
        return f"{head} [dim]see above[/]"
    if link.fault:
        return f"{head} [bold red]BROKEN[/] {escape(link.fault)}"
    facts = link.facts or {}
    made = f"made {link.made_at:%Y-%m-%d %H:%M}" if link.made_at else ""
    shown = {name: value for name, value in facts.items() if name not in _NOT_DRAWN and value is not None}
    about = [_say(name, value) for name, value in shown.items() if name not in _LAST]
    code = [_say(name, shown[name]) for name in _LAST if name in shown]
    if "git_revision" not in facts and link.shelf != "shards":
        code.append("git revision not recorded")
    lines = [f"{head} [dim]{made}[/]", escape(", ".join(about)), f"[dim]{escape(', '.join(code))}[/]"]
    return "\n".join(line for line in lines if line)


def _say(name: str, value: Any) -> str:
    """Say a fact in words: ``num_episodes`` 3200 is ``3,200 episodes``."""
    match name, value:
        case "bytes", _:
            return decimal(value)
        case "seeds", [first, last]:
            return f"seeds {first} to {last}"
        case "git_revision", str():
            return f"git {value[:_SHORT]}{'-dirty' if value.endswith('-dirty') else ''}"
        case (("score" | "requested_share" | "realised_share"), float()) if 0 <= abs(value) <= 1:
            return f"{name.replace('_', ' ')} {100 * value:.1f} %"
        case str(), int() if name.startswith("num_") or name in ("windows", "tasks"):
            noun = name.removeprefix("num_")
            return f"{value:,} {noun if value != 1 else noun.removesuffix('s')}"
        case str(), float():
            number = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
            if name.endswith("seconds"):
                return f"{number} {name.removesuffix('seconds').replace('_', ' ')}s"
            return f"{number} {name}" if name == "epochs" else f"{name.replace('_', ' ')} {number}"
        case _, Mapping():
            return f"{name.replace('_', ' ')}: " + ", ".join(_say(str(key), one) for key, one in value.items())
    return f"{name.replace('_', ' ')} {value}"
