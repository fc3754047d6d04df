"""What Dagster knows while ``benchmarks.retraining`` runs: everything, and the job of a small experiment."""

from __future__ import annotations

from assets.resources import Experiment, Progress
from pipelines import experiments
from pipelines.definitions import define
from pipelines.jobs import define_job

TASKS = ("control/CartPole", "control/MountainCar", "control/Acrobot")
SMALL = Experiment(
    name="small_loop",
    tasks=",".join(TASKS),
    num_episodes=20,
    num_evaluation_episodes=20,
    training={"steps": 400, "batch_windows": 16, "learning_rate": 2e-3, "warmup_steps": 20, "checkpoint_every": 200},
)

experiments.EXPERIMENTS = {**experiments.EXPERIMENTS, SMALL.name: SMALL}
defs = define(Progress(), [define_job(SMALL.name, "The whole loop on three tasks of control.")])
