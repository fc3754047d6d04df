from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assets.data_card import write_data_card
from assets.evaluation import judge_evaluation
from assets.resources import Stores
from pipelines.checkpoints import find_licences, find_tokenizer, make_policy, open_checkpoint
from pipelines.experiments import EXPERIMENTS
from pipelines.terminal import print_table
from storage.folder import StoredFolder
from storage.manifest import Manifest, ManifestError
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.scores import judge
from tasks.task import EVALUATION_SEED

checkpoints = typer.Typer(no_args_is_help=True, help="Import DB1's published checkpoint; export one; write its log.")
console = Console(highlight=False)
_SLOTS = 8  # environments at once; each holds the keys and values of a memory


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
        table.add_row(escape(case.case), f"{case.largest:.1e}", f"{case.tolerance:.0e}", verdict)
    print_table(console, table)
    if any(case.relative for case in result.differences):
        console.print("a gradient's difference is a share of its largest expected entry")
    if result.absent:
        console.print(f"left out, as the folder does not have them: {', '.join(result.absent)}", soft_wrap=True)
    if result.unknown:
        console.print(
            f"[yellow]not compared, as no such case is known: {escape(', '.join(result.unknown))}[/]", soft_wrap=True
        )
    num_cases, num_failed = len(result.differences), len(result.failed)
    held = f"{num_cases - num_failed} of {num_cases} cases hold"
    if result.failed:
        console.print(f"[bold red]{held}; not:[/] {escape(', '.join(result.failed))}", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"[bold green]{held}[/]")


@checkpoints.command(name="import")
def import_(
    source: Annotated[Path, typer.Argument(help="Folder with <tag>/mp_rank_00_model_states.pt.", show_default=False)],
    name: Annotated[str, typer.Option("--name", help="Name of the checkpoint that is made.", show_default=False)],
    tokenizer: Annotated[
        Path,
        typer.Option("--tokenizer", help="Folder with DB1's tokenizer.json or vocab.json.", show_default=False),
    ],
    tag: Annotated[str | None, typer.Option(help="DeepSpeed's tag, where there are several.")] = None,
    norm: Annotated[str, typer.Option(help="post, pre, or deep for DeepNorm.")] = "post",
    context_length: Annotated[int, typer.Option(help="Positions of a training sequence.")] = 1024,
    memory_length: Annotated[int, typer.Option(help="Keys that a position sees while acting.")] = 1024,
    num_bins: Annotated[int, typer.Option(help="Bins of a continuous number.")] = 1024,
    num_discrete: Annotated[int, typer.Option(help="Values of a discrete number.")] = 1024,
) -> None:
    """Store the weights of DB1's published checkpoint, a folder of DeepSpeed, as a checkpoint that can play."""
    from db1_model.deepspeed import Unstated, import_deepspeed
    from db1_model.text import TextTokenizer

    if name in EXPERIMENTS:
        raise ValueError(f"{name!r} is an experiment, whose checkpoint is trained; expected another name")
    if norm not in ("post", "pre", "deep"):
        raise ValueError(f"the norm is {norm!r}; expected post, pre or deep")
    stores, text = Stores.from_environment(), TextTokenizer.load(tokenizer)
    folder = StoredFolder(stores.locations.checkpoints, "checkpoint", name)
    unstated = Unstated(norm, context_length, memory_length, num_bins, num_discrete)
    manifest = import_deepspeed(source, folder, text, unstated, tag=tag)

    def fill(path: Path) -> dict[str, Any]:
        text.save(path)
        return {"num_tokens": text.size, "tokenizer_digest": text.digest}

    StoredFolder(stores.locations.tokenizer, "tokenizer", name).write(fill, recipe={"imported": text.digest})
    console.print(
        f"[green]✓[/] checkpoint {name}: {_count_parameters(manifest)}, in {escape(folder.place.locate())}",
        soft_wrap=True,
    )
    console.print(f"play with it:\n  db1 play {name} control/CartPole", soft_wrap=True)


