from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from pipelines.cli import app
from tasks.corpora.captions import RoomCaptions


@pytest.fixture(autouse=True)
def data(tiny_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB1_DATA", str(tiny_project))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = RoomCaptions(0, 1).draw(0)[0].image
    assert image is not None
    Image.fromarray(image).save(tmp_path / "room.png")
    return tmp_path / "room.png"


def run(*arguments: str, said: str = "") -> Result:
    return CliRunner().invoke(app, arguments, input=said, env={"COLUMNS": "200"})


def test_a_picture_gets_the_same_caption_again_and_drawn_ones_follow_the_seed(picture: Path) -> None:
    def draw(seed: int) -> str:
        arguments = ("--task", "captions/rooms-1", "--temperature", "2", "--seed", str(seed))
        return run("caption", str(picture), *arguments).output

    likeliest = [run("caption", str(picture), "--task", "captions/rooms-1") for _ in range(2)]

    assert likeliest[0].exit_code == 0
    assert likeliest[0].output == likeliest[1].output
    assert draw(1) == draw(1) != draw(2)


def test_a_picture_of_another_size_is_scaled_and_told(picture: Path, tmp_path: Path) -> None:
    Image.open(picture).convert("L").resize((131, 77)).save(tmp_path / "odd.jpg")

    result = run("caption", str(tmp_path / "odd.jpg"), "--task", "captions/rooms-1")

    assert result.exit_code == 0
    assert "odd.jpg: scaled from 77 x 131 to 48 x 48" in result.output


def test_a_talk_goes_on_a_line_a_turn_and_a_question_that_is_too_long_is_told() -> None:
    question = "Where is Wuhan?"

    talk = run("chat", "--temperature", "2", said=f"{question}\n{question}\n\n{question}\n")
    long = run("chat", said=f"{' '.join([question] * 9)}\n{question}\n")

    assert talk.exit_code == long.exit_code == 0
    assert len(talk.output.splitlines()) == 3
    assert "tokens; expected at most 17" in long.output.splitlines()[0]
    assert len(long.output.splitlines()) == 2


def test_a_text_is_continued_up_to_where_it_is_to_stop() -> None:
    def write(*options: str) -> str:
        return run("write", "go to", "--max-tokens", "30", "--temperature", "2", *options).output

    whole = write("--seed", "1")
    stop = whole[15:18]

    assert whole == write("--seed", "1") != write("--seed", "2")
    assert whole.startswith("go to")
    assert write("--seed", "1", "--stop", stop) == whole[: whole.index(stop, 5)] + "\n"


def test_a_prompt_longer_than_the_context_is_gone_on_from_and_told() -> None:
    result = run("write", "go to " * 300, "--max-tokens", "2")

    assert result.exit_code == 0
    assert "tokens; tiny sees 96 at once, and goes on from the last ones" in result.stderr


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"no picture", "not a picture that Pillow knows"),
        (b"", "not a picture that Pillow knows"),
        (None, "the picture is damaged"),
    ],
)
def test_what_is_no_picture_is_named(content: bytes | None, fault: str, picture: Path, tmp_path: Path) -> None:
    file = tmp_path / "broken.png"
    whole = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(whole)
    file.write_bytes(whole.read_bytes()[:4000] if content is None else content)

    error = run("caption", str(file), "--task", "captions/rooms-1").exception

    assert str(error).startswith(f"{file}: {fault}")


def test_a_task_without_words_or_a_model_that_is_not_there_is_refused(picture: Path) -> None:
    assert "not answered in words" in str(run("caption", str(picture), "--task", "control/CartPole").exception)
    assert "checkpoints that are there: tiny" in str(run("caption", str(picture), "--model", "none").exception)
    assert "was not trained on questions/rooms" in run("ask", str(picture), "how many keys are there?").output
