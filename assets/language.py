from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from assets.evaluation import load_model, read_evaluation
from assets.resources import Experiment, Progress, Stores
from tasks.corpora.judging import measuring_packages
from tasks.corpora.transcripts import find_course, transcribe
from tasks.language import DECODINGS, PROMPTS, LanguageFacts, Reading, Sample, Transcript
from tasks.registry import get_task

if TYPE_CHECKING:
    from db1_model.text import TextTokenizer
    from db1_model.transformer import DB1  # imports torch

CODE_VERSION = "1"
_NUM_SAMPLES = len(PROMPTS) * len(DECODINGS)


def language_recipe(spoken: Sequence[str]) -> dict[str, Any]:
    """Return what a report of tasks of language is made from besides their evaluation; empty where there are none.

    Args:
        spoken: Ids of the tasks whose action is text.
    """
    told = {"code_version": CODE_VERSION, "prompts": PROMPTS, "decodings": DECODINGS, "packages": measuring_packages()}
    return {"language": told} if spoken else {}


def read_language(
    stores: Stores, experiment: Experiment, progress: Progress, spoken: Sequence[str]
) -> LanguageFacts | None:
    """Let an experiment's checkpoint write, and gather what it answered and how it read; None without such tasks.

    Args:
        stores: Where the evaluation lies.
        experiment: Whose checkpoint it is.
        progress: Is told how far the writing is.
        spoken: Ids of the tasks whose action is text.
    """
    if not spoken:
        return None
    checkpoint, text = load_model(stores, experiment)
    documents = [task_id for task_id in spoken if read_evaluation(stores, task_id).schema.action.is_document]
    samples = progress.track("writing", _write(checkpoint.model, text), total=_NUM_SAMPLES, unit="samples")
    return LanguageFacts(
        samples=list(samples) if documents else (),
        readings=[_read(stores, task_id, text) for task_id in documents],
        transcripts=[one for task_id in spoken if (one := _transcribe(stores, task_id))],
    )


def _write(model: DB1, text: TextTokenizer) -> Iterator[Sample]:
    from db1_model.generation import stream_text  # imports torch

    for prompt in PROMPTS:
        for decoding, choices in DECODINGS.items():
            yield Sample(prompt, decoding, "".join(stream_text(model, text, prompt, **choices)))


def _read(stores: Stores, task_id: str, text: TextTokenizer) -> Reading:
    stored = read_evaluation(stores, task_id)
    documents = [str(episode.actions[0]) for episode in stored]
    sizes = [len(document.encode()) for document in documents]
    references = stored.manifest.metadata["reference_scores"]
    return Reading(
        task=task_id,
        num_documents=len(documents),
        num_bytes=sum(sizes),
        num_tokens=sum(len(text.encode(document)) + 1 for document in documents),  # and the end
        bits=-sum(size * score for size, score in zip(sizes, stored.manifest.metadata["returns"], strict=True)),
        references={name: -score["mean"] for name, score in references.items() if name not in ("random", "expert")},
    )


def _transcribe(stores: Stores, task_id: str) -> Transcript | None:
    if (course := find_course(get_task(task_id))) is None:
        return None
    return Transcript(task_id, [transcribe(course, episode) for episode in read_evaluation(stores, task_id)])
