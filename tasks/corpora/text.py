from __future__ import annotations

from functools import partial

import gymnasium

from tasks.corpora.own import describe_own
from tasks.task import Expert, Task

NUM_EPISODES = 800
"""Training documents, each once; fewer repeat, more are left out."""


def list_tasks() -> list[Task]:
    """Return the tasks that are read: documents, whose score is minus the bits per byte that a reader needs."""
    return [
        Task(
            id="text/documentation",
            make_environment=_make_environment,
            make_expert=partial(_make_expert, "author"),
            expert_route="script",
            num_episodes=NUM_EPISODES,
            description="Predict English prose: documentation of Python and of packages; minus the bits per byte.",
            licence="PSF-2.0 AND BSD-3-Clause AND MIT AND Apache-2.0",
            code_version="2",
            baselines={"unigram": partial(_make_expert, "unigram")},
            floor="unigram",
        ),
        describe_own("text/own"),
    ]


def list_sentences() -> list[str]:
    """Return paragraphs from which a tokenizer learns its words."""
    from tasks.corpora.prose import documents

    return [paragraph for document in documents()[0][::4] for paragraph in document.text.split("\n\n")]


def _make_environment() -> gymnasium.Env:
    from tasks.corpora.reading import ReadingEnvironment

    return ReadingEnvironment()


def _make_expert(name: str) -> Expert:
    from tasks.corpora.reading import Author, Unigram

    return Author() if name == "author" else Unigram()
