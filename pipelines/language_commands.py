from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape

from assets.resources import Stores
from db1_model.text import TextStream
from pipelines.checkpoints import make_policy, newest_checkpoint, open_checkpoint, open_tokenizer, trained_tasks_of
from storage.episode import Schema
from storage.manifest import ManifestError
from tasks.corpora.pictures import read_picture
from tasks.registry import get_task
from tasks.task import schema_of

if TYPE_CHECKING:
    from db1_model.policy import DB1Policy

console = Console(highlight=False)

_Model = Annotated[str, typer.Option("--model", help="A stored checkpoint.", show_default="the newest")]
_Temperature = Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token; above it, tokens are drawn.")]
_Seed = Annotated[int, typer.Option(help="Seed of the draws.")]


def caption(
    image: Annotated[Path, typer.Argument(help="A picture.", show_default=False)],
    model: _Model = "",
    task: Annotated[str, typer.Option(help="The task whose way of describing is asked for.")] = "captions/rooms-2",
    temperature: _Temperature = 0.0,
    seed: _Seed = 0,
) -> None:
    """Describe a picture."""
    _open(task, model, temperature, seed).answer(picture=image)


def ask(
    image: Annotated[Path, typer.Argument(help="A picture.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What is asked about it.", show_default=False)],
    model: _Model = "",
    task: Annotated[str, typer.Option(help="The task whose questions these are like.")] = "questions/rooms",
    temperature: _Temperature = 0.0,
    seed: _Seed = 0,
) -> None:
    """Answer a question about a picture."""
    _open(task, model, temperature, seed).answer(question, picture=image)


def write(
    prompt: Annotated[str, typer.Argument(help="How the text begins.")] = "",
    model: _Model = "",
    max_tokens: Annotated[int, typer.Option(min=1, help="Most tokens to add.")] = 100,
    temperature: _Temperature = 0.8,
    top_p: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Draw from the likeliest tokens of this share.")
    ] = 0.95,
    seed: _Seed = 0,
    stop: Annotated[str, typer.Option(help="End before this text.")] = "",
) -> None:
    """Continue a text, printed as it comes."""
    from db1_model.checkpoint import load_checkpoint
    from db1_model.generation import stream_text

    stores = Stores.from_environment()
    name = _choose(stores, model)
    network, text = load_checkpoint(open_checkpoint(stores, name)).model, open_tokenizer(stores, name)
    if (count := len(text.encode(prompt))) > (length := network.config.context_length):
        seen = f"{escape(name)} sees {length} at once, and goes on from the last ones"
        Console(stderr=True).print(f"[yellow]the prompt has {count} tokens; {seen}[/]", soft_wrap=True)
    print(prompt, end="", flush=True)
    said = told = ""
    options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    for piece in stream_text(network, text, prompt, **options):
        said += piece
        end = said.find(stop) if stop else -1
        ready = said[:end] if end >= 0 else said[: len(said) - max(0, len(stop) - 1)]
        print(ready[len(told) :], end="", flush=True)
        told = ready
        if end >= 0:
            break
    else:
        print(said[len(told) :], end="")
    print()


def chat(
    model: _Model = "",
    task: Annotated[str, typer.Option(help="The task whose talks this is like.")] = "dialogue/city-talks",
    temperature: _Temperature = 0.0,
    seed: _Seed = 0,
) -> None:
    """Talk, a line a turn, from the keyboard or from a pipe; an empty line begins a new talk."""
    speaker = _open(task, model, temperature, seed)
    if sys.stdin.isatty():
        console.print(f"[dim]{escape(speaker.name)}, as in {task}; an empty line begins anew, Ctrl-D ends[/]")
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if not line:
            speaker.forget()
            continue
        try:
            speaker.answer(line)
        except ValueError as error:
            console.print(f"[yellow]{escape(str(error))}[/]", soft_wrap=True)


class _Speaker:
    """Answers in words, printed as they come.

    Args:
        name: The checkpoint.
        schema: The steps of the task whose way of answering it is.
        policy: A policy of one slot.
    """

    def __init__(self, name: str, schema: Schema, policy: DB1Policy) -> None:
        self.name, self.schema, self.policy = name, schema, policy
        self._stream, self._has_ended = TextStream(policy.tokenizer), True
        policy.tell = self._say

    def _say(self, tokens: NDArray[np.int64]) -> None:
        self._has_ended = self._has_ended or tokens[0] == 0
        if not self._has_ended:
            print(self._stream.push(int(tokens[0])), end="", flush=True)

    def answer(self, question: str = "", *, picture: Path | None = None) -> None:
        """Print the answer of the next turn.

        Raises:
            ValueError: If the picture can't be read, or the question has more tokens than the task keeps.
        """
        seen: dict[str, Any] = {}
        for key, leaf in self.schema.observations.items():
            if leaf.kind == "image" and picture is not None:
                height, width, _ = leaf.shape
                seen[key], size = read_picture(picture, (height, width, 3))
                if size != (height, width):
                    console.print(f"[dim]{picture.name}: scaled from {size[0]} x {size[1]} to {height} x {width}[/]")
            elif leaf.kind == "text":
                if (count := len(self.policy.tokenizer.encode(question))) > leaf.num_tokens:
                    raise ValueError(f"{question!r} has {count} tokens; expected at most {leaf.num_tokens}")
                seen[key] = question
            else:
                raise ValueError(f"the task shows {key!r}, {leaf.kind}; expected one of pictures or questions alone")
        self._has_ended = False
        self.policy.act([0], [seen], [None])
        print(self._stream.finish())

    def forget(self) -> None:
        """Begin a new talk."""
        self.policy.reset([0])


def _choose(stores: Stores, model: str) -> str:
    name = model or newest_checkpoint(stores)
    if name is None:
        raise ManifestError("checkpoint", "demo", "there is none yet")
    return name


def _open(task_id: str, model: str, temperature: float, seed: int) -> _Speaker:
    task, stores = get_task(task_id), Stores.from_environment()
    schema = schema_of(task)
    if schema.action.kind != "text":
        raise ValueError(
            f"task {task_id!r} is not answered in words; expected one of captions, questions or dialogue, see:\n"
            "  db1 tasks captions,questions,dialogue"
        )
    name = _choose(stores, model)
    trained = trained_tasks_of(stores, open_checkpoint(stores, name).manifest)
    if task_id not in trained:
        console.print(f"[yellow]{escape(name)} was not trained on {task_id}, or its shards are not here[/]")
    policy, _ = make_policy(stores, name, task, num_slots=1, device="cpu", temperature=temperature, seed=seed)
    return _Speaker(name, schema, policy)
