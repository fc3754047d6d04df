from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from storage.episode import Episode
from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.corpora.own import FORMAT_OF, IMAGE_SHAPE, describe_own
from tasks.exchange.hugging_face import PREFIX, HuggingFaceSource
from tasks.exchange.importing import ROUTE, Import, import_recipe, refuse_to_replace
from tasks.exchange.messages import MessageSource
from tasks.exchange.pairs import PairSource
from tasks.exchange.samples import Sample, SampleSource
from tasks.exchange.sorting import SortedSamples
from tasks.exchange.texts import TextSource
from tasks.proof import PROOF_EPISODES
from tasks.rollout import measure_reference_scores, start_players
from tasks.task import EVALUATION_SEED, Task, schema_of

CODE_VERSION = "1"

_SOURCES: dict[str, Callable[..., SampleSource]] = {
    "text": TextSource,
    "pairs": partial(PairSource, shape=IMAGE_SHAPE),
    "messages": MessageSource,
}
FORMATS = tuple(_SOURCES)


def import_language(
    task: Task,
    source: str,
    locations: Locations,
    *,
    format: str,
    field: str = "",
    limit: int = 0,
    most_bad: float = 0.01,
    replace: bool = False,
    num_processes: int = 1,
    track: Callable[[Iterator[Episode]], Iterable[Episode]] = iter,
) -> Import:
    """Store a user's own texts, captioned pictures or talks as a task's trajectories, in bounded memory.

    A document, a pair or a talk is an episode. What is held out is stored first, below ``locations.corpora``, and is
    what the task's environment shows on evaluation seeds; it and the trajectories have the same recipe.

    Args:
        task: ``text/own``, ``captions/own`` or ``dialogue/own``.
        source: A file or a folder; a path or a URL. For ``text`` also ``hf:NAME``, see ``HuggingFaceSource``.
        locations: Where both are stored.
        format: ``text``, ``pairs`` or ``messages``, as the task has it.
        field: The field of JSON, or the column of Parquet, that holds the text, the caption or the messages; empty
            for the usual one.
        limit: Number of samples that are taken from the beginning; 0 takes all.
        most_bad: Share of the samples that may be bad; they are left out, counted and listed.
        replace: Whether what is stored of the task, from another source, may be replaced.
        num_processes: Processes that play the expert, random and the floor.
        track: Is given the episodes while they are stored, and yields them on.

    Raises:
        ValueError: If the format is of another task, the source has no files of it, too much is bad, or something else
            is stored and may not be replaced. The trajectories that were stored before stay.
        ModuleNotFoundError: If a package is not installed.
    """
    if (expected := FORMAT_OF.get(task.id)) != format:
        raise ValueError(f"format {format!r} for task {task.id!r}; expected {expected or FORMAT_OF}")
    is_hub = format == "text" and source.startswith(PREFIX)
    opened = (HuggingFaceSource if is_hub else _SOURCES[format])(source, **({"field": field} if field else {}))
    recipe = import_recipe(task, CODE_VERSION, {"format": format, "limit": limit, **opened.recipe()})
    store, corpora = TrajectoryStore(locations.trajectories), TrajectoryStore(locations.corpora)
    if (found := store.find(task.id, recipe)) and corpora.find(task.id, recipe):
        return Import(found, found=True)
    if not replace and found is None:
        refuse_to_replace(task, store)
    samples, schema = SortedSamples(opened, limit=limit, most_bad=most_bad), schema_of(task)

    def episodes(chosen: Iterator[Sample], first_seed: int) -> Iterator[Episode]:
        return (to_episode(task.id, first_seed + number, sample) for number, sample in enumerate(chosen))

    def facts() -> dict[str, Any]:
        return {ROUTE: {"source": source, "format": format, **samples.facts()}}

    def metadata() -> dict[str, Any]:
        with start_players(num_processes) as players:
            scores = measure_reference_scores(describe_own(task.id, locations.root), PROOF_EPISODES, players=players)
        return {"floor": task.floor, "reference_scores": scores, "expert_route": ROUTE, **facts()}

    held_out = track(episodes(samples.held_out(), EVALUATION_SEED))
    told = lambda: {"byte_counts": samples.byte_counts.tolist(), **facts()}  # noqa: E731
    corpora.write(task.id, schema, held_out, recipe=recipe, metadata=told)
    training = track(episodes(samples.training(), 0))
    return Import(store.write(task.id, schema, training, recipe=recipe, metadata=metadata), found=False)


def to_episode(task_id: str, seed: int, sample: Sample) -> Episode:
    """Return the episode in which everything is answered as the sample does."""
    num_turns = len(sample.answers)
    seen: dict[str, Any] = {} if sample.image is None else {"image": sample.image[None]}
    if sample.questions:
        seen["question"] = np.array(sample.questions, dtype=object)
    reward = 0.0 if FORMAT_OF[task_id] == "text" else 1.0 / num_turns
    return Episode(
        task=task_id,
        seed=seed,
        observations=seen,
        actions=np.array(sample.answers, dtype=object),
        rewards=np.full(num_turns, reward),
        terminated=True,
        truncated=False,
        provenance={"imported_from": sample.where},
    )
