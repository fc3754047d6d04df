# Dagster compares the annotation of `context` with its class, so annotations are not postponed in this file.
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

import dagster as dg

from assets.fan_out import make_tasks
from assets.materialization import OWNERS, find_or_make, report_one, table
from assets.partitions import ALL_AT_ONCE, partitions_of
from assets.resources import Experiment, Progress, Stores
from db1_model.layout import StepLayout
from db1_model.round_trip import RoundTrip
from db1_model.text import TextTokenizer
from db1_model.vocabulary import Vocabulary
from storage.folder import StoredFolder
from storage.manifest import Manifest, recipe_key
from storage.trajectories import StoredTrajectory
from tasks.corpora.own import sample_sentences
from tasks.filter import FilteredEpisodes
from tasks.registry import get_task, list_sentences

CODE_VERSION = "1"
_DIMENSIONS_SHOWN = 100


@dg.asset(
    description="Byte-level BPE for texts, learnt from sentences of the experiment's families.",
    group_name="tokens",
    kinds={"huggingface"},
    owners=OWNERS,
    code_version=CODE_VERSION,
)
def tokenizer(stores: Stores, experiment: Experiment) -> dg.MaterializeResult:
    """Train the text tokenizer."""
    folder, size = tokenizer_folder(stores, experiment), experiment.model.text_vocab_size
    sentences = sentences_of(stores, experiment)
    recipe = tokenizer_recipe(experiment, sentences)

    def fill(path: Path) -> dict[str, Any]:
        trained = TextTokenizer.train(sentences, size)
        trained.save(path)
        return {"num_tokens": trained.size, "num_sentences": len(sentences), "tokenizer_digest": trained.digest}

    made = find_or_make(lambda: folder.find(recipe), lambda: folder.write(fill, recipe=recipe))
    return report_one(made, made.manifest.metadata)


def define_tokens(family: str) -> dg.AssetsDefinition:
    """Define the asset that holds a family's episodes as tokens, a partition a task."""

    @dg.asset(
        key=["tokens", family],
        deps=[["trajectories", family], tokenizer],
        description=f"Expert episodes of {family} as tokens: texts, bins of numbers, separator, action; images beside.",
        group_name="tokens",
        kinds={"zarr", "numpy"},
        owners=OWNERS,
        code_version=CODE_VERSION,
        partitions_def=partitions_of(family),
        backfill_policy=ALL_AT_ONCE,
    )
    def tokens(
        context: dg.AssetExecutionContext, stores: Stores, experiment: Experiment, progress: Progress
    ) -> Iterator[dg.MaterializeResult]:
        tokenizer_folder(stores, experiment).read()  # where it is missing, it is missing once and not for every task
        yield from make_tasks(context, _plan, _describe, stores, experiment, progress)

    return tokens


def tokenizer_folder(stores: Stores, experiment: Experiment) -> StoredFolder:
    """Return the folder of an experiment's tokenizer."""
    return StoredFolder(stores.locations.tokenizer, "tokenizer", experiment.name)


def read_tokenizer(stores: Stores, experiment: Experiment) -> tuple[TextTokenizer, Vocabulary]:
    """Return an experiment's tokenizer, and its model's vocabulary.

    Raises:
        ManifestError: If the tokenizer is missing or damaged.
    """
    folder = tokenizer_folder(stores, experiment)
    text = _load_tokenizer(folder.root, folder.name, folder.read().digest)
    return text, Vocabulary.of(experiment.model, text.digest)


@lru_cache(maxsize=1)
def _load_tokenizer(root: str, name: str, digest: str) -> TextTokenizer:
    """Return a tokenizer, read once for many tasks; the digest tells it from another one at the same place."""
    files = StoredFolder(root, "tokenizer", name).open()
    files.verify()
    return TextTokenizer.load(files.folder)


def sentences_of(stores: Stores, experiment: Experiment) -> list[str]:
    """Return the sentences from which an experiment's tokenizer learns; texts and lessons take a while.

    Raises:
        ManifestError: If the experiment has a task of a user's own episodes, and they are missing or damaged.
    """
    tasks = [get_task(task_id) for task_id in experiment.task_ids]
    sentences = list_sentences(task.family for task in tasks if not task.is_own)
    own = (sample_sentences(stores.trajectories.read(task.id)) for task in tasks if task.is_own)
    return [*sentences, *chain.from_iterable(own)]


def tokenizer_recipe(experiment: Experiment, sentences: Sequence[str]) -> dict[str, Any]:
    """Return what determines an experiment's tokenizer."""
    learnt_from = {"num_sentences": len(sentences), "sentences": recipe_key({"sorted": sorted(sentences)})}
    return {"code_version": CODE_VERSION, "vocab_size": experiment.model.text_vocab_size, **learnt_from}


def tokens_recipe(trajectories: StoredTrajectory, vocabulary: Vocabulary, experiment: Experiment) -> dict[str, Any]:
    """Return what determines the tokens of a task's episodes."""
    share = experiment.minimum_return_share
    return {
        "code_version": CODE_VERSION,
        "trajectories": trajectories.manifest.digest,
        "layout": StepLayout.from_schema(trajectories.schema, vocabulary).to_json(),
        "vocabulary": vocabulary.to_json(),
        **({"minimum_return_share": share} if share else {}),
    }


def _plan(
    stores: Stores, experiment: Experiment, progress: Progress, task_id: str
) -> tuple[Callable[[], Manifest | None], Callable[[], Manifest]]:
    text, vocabulary = read_tokenizer(stores, experiment)
    stored = stores.trajectories.read(task_id)
    recipe = tokens_recipe(stored, vocabulary, experiment)

    def make() -> Manifest:
        episodes = FilteredEpisodes(stored, experiment.minimum_return_share)
        layout = StepLayout.from_schema(stored.schema, vocabulary)
        trip = RoundTrip(layout, text, vocabulary, edge=experiment.model.bin_edge)
        encoded = progress.track(task_id, map(trip.encode, episodes), total=len(episodes), unit="episodes")
        told = lambda: {"round_trip": trip.to_json(), **episodes.facts()}  # noqa: E731
        return stores.tokens.write(task_id, layout.to_json(), encoded, recipe=recipe, metadata=told)

    return lambda: stores.tokens.find(task_id, recipe), make


def _describe(manifest: Manifest) -> dict[str, Any]:
    numbers = {name: manifest.metadata[name] for name in ("num_episodes", "num_transitions", "num_tokens")}
    described = numbers | {"tokens_per_step": numbers["num_tokens"] / numbers["num_transitions"]}
    told = ("episodes_kept", "episodes_dropped", "minimum_return", "expert_return")
    described |= {name: manifest.metadata[name] for name in told if name in manifest.metadata}
    lost = manifest.metadata.get("round_trip")  # tokens that were made before it was measured have none
    if lost is None:
        return described
    described |= {"steps_with_cut_text": max(lost["cut_texts"].values(), default=0.0)}
    if not lost["keys"]:
        return described
    return described | {
        "largest_error": max(key["largest_error"] for key in lost["keys"]),
        "most_saturated": max(key["most_saturated"] for key in lost["keys"]),
        "keys": table(lost["keys"]),
        "dimensions": table(sorted(lost["dimensions"], key=lambda row: -row["saturated"])[:_DIMENSIONS_SHOWN]),
    }
