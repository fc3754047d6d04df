from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tasks.cells import escape, number, signed, table, words
from tasks.corpora.transcripts import NUM_REFERENCES, CaptionRow, Said
from tasks.language import DECODINGS, LanguageFacts, Reading, Sample, Transcript

_PICTURES = 8  # of each task, the first ones
_TALKS = 2  # of each task, the first ones


def language_sections(language: LanguageFacts) -> list[tuple[str, str, str]]:
    """Return what a model says as sections of the report's page: anchor, heading and content of each.

    Args:
        language: What there is; a section without content is empty.
    """
    described = [one for one in language.transcripts if one.captions]
    asked = [one for one in language.transcripts if one.shows and one.asks]
    talks = [one for one in language.transcripts if not one.shows]
    return [
        ("writing", "Writing", _reading(language.readings) + _samples(language.samples)),
        ("captions", "Captions", _captions(described, language.missing)),
        ("questions", "Questions", _accuracies(asked) + "".join(map(_gallery, asked))),
        ("dialogue", "Dialogue", _accuracies(talks) + "".join(map(_talks, talks))),
    ]


def _reading(readings: Sequence[Reading]) -> str:
    if not readings:
        return ""
    rows = [
        [
            words(one.task),
            _strong(one.bits_per_byte, ".3f"),
            _strong(one.perplexity, ",.1f"),
            words("; ".join(f"{name.replace('_', ' ')} {bits:.3f}" for name, bits in one.references.items())),
            number(one.num_documents, ",d"),
            number(one.num_bytes, ",d"),
            number(one.num_tokens, ",d"),
        ]
        for one in readings
    ]
    note = _note(
        "What the model needs for documents that it was not trained on, all of them together: bits over bytes, and two "
        "to the power of the bits of a token. Those of others are bits per byte, means over documents, as the task's "
        "score is. A perplexity can be compared with another only where the tokens are the same."
    )
    heads = ["documents", "bits per byte", "perplexity per token", "of others", "number", "bytes", "tokens"]
    return note + table(heads, rows)


def _samples(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    drawn = DECODINGS["drawn"]
    note = _note(
        "How the model goes on with texts that are always these; nothing is picked. On the left it takes the likeliest "
        f"token each time, on the right tokens are drawn (temperature {drawn['temperature']}, of the likeliest "
        f"{100 * drawn['top_p']:.0f} %, seed {drawn['seed']}), at most {drawn['max_tokens']} of them. Below stands "
        "which share of the runs of four words occurred before in the same continuation (seq-rep-4 of Welleck et al., "
        "2020)."
    )
    return f'{note}<div class="samples">{"".join(map(_sample, samples))}</div>'


def _sample(sample: Sample) -> str:
    prompt = f"<b>{escape(sample.prompt)}</b>" if sample.prompt else '<i class="muted">(nothing)</i> '
    text = escape(sample.text) or ' <i class="muted">(the end)</i>'
    repeated = "too short to repeat" if sample.repetition is None else f"{100 * sample.repetition:.0f} % repeated"
    return (
        f'<figure class="sample"><blockquote>{prompt}{text}</blockquote>'
        f"<figcaption>{escape(sample.decoding)} &middot; {repeated}</figcaption></figure>"
    )


def _captions(transcripts: Sequence[Transcript], missing: str) -> str:
    if not transcripts:
        return ""
    signatures = sorted({row.scores.bleu_signature for one in transcripts for row in one.captions} - {""})
    note = _note(
        "Pictures of evaluation, none of which was trained on. A caption is right when all is right that the task asks "
        "for: the colours, kinds and places of things, or the cities of a tour; beside a wrong one stands the share of "
        "the attributes that are right."
    )
    measures = _note(
        f"BLEU-4 (of 100) and CIDEr (CIDEr-D, of 10) compare a caption with {NUM_REFERENCES} other descriptions of the "
        "picture, one's own pictures with the caption that they came with. They see forms of sentences more than "
        "facts: for that the teacher's captions stand beside, and the teacher's given to another picture each."
        + (f" BLEU: sacrebleu {signatures[0]}." if signatures else "")
    )
    warning = f'<p class="missing">{escape(missing)}</p>' if missing else ""
    rows = [_caption_row(one, row) for one in transcripts for row in one.captions]
    heads = ["task", "captions of", "right, %", "attributes right, %", "BLEU-4", "CIDEr", "captions"]
    return note + measures + warning + table(heads, rows) + "".join(map(_gallery, transcripts))


def _caption_row(transcript: Transcript, row: CaptionRow) -> list[str]:
    shown = _strong if row is transcript.captions[0] else number
    return [
        words(transcript.task),
        words(row.name),
        shown(100 * row.right, ".1f"),
        number(None, "") if row.attributes is None else shown(100 * row.attributes, ".1f"),
        number(row.scores.bleu_4, ".1f"),
        number(row.scores.cider, ".2f"),
        number(len(transcript.said), ",d"),
    ]


def _accuracies(transcripts: Sequence[Transcript]) -> str:
    if not transcripts:
        return ""
    rows = [
        [
            words(one.task),
            words(kind),
            (_strong if kind == "all" else number)(100 * right / count, ".1f"),
            number(right, ",d"),
            number(count, ",d"),
        ]
        for one in transcripts
        for kind, (right, count) in one.accuracies.items()
    ]
    note = _note("Answers that are wholly right, whatever their case and full stop, by what is asked for.")
    return note + table(["task", "asked for", "right, %", "right", "questions"], rows)


def _gallery(transcript: Transcript) -> str:
    cards = "".join(_card(one) for one in transcript.said[:_PICTURES])
    return f'<h3>{escape(transcript.task)}: the first pictures</h3><div class="gallery">{cards}</div>'


def _card(said: Said) -> str:
    turn = said.turn
    picture = "" if turn.image is None else f'<img alt="{escape(turn.answer)}" src="{_embed(turn.image)}">'
    question = f'<p class="question">{escape(turn.question)}</p>' if turn.question else ""
    return f'<figure class="card">{picture}<figcaption>{question}{_answer(said)}</figcaption></figure>'


def _talks(transcript: Transcript) -> str:
    talks = "".join(f'<div class="talk">{"".join(map(_turn, lesson))}</div>' for lesson in transcript.lessons[:_TALKS])
    return f'<h3>{escape(transcript.task)}: the first lessons</h3><div class="talks">{talks}</div>'


def _turn(said: Said) -> str:
    return f'<p class="question">{escape(said.turn.question)}</p>{_answer(said)}'


def _answer(said: Said) -> str:
    kind, mark = ("right", "\N{CHECK MARK} right") if said.is_right else ("wrong", "\N{BALLOT X} wrong")
    share = said.share_of(said.answer)
    if not said.is_right and share is not None:
        mark += f", {100 * share:.0f} % right"
    elif 0 < said.score < 1:
        kind, mark = "partly", f"scored {100 * said.score:.0f} %"
    answer, expected = escape(said.answer) or "<i>(nothing)</i>", ""
    if said.answer != said.turn.answer:
        whose = "teacher" if said.is_right else "expected"
        expected = f'<p class="expected">{whose}: {escape(said.turn.answer)}</p>'
    return f'<p class="answer {kind}"><span>{answer}</span> <small>{mark}</small></p>{expected}'


def _embed(image: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _strong(value: float, form: str) -> str:
    return f'<td class="number strong" data-value="{value}">{signed(value, form)}</td>'
