from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from storage.locations import Locations
from storage.trajectories import TrajectoryStore
from tasks.corpora.overlap import words_in_common
from tasks.corpora.own import FORMAT_OF, describe_own
from tasks.exchange import language
from tasks.exchange.foreign import ForeignDataError
from tasks.exchange.hugging_face import HuggingFaceSource
from tasks.exchange.importing import ImportedEpisodesError, find_imported
from tasks.exchange.language import import_language
from tasks.exchange.messages import MessageSource
from tasks.exchange.pairs import PairSource
from tasks.exchange.samples import BadSample, Sample
from tasks.exchange.texts import TextSource
from tasks.policies import ExpertPolicy
from tasks.registry import SELECTIONS, get_task, select_tasks, tasks_of
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED

TEXT = get_task("text/own")


@pytest.fixture
def locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Locations:
    """Where things are stored; nobody plays, which would take a process of its own at each import."""
    score = {"mean": 0.0, "returns": [0.0] * 20, "seeds": list(range(20)), "lengths": [1] * 20}
    monkeypatch.setattr(language, "measure_reference_scores", lambda *_, **__: {"random": score, "expert": score})
    monkeypatch.setenv("DB1_DATA", str(tmp_path / "data"))
    return Locations(str(tmp_path / "data"))


