from __future__ import annotations

from dataclasses import replace

from assets.resources import Experiment, Stores
from db1_model.config import TrainingConfig
from db1_model.presets import get_preset
from db1_model.train import training_recipe
from db1_model.vocabulary import Vocabulary
from storage.champions import ChampionStore
from storage.folder import StoredFolder
from storage.manifest import Manifest, recipe_key
from storage.shards import ShardIndex

_CHAMPION = "champion"


def choose_start(stores: Stores, experiment: Experiment, index: ShardIndex) -> TrainingConfig:
    """Return the training's choices, with the digest of the champion where it is to begin from ``champion``.

    Without a champion it begins from scratch. A champion that was itself trained by these choices on these shards is
    not trained on: it keeps the start that it had, so that its checkpoint is found and nothing is done twice.

    Raises:
        ValueError: If the champion has another vocabulary or other sizes than the model that is trained.
        ManifestError: If the champion is missing or damaged.
    """
    training, store = experiment.training_config, ChampionStore(stores.locations.champions)
    if training.warm_start != _CHAMPION:
        return training
    if not (serving := store.read(experiment.name).serving):
        return replace(training, warm_start="")
    trained = StoredFolder(stores.locations.checkpoints, "checkpoint", experiment.name)
    if trained.exists and (manifest := trained.read_manifest()).digest == serving:
        same = replace(training, warm_start=manifest.recipe["training"].get("warm_start", ""))
        if manifest.key == recipe_key(training_recipe(same, index)):
            return same
    if fault := _why_not(store.kept(experiment.name, serving).read_manifest(), training, index):
        raise ValueError(
            f"experiment {experiment.name!r} cannot start from its champion {serving[:12]}: {fault}; train from "
            "scratch, without warm_start in the training of pipelines/experiments.py"
        )
    return replace(training, warm_start=serving)


def locate_start(stores: Stores, experiment: Experiment, training: TrainingConfig) -> dict[str, str]:
    """Return what the training process needs to open the model that it begins from; nothing when it has none."""
    if not training.warm_start:
        return {}
    folder = ChampionStore(stores.locations.champions).kept(experiment.name, training.warm_start)
    return {"root": folder.root, "kind": folder.kind, "name": folder.name}


def _why_not(champion: Manifest, training: TrainingConfig, index: ShardIndex) -> str | None:
    sizes = get_preset(training.preset).to_json()
    if others := [name for name, value in sizes.items() if champion.recipe.get("model", {}).get(name) != value]:
        return f"its {others[0]} is {champion.recipe.get('model', {}).get(others[0])}, expected {sizes[others[0]]}"
    vocabulary = Vocabulary.from_json(index.manifest.metadata["vocabulary"]).digest
    if (found := champion.metadata["vocabulary_digest"]) != vocabulary:
        return f"its vocabulary is {found[:12]}, that of the shards {vocabulary[:12]}"
    return None
