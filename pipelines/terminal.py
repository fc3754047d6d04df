from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import dagster as dg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table

from assets.evaluation import judge_evaluation
from assets.resources import describe_pace
from pipelines.runs import StageRun
from storage.manifest import Manifest
from tasks.scores import summarise

Item = TypeVar("Item")
_PLAIN_EVERY_S = 10.0
_FOUND = "none"
_WIDE = 120


class Terminal:
    """Shows how far a run is: a line for what is finished, and a moving one for what is being done.

    It stands in the place of the ``progress`` resource. Where the output is no terminal, the moving line becomes a
    plain one every ten seconds.

    Args:
        console: Where to write.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._stage = ""
        self._run_begun = self._told = 0.0
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Terminal:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def tell(self, run: StageRun, result: dg.ExecuteInProcessResult | None) -> None:
        """Show that a run begins, or what it made and found."""
        self._stage = run.stage
        name = run.asset_key.to_user_string()
        if result is None:
            self._run_begun = time.perf_counter()
            self.say(name)
            return
        works = [
            event.step_materialization_data.materialization.metadata.get("work")
            for event in result.get_asset_materialization_events()
        ]
        told = [str(work.value) for work in works if work is not None]
        found = sum(work.startswith(_FOUND) for work in told)
        counts = f"{len(told) - found} made, {found} found" if run.family else ("found" if found else "made")
        self.console.print(f"[green]✓[/] {name:<24} {counts} in {time.perf_counter() - self._run_begun:.1f} s")

    def track(self, name: str, items: Iterable[Item], *, total: int, unit: str) -> Iterator[Item]:
        """Yield the items, and show their number and rate."""
        begun = time.perf_counter()
        for done, item in enumerate(items, start=1):
            yield item
            elapsed_s = time.perf_counter() - begun
            if done < total:
                self.say(describe_pace(name, done, total, unit, elapsed_s))
            elif elapsed_s >= 1.0:
                rate = f"{total} {unit} in {elapsed_s:.1f} s, {total / elapsed_s:.1f}/s"
                self.console.print(f"  [dim]{escape(f'{name}: {rate}')}[/]")

    def warn(self, line: str) -> None:
        """Show a line that stays, about something that went wrong and does not end the command."""
        self.console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)

    def say(self, line: str) -> None:
        """Show a line in the place of the last one."""
        if self.console.is_terminal:
            self._live.update(Spinner("dots", text=f"{self._stage}  {escape(line)}"))
        elif time.monotonic() - self._told >= _PLAIN_EVERY_S:
            self.console.print(f"  {self._stage}  {escape(line)}")
            self._told = time.monotonic()


def print_table(console: Console, table: Table) -> None:
    """Print a table; where the output is no terminal, it has room for 120 columns at least."""
    shown = console if console.is_terminal else Console(highlight=False, width=max(console.width, _WIDE))
    shown.print(table)


def draw_scores_table(evaluations: Sequence[Manifest]) -> Table:
    """Draw one row a task: mean returns of chance, expert and model, and the expert-normalised score.

    A tour has its gap beside the score: how much longer it is than the expert's.

    Args:
        evaluations: Manifests of stored evaluations.
    """
    table = Table(box=SIMPLE_HEAD, header_style="bold", padding=0)
    for name in ("task", "random", "expert", "model", "score", "gap", "episodes"):
        table.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
    for manifest in evaluations:
        verdict = judge_evaluation(manifest)
        random = manifest.metadata["reference_scores"]["random"]["mean"]
        colour = "green" if verdict.reaches(0.5) else "red"
        score = "undefined" if verdict.normalised is None else f"[{colour}]{100 * verdict.normalised:.0f} %[/]"
        gap = f"{100 * verdict.gap:.1f} %" if manifest.name.startswith("tsp/") and verdict.gap is not None else ""
        returns = [_show(value) for value in (random, verdict.expert, verdict.score)]
        table.add_row(manifest.name, *returns, score, gap, str(verdict.num_episodes))
    return table


def _show(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def summarise_scores(evaluations: Sequence[Manifest]) -> str:
    """Return one line about all tasks."""
    verdicts = [judge_evaluation(manifest) for manifest in evaluations]
    if all(verdict.normalised is None for verdict in verdicts):
        return "no task has a defined score"
    summary = summarise(verdicts)
    reached, number = summary.reached[0.5], summary.num_tasks
    return (
        f"[bold]{reached} of {number} tasks ({100 * reached / number:.1f} %) reach half of the expert's score[/], "
        f"mean {100 * summary.mean:.1f} %"
    )