def write_lines(path: Path, records: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
    return path


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def documents(count: int, first: int = 0) -> list[dict[str, str]]:
    return [
        {"text": f"document {number}: the number {number} has a square of {number**2}"}
        for number in range(first, count)
    ]


def draw_picture(height: int, width: int, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def test_documents_come_from_every_kind_of_file_in_the_order_of_their_names(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    write_lines(tmp_path / "b" / "lines.jsonl", [{"text": "two"}, "", {"text": "three"}])
    (tmp_path / "a.txt").write_bytes("\N{BYTE ORDER MARK}öne\r\n".encode())
    (tmp_path / ".hidden.txt").write_text("no")
    (tmp_path / "picture.png").write_text("no")
    pq.write_table(pa.table({"text": ["four", "five"], "more": [1, 2]}), tmp_path / "c.parquet")
    write_tar(tmp_path / "d.tar", {"0.txt": b"six", "0.json": b"{}", "1.cls": b"1", "2.json": b'{"text": "seven"}'})

    read = [sample for sample in TextSource(str(tmp_path)) if isinstance(sample, Sample)]

    assert [sample.answers[0] for sample in read] == ["öne\r\n", "two", "three", "four", "five", "six", "seven"]
    assert [sample.where for sample in read[1:4]] == [
        "b/lines.jsonl, line 1",
        "b/lines.jsonl, line 3",
        "c.parquet, row 1",
    ]
    assert [one.answers for one in TextSource(str(tmp_path / "a.txt")) if isinstance(one, Sample)] == [("öne\r\n",)]
    with pytest.raises(ForeignDataError, match=r"the columns \['text', 'more'\].*--field"):
        list(TextSource(str(tmp_path / "c.parquet"), "body"))
    with pytest.raises(ForeignDataError, match=r"found no such file; expected .*\.jsonl"):
        TextSource(str(tmp_path / "nothing"))


def test_files_are_read_from_an_object_store_too(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://own/a.jsonl", "w") as file:
        file.write('{"text": "from afar"}\n')

    source = TextSource("memory://own")

    assert [(one.where, one.answers) for one in source if isinstance(one, Sample)] == [
        ("a.jsonl, line 1", ("from afar",))
    ]
    assert source.recipe() == TextSource("memory://own").recipe()


def test_a_hugging_face_data_set_is_read_by_row(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"body": ["one", "", "two"], "more": [1, 2, 3]})
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "set"))

    source = HuggingFaceSource(f"hf:{tmp_path / 'set'}", "body")

    read = list(source)
    assert [one.answers for one in read if isinstance(one, Sample)] == [("one",), ("two",)]
    assert [one.where for one in read if isinstance(one, BadSample)] == [f"{tmp_path / 'set'}, row 2"]
    assert source.recipe() == HuggingFaceSource(f"hf:{tmp_path / 'set'}", "body").recipe()
    with pytest.raises(ForeignDataError, match=r"the columns \['body', 'more'\].*--field"):
        HuggingFaceSource(f"hf:{tmp_path / 'set'}")


def test_a_hugging_face_data_set_without_the_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(ModuleNotFoundError, match=r"the extra 'huggingface' brings it:\n  pip install"):
        HuggingFaceSource("hf:somebody/something")


def test_what_is_bad_is_named_with_its_place_and_the_rest_is_read(tmp_path: Path) -> None:
    lines = ["{", '{"text": 3}', '{"body": "x"}', '"text"', '{"text": " "}', '{"text": "\\ud800"}', '{"text": "good"}']
    write_lines(tmp_path / "a.jsonl", lines)
    (tmp_path / "b.txt").write_bytes(b"abc\xff")
    whole = write_tar(tmp_path / "c.tar", {"0.txt": b"good", "1.txt": b"x" * 2000}).read_bytes()
    (tmp_path / "c.tar").write_bytes(whole[:2000])
    (tmp_path / "d.tar").write_bytes(whole[:1024] + b"no header of a member" + whole[1045:])
    (tmp_path / "e.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "f.jsonl.gz").write_bytes(b"\x1f\x8b nothing")

    read = list(TextSource(str(tmp_path)))

    faults = {one.where: one.fault for one in read if isinstance(one, BadSample)}
    assert [one.answers[0] for one in read if isinstance(one, Sample)] == ["good"] * 3
    assert [*faults] == [
        *(f"a.jsonl, line {line}" for line in range(1, 7)),
        *["b.txt", "c.tar", "d.tar", "e.parquet", "f.jsonl.gz"],
    ]
    assert [faults[f"a.jsonl, line {line}"].split(";")[0][:24] for line in range(1, 7)] == [
        "no JSON (Expecting prope",
        "the text is int",
        "the fields ['body']",
        "a JSON str",
        "the text is empty",
        "the text has half a char",
    ]
    assert faults["b.txt"] == "byte 0xff at 3; expected UTF-8 text"
    assert all(faults[name].startswith("damaged (") for name in ("c.tar", "d.tar", "e.parquet", "f.jsonl.gz"))


def test_pictures_are_scaled_and_have_the_caption_of_the_same_name(tmp_path: Path) -> None:
    members = {
        "0.jpg": draw_picture(40, 30, "JPEG"),
        "0.txt": b" a wall ",
        "0.json": b'{"caption": "other"}',
        "1.webp": draw_picture(90, 64, "WEBP"),
        "1.json": b'{"caption": "a door"}',
        "2.png": draw_picture(64, 64)[:200],
        "2.txt": b"cut short",
        "3.txt": b"no picture",
        "4.json": b"{}",
    }
    write_tar(tmp_path / "00000.tar", members)
    for name in ("2.png", "3.txt", "4.json"):
        del members[name]
    members["2.png"] = draw_picture(128, 128)
    for name, content in members.items():
        (tmp_path / "files").mkdir(exist_ok=True)
        (tmp_path / "files" / name).write_bytes(content)

    read = list(PairSource(str(tmp_path), shape=(64, 64, 3)))

    good = [one for one in read if isinstance(one, Sample)]
    assert [(one.where, one.answers[0]) for one in good] == [
        ("00000.tar, 0", "a wall"),
        ("00000.tar, 1", "a door"),
        ("files/0", "a wall"),
        ("files/1", "a door"),
        ("files/2", "cut short"),
    ]
    assert all(one.image is not None and one.image.shape == (64, 64, 3) for one in good)
    pixels = np.asarray(Image.open(io.BytesIO(members["2.png"])), np.float64).reshape(64, 2, 64, 2, 3)
    assert np.abs(good[-1].image - pixels.mean(axis=(1, 3))).max() <= 1.0
    assert [(one.where, one.fault[:22]) for one in read if isinstance(one, BadSample)] == [
        ("00000.tar, 2", "the picture: the pictu"),
        ("00000.tar, 3", "the members txt; expec"),
    ]


def test_a_talk_is_questions_and_answers_and_other_roles_are_refused(tmp_path: Path) -> None:
    def talk(*said: tuple[str, Any]) -> dict[str, Any]:
        return {"messages": [{"role": role, "content": content} for role, content in said]}

    whole = talk(
        ("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "See you")
    )
    bad = [
        talk(("user", "a"), ("user", "b")),
        talk(("assistant", "a")),
        talk(("tool", "a")),
        talk(("user", "a")),
        talk(("user", "a"), ("assistant", "")),
        {"messages": "a"},
        talk(("user", "a"), ("system", "b")),
    ]
    write_lines(tmp_path / "talks.jsonl", [whole, *bad, talk(("user", "a"), ("assistant", "b"), ("user", "c"))])

    read = list(MessageSource(str(tmp_path)))

    assert [(one.questions, one.answers) for one in read if isinstance(one, Sample)] == [
        (("Be kind.\n\nHi", "Bye"), ("Hello", "See you")),
        (("a",), ("b",)),
    ]
    assert [one.fault.split(";")[0] for one in read if isinstance(one, BadSample)] == [
        "message 1 is of 'user' after 'user'",
        "message 0 is of 'assistant' after 'nothing'",
        "message 0 has the role 'tool'",
        "1 messages without an answer",
        "message 1 is empty",
        "the messages are str",
        "message 1 is of 'system' after 'user'",
    ]


def test_each_document_is_trained_on_or_held_out_and_duplicates_are_neither(
    locations: Locations, tmp_path: Path
) -> None:
    source = write_lines(tmp_path / "own" / "a.jsonl", [*documents(300), "{", *documents(20)])

    made = import_language(TEXT, str(source), locations, format="text")

    facts = made.manifest.metadata["imported"]
    training, held_out = (TrajectoryStore(root).read(TEXT.id) for root in (locations.trajectories, locations.corpora))
    texts = {str(one.actions[0]) for one in training}, {str(one.actions[0]) for one in held_out}
    assert (facts["samples"], facts["duplicates"], facts["bad"]) == (321, 20, 1)
    assert facts["first_bad"][0]["where"] == "a.jsonl, line 301"
    assert (len(texts[0]), len(texts[1])) == (facts["training"], facts["held_out"])
    assert texts[0] | texts[1] == {one["text"] for one in documents(300)}
    assert 0.02 < len(held_out) / 300 < 0.09
    said = "".join(sorted(texts[0])).encode()
    assert (
        held_out.manifest.metadata["byte_counts"] == np.bincount(np.frombuffer(said, np.uint8), minlength=256).tolist()
    )
    assert [one.seed for one in training] == list(range(len(training)))
    assert import_language(TEXT, str(source), locations, format="text").found
    assert find_imported(TEXT, TrajectoryStore(locations.trajectories)) == made.manifest

    moved = write_lines(tmp_path / "moved.jsonl", documents(300)[::-1])
    with pytest.raises(ValueError, match="add --replace"):
        import_language(TEXT, str(moved), locations, format="text")
    import_language(TEXT, str(moved), locations, format="text", replace=True)
    assert {str(one.actions[0]) for one in TrajectoryStore(locations.corpora).read(TEXT.id)} == texts[1]


def test_evaluation_reads_what_is_held_out_and_the_floor_knows_the_bytes_of_the_rest(
    locations: Locations, tmp_path: Path
) -> None:
    with pytest.raises(ImportedEpisodesError, match=r"has none yet.*\n  db1 import FOLDER --as text/own --format text"):
        find_imported(TEXT, TrajectoryStore(locations.trajectories))
    source = write_lines(tmp_path / "a.jsonl", documents(300))
    import_language(TEXT, str(source), locations, format="text")
    held_out = TrajectoryStore(locations.corpora).read(TEXT.id)
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + len(held_out) + 1)

    def play(name: str) -> list[Any]:
        expert = TEXT.make_expert if name == "expert" else TEXT.baselines[name]
        return list(roll_out(TEXT, ExpertPolicy(expert), seeds, num_slots=1))

    shown = [str(one.actions[0]) for one in play("expert")]
    assert shown == [*(str(one.actions[0]) for one in held_out), str(held_out[0].actions[0])]
    assert [one.total_return for one in play("expert")] == [0.0] * len(seeds)
    counts = 1 + np.array(held_out.manifest.metadata["byte_counts"])
    bits = -np.log2(counts / counts.sum())[np.frombuffer(shown[0].encode(), np.uint8)].mean()
    assert play("unigram")[0].total_return == pytest.approx(-bits)
    with pytest.raises(ValueError, match="seed 0 has none"):
        describe_own(TEXT.id).make_environment().reset(seed=0)

    other = write_lines(tmp_path / "b.jsonl", documents(200))
    import_language(TEXT, str(other), Locations(str(tmp_path / "other")), format="text")
    (tmp_path / "data" / "corpora").rename(tmp_path / "before")
    (tmp_path / "other" / "corpora").rename(tmp_path / "data" / "corpora")
    with pytest.raises(ValueError, match="of another import than the trajectories"):
        play("expert")
    with pytest.raises(ImportedEpisodesError, match="held-out samples are missing or of another import"):
        find_imported(TEXT, TrajectoryStore(locations.trajectories))


def test_too_much_that_is_bad_stores_nothing(locations: Locations, tmp_path: Path) -> None:
    source = write_lines(tmp_path / "a.jsonl", [*documents(100), "{", "[]", "3"])

    with pytest.raises(ValueError, match=r"(?s)3 of 103 samples are bad.*a.jsonl, line 101: .*--most-bad"):
        import_language(TEXT, str(source), locations, format="text")
    with pytest.raises(ValueError, match=r"are held out.*bring at least 100"):
        import_language(TEXT, str(source), locations, format="text", limit=5)
    with pytest.raises(ValueError, match="format 'pairs' for task 'text/own'; expected text"):
        import_language(TEXT, str(source), locations, format="pairs")
    assert TrajectoryStore(locations.trajectories).tasks() == TrajectoryStore(locations.corpora).tasks() == []
    assert (
        import_language(TEXT, str(source), locations, format="text", most_bad=0.05).manifest.metadata["imported"]["bad"]
        == 3
    )


@pytest.mark.parametrize("task_id", ["captions/own", "dialogue/own"])
def test_lessons_are_judged_by_the_words_in_common(task_id: str, locations: Locations, tmp_path: Path) -> None:
    task = get_task(task_id)
    if FORMAT_OF[task_id] == "pairs":
        parts = {f"{n}.png": draw_picture(1 + n, 9) for n in range(200)}
        parts |= {f"{n}.txt": f"number {n}".encode() for n in range(200)}
        write_tar(tmp_path / "a.tar", dict(sorted(parts.items())))
    else:
        turns = [
            [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"number {n}"}] for n in range(9)
        ]
        talks = [{"messages": first + second} for first in turns for second in turns]
        write_lines(tmp_path / "a.jsonl", talks)

    import_language(task, str(tmp_path), locations, format=FORMAT_OF[task_id])

    seeds = range(EVALUATION_SEED, EVALUATION_SEED + 4)
    experts = list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))
    floors = list(roll_out(task, ExpertPolicy(task.baselines["shuffled"]), seeds, num_slots=1))
    stored = TrajectoryStore(locations.corpora).read(task_id)
    assert [one.total_return for one in experts] == pytest.approx([1.0] * 4)
    assert [one.total_return for one in floors] == pytest.approx([0.5] * 4, abs=0.3)
    for played, kept in zip(experts, stored, strict=False):
        assert played.actions.tolist() == kept.actions.tolist()
        assert all(np.array_equal(played.observations[key], values) for key, values in kept.observations.items())
    assert all(one.total_return == pytest.approx(1.0) for one in TrajectoryStore(locations.trajectories).read(task_id))


@pytest.mark.parametrize(
    ("expected", "answer", "share"),
    [
        ("A red door.", "a RED door", 1.0),
        ("a red door", "a red box", 2 / 3),
        ("a a b", "a b b", 2 / 3),
        ("红色的门", "红门", 2 / 3),
        ("a red door", "", 0.0),
        (":-)", " :-)", 1.0),
        (":-)", "a", 0.0),
    ],
)
def test_words_in_common_count_as_often_as_they_occur(expected: str, answer: str, share: float) -> None:
    assert words_in_common(expected, answer) == pytest.approx(share)


def test_own_tasks_are_only_chosen_by_their_id() -> None:
    for task_id in FORMAT_OF:
        assert task_id in [task.id for task in tasks_of(task_id.split("/")[0])]
        assert task_id not in SELECTIONS["full"]
        assert task_id not in select_tasks("text,captions,dialogue")
        assert select_tasks(task_id) == (task_id,)
