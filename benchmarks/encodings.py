"""One position a number, or one position for all numbers of an observation: which makes the better nano model?

Trains both on the demo's shards (made by ``make demo``) for equal CPU seconds, on one core, then plays the tasks:

    OMP_NUM_THREADS=1 python -m benchmarks.encodings --seconds 240
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
import torch

from assets.resources import Experiment, Stores
from db1_model.batches import make_loader
from db1_model.config import ModelConfig, TrainingConfig
from db1_model.layout import StepLayout
from db1_model.policy import DB1Policy
from db1_model.precision import fast_float32
from db1_model.text import TextTokenizer
from db1_model.training import learning_rate_at
from db1_model.transformer import DB1
from db1_model.vocabulary import Vocabulary
from pipelines.experiments import get_experiment
from storage.folder import StoredFolder
from storage.shards import ShardIndex
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.scores import judge
from tasks.task import EVALUATION_SEED

_TRIAL_STEPS = 10


@dataclass(frozen=True)
class Encoding:
    """A choice, and the context that holds at least one step of every task."""

    name: str
    encoding: str
    context_length: int


ENCODINGS = (Encoding("one position for all", "embedded", 96), Encoding("one position a number", "tokens", 192))


def train(
    config: ModelConfig, training: TrainingConfig, index: ShardIndex, steps: int
) -> tuple[DB1, float, int, float]:
    """Return the model after some steps, the last tenth's mean loss, the trained actions, and the CPU seconds."""
    torch.manual_seed(training.seed)
    model, training = DB1(config), replace(training, steps=steps)
    optimizer = torch.optim.AdamW(model.parameters(), lr=training.learning_rate, betas=(0.9, 0.95), fused=True)
    losses, num_actions, begun_s = [], 0, time.process_time()
    with fast_float32():
        for step, batch in enumerate(make_loader(index, config, training)):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, training)
            loss = model.masked_loss(batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            num_actions += int(batch["loss_mask"].sum())
    return model, float(np.mean(losses[-max(1, steps // 10) :])), num_actions, time.process_time() - begun_s


def play(model: DB1, index: ShardIndex, stores: Stores, experiment: Experiment, num_episodes: int) -> dict[str, float]:
    """Return the expert-normalised score of every task."""
    vocabulary = Vocabulary.from_json(index.manifest.metadata["vocabulary"])
    folder = StoredFolder(stores.locations.tokenizer, "tokenizer", experiment.name).open().folder
    tokenizer, scores = TextTokenizer.load(folder), {}
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + num_episodes)
    for task in index:
        layout = StepLayout.from_json(index[task].layout)
        policy = DB1Policy(model, [layout] * num_episodes, vocabulary, tokenizer)
        returns = [one.total_return for one in roll_out(get_task(task), policy, seeds, num_slots=num_episodes)]
        facts = stores.trajectories.read(task).manifest.metadata
        verdict = judge(task, returns, facts["reference_scores"], facts["floor"])
        scores[task] = np.nan if verdict.normalised is None else verdict.normalised
    return scores


def main() -> None:
    """Train and play with each encoding, and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=240.0, help="CPU seconds of training for each encoding")
    parser.add_argument("--episodes", type=int, default=20, help="episodes a task")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    experiment, stores = get_experiment("demo"), Stores.from_environment()
    index = stores.shards.read(experiment.name)
    rows: dict[str, dict[str, float]] = {}
    for choice in ENCODINGS:
        config = replace(experiment.model, encoding=choice.encoding, context_length=choice.context_length)
        training = replace(experiment.training_config, batch_windows=32 * 96 // choice.context_length)
        *_, trial_s = train(config, training, index, _TRIAL_STEPS)
        steps = max(1, int(arguments.seconds * _TRIAL_STEPS / trial_s))
        model, loss, num_actions, seconds = train(config, training, index, steps)
        scores = play(model, index, stores, experiment, arguments.episodes)
        rows[choice.name] = {
            "CPU seconds": seconds,
            "steps": steps,
            "thousand actions a CPU second": num_actions / seconds / 1000,
            "loss, nats an action token": loss,
            "tasks at half of the expert": sum(score >= 0.5 for score in scores.values()),
            **scores,
        }
    first, second = rows.values()
    print(f"{'':34}{''.join(f'{name:>24}' for name in rows)}")
    for name in first:
        print(f"{name:34}{first[name]:24.2f}{second[name]:24.2f}")


if __name__ == "__main__":
    main()