@checkpoints.command()
def export(
    name: Annotated[str, typer.Argument(help="Name of the checkpoint.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Folder to make.", show_default=False)],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Write a checkpoint as a folder that stands alone: safetensors, configuration, tokenizer, model and data card."""
    from db1_model.checkpoint import load_checkpoint
    from db1_model.export import export_checkpoint
    from db1_model.model_card import TaskScore, write_card

    stores = Stores.from_environment()
    files = open_checkpoint(stores, name)
    checkpoint, text = load_checkpoint(files), find_tokenizer(stores, name)
    if text is not None and text.digest != checkpoint.vocabulary.tokenizer_digest:
        console.print(f"[yellow]left out: tokenizer {name}, which is another than that of the checkpoint[/]")
        text = None
    verdicts = [
        judge_evaluation(manifest)
        for manifest in (stores.evaluation.read(task_id).manifest for task_id in stores.evaluation.tasks())
        if manifest.metadata["checkpoint"] == files.manifest.metadata.get("checkpoint", files.manifest.digest)
    ]
    scores = [
        TaskScore(one.task, one.num_episodes, one.score, one.floor, one.floor_name, one.expert, one.normalised)
        for one in verdicts
    ]
    card = write_card(
        files.manifest,
        checkpoint.model.config,
        checkpoint.vocabulary,
        task_licences=find_licences(stores, files.manifest),
        scores=scores,
        has_tokenizer=text is not None,
    )
    data_card = write_data_card(stores, files.manifest)
    export_checkpoint(folder, checkpoint, card=card, data_card=data_card, tokenizer=text, overwrite=overwrite)
    console.print(f"[green]✓[/] {name}, {_count_parameters(files.manifest)}: {escape(str(folder))}", soft_wrap=True)


def play(
    name: Annotated[str, typer.Argument(help="A stored checkpoint: an experiment, an import, or EXPERIMENT@champion.")],
    task_id: Annotated[str, typer.Argument(metavar="TASK", help="Id of a task.", show_default=False)],
    episodes: Annotated[int, typer.Option(min=1, help="Episodes, on the evaluation's seeds.")] = 20,
    device: Annotated[str, typer.Option(help="Where the model computes: cpu or cuda.")] = "cpu",
) -> None:
    """Play a task with a stored checkpoint; print each episode's return, the mean and the score."""
    task, stores = get_task(task_id), Stores.from_environment()
    num_slots = min(episodes, _SLOTS)
    policy, prompted = make_policy(stores, name, task, num_slots=num_slots, device=device)
    prompt = (
        "after the evaluation's prompt" if prompted else "without a prompt: no shards of this task have its vocabulary"
    )
    console.print(f"{name} plays {task.id}, {prompt}", soft_wrap=True)
    returns: list[float] = []
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + episodes)
    for episode in roll_out(task, policy, seeds, num_slots=num_slots):
        returns.append(episode.total_return)
        console.print(f"  seed {episode.seed}  {len(episode):>5} steps  return {episode.total_return:>10,.4g}")
    console.print(f"[bold]mean return {sum(returns) / episodes:,.4g}[/] of {episodes} episodes")
    try:
        facts = stores.trajectories.read(task.id).manifest.metadata
    except ManifestError as error:
        console.print(f"no score, for there are no reference scores: {escape(str(error))}", soft_wrap=True)
        return
    verdict = judge(task.id, returns, facts["reference_scores"], facts["floor"])
    score = "undefined" if verdict.normalised is None else f"{100 * verdict.normalised:.1f} %"
    floor, expert = f"0 % is {verdict.floor_name}'s {verdict.floor:,.4g}", f"100 % the expert's {verdict.expert:,.4g}"
    console.print(f"[bold]score {score}[/], where {floor} and {expert}")


def _count_parameters(manifest: Manifest) -> str:
    return f"{manifest.metadata['num_parameters']:,} parameters, step {manifest.metadata['step']:,}"
