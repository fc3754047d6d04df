from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from db1_model.text import TextTokenizer
from storage.trajectories import TrajectoryStore
from tasks.corpora import prose
from tasks.corpora.boards import BoardQuestions, is_held_out, render_board
from tasks.corpora.captions import RoomCaptions
from tasks.corpora.dialogue import CityLessons, city_facts
from tasks.corpora.lesson import Course
from tasks.corpora.maps import MapCaptions, render_map
from tasks.corpora.questions import RoomQuestions
from tasks.corpora.rooms import COLOURS, SIDE, TILE, Thing, render_room
from tasks.corpora.sentences import Description, read_sentence, share_right
from tasks.corpora.trips import TripTalks, find_trip
from tasks.policies import ExpertPolicy, RandomPolicy
from tasks.registry import get_task, list_sentences, tasks_of
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED, schema_of

TASKS = [task.id for family in ("captions", "questions", "dialogue") for task in tasks_of(family) if not task.is_own]
BALL, DOOR = Thing("red", "ball", 0, 2), Thing("blue", "closed door", 2, 1)


@pytest.mark.parametrize("task_id", TASKS)
def test_the_teacher_is_right_and_answers_of_another_lesson_or_at_random_are_seldom(task_id: str) -> None:
    task, seeds = get_task(task_id), [*range(20), *range(EVALUATION_SEED, EVALUATION_SEED + 20)]

    def mean(policy: ExpertPolicy | RandomPolicy) -> float:
        return float(np.mean([episode.total_return for episode in roll_out(task, policy, seeds, num_slots=3)]))

    assert mean(ExpertPolicy(task.make_expert)) == pytest.approx(1.0)
    assert mean(ExpertPolicy(task.baselines["shuffled"])) < 0.3
    assert mean(RandomPolicy()) == 0.0


@pytest.mark.parametrize("task_id", TASKS)
def test_questions_and_answers_have_room_for_their_tokens(task_id: str) -> None:
    task = get_task(task_id)
    tokenizer = TextTokenizer.train(list_sentences(["babyai", task.family]), 1024)
    episodes = list(
        roll_out(task, ExpertPolicy(task.make_expert), [*range(50), *range(10**6, 10**6 + 50)], num_slots=1)
    )

    answers = {len(tokenizer.encode(answer)) for episode in episodes for answer in episode.actions}
    questions = {len(tokenizer.encode(text)) for one in episodes for text in one.observations.get("question", ())}
    assert max(answers) < task.answer_tokens  # with room for the end
    assert max(questions, default=0) <= task.text_tokens


@pytest.mark.parametrize("task_id", TASKS)
def test_lessons_are_stored_with_their_answers_and_come_back(task_id: str, tmp_path: Path) -> None:
    task, store = get_task(task_id), TrajectoryStore(str(tmp_path))
    episodes = list(roll_out(task, ExpertPolicy(task.make_expert), [3, 4], num_slots=1))

    store.write(task.id, schema_of(task), episodes, recipe={}, metadata={})

    for episode, back in zip(episodes, store.read(task.id), strict=True):
        assert back.actions.tolist() == episode.actions.tolist() == episode.provenance["summary"]["expected"]
        assert back.observations.keys() == episode.observations.keys()
        for key, values in episode.observations.items():
            assert np.array_equal(back.observations[key], values)
    store.read(task.id).check()


@pytest.mark.parametrize(
    ("sentence", "share"),
    [
        ("a red ball left of a closed blue door", 1.0),
        ("to the right of a red ball there is a closed blue door", 1.0),
        ("a closed blue door is higher than a red ball", 1.0),
        ("a red ball right of a closed blue door", 0.8),
        ("a red ball left of a blue door", 0.8),
        ("a red box left of an open green door", 0.4),
        ("a red ball at the bottom left and a closed blue door at the right", 1.0),
        ("a closed blue door at the right is to the right of a red ball at the bottom left", 1.0),
        ("a closed blue door at the right is to the left of a red ball at the bottom left", 6 / 7),
        ("a red ball at the left and a closed blue door at the right", 5 / 6),
        ("a red ball and a closed blue door", 4 / 6),
        ("a red ball", 2 / 6),
        ("a red ball left of a closed blue door and a grey key", 4 / 9),
        ("", 0.0),
    ],
)
def test_a_caption_is_right_as_far_as_its_attributes_are(sentence: str, share: float) -> None:
    assert share_right((BALL, DOOR), sentence) == pytest.approx(share)


@pytest.mark.parametrize(
    ("sentence", "share"),
    [
        ("a red ball at the bottom left", 1.0),
        ("a red ball at the top left", 2 / 3),
        ("a red ball", 2 / 3),
        ("a red ball at the bottom left of a blue box", 1 / 2),
    ],
)
def test_a_caption_of_one_thing_says_its_place_too(sentence: str, share: float) -> None:
    assert share_right((BALL,), sentence) == pytest.approx(share)


def test_a_sentence_in_any_form_says_what_is_where() -> None:
    things = ("red", "ball", ""), ("blue", "closed door", "")

    assert read_sentence("a red ball can be seen to the left of a closed blue door") == Description(things, "left")
    assert read_sentence("south of a red ball you see a closed blue door") == Description(things, "above")
    assert read_sentence("a ball left of a door") == Description(())
    assert read_sentence("a red ball at the top left and a closed blue door in the middle") == Description(
        (("red", "ball", "at the top left"), ("blue", "closed door", "in the middle"))
    )


def test_each_cell_is_a_patch_and_things_are_drawn_in_their_cells() -> None:
    image, empty = render_room((BALL, DOOR)), render_room(())

    differs = (image != empty).any(axis=2).reshape(SIDE, TILE, SIDE, TILE).any(axis=(1, 3))
    assert {(column, row) for row, column in np.argwhere(differs).tolist()} == {(0, 2), (2, 1)}
    assert tuple(image[2 * TILE + TILE // 2, TILE // 2]) == COLOURS["red"]


@pytest.mark.parametrize("course", [RoomCaptions(0, 1), RoomCaptions(1, 2), RoomQuestions(2)])
def test_combinations_of_evaluation_are_in_no_training_room_but_every_two_of_their_attributes_are(
    course: Course,
) -> None:
    def attributes(thing: Thing) -> tuple[str, str, str]:
        return thing.colour, thing.kind, thing.place

    trained = {attributes(one) for seed in range(1000) for turn in course.draw(seed) for one in turn.facts}
    asked = {
        attributes(turn.facts[0])
        for seed in range(EVALUATION_SEED, EVALUATION_SEED + 200)
        for turn in course.draw(seed)
    }

    assert not trained & asked
    assert len(asked) == pytest.approx(11 * 6 * 9 / 5, abs=3)
    assert len(trained) == 11 * 6 * 9 - len(asked)
    for left_out in range(3):
        assert {one[:left_out] + one[left_out + 1 :] for one in asked} <= {
            one[:left_out] + one[left_out + 1 :] for one in trained
        }


def test_what_is_said_of_a_board_is_true_and_no_training_board_is_like_those_of_evaluation() -> None:
    course = BoardQuestions(5)
    turns = [
        turn for seed in [*range(100), *range(EVALUATION_SEED, EVALUATION_SEED + 100)] for turn in course.draw(seed)
    ]
    cells = np.array([[5, 3, 0], [4, 2, 4], [1, 1, 3]])

    assert [is_held_out(turn.facts) for turn in turns] == [False] * 1000 + [True] * 1000
    counted = {turn.answer for turn in turns if "boxes stand on goals" in turn.question}
    assert counted == {"none", "one", "two", "three", "four"}
    for turn in turns:
        if "boxes stand on goals" in turn.question:
            assert ["none", "one", "two", "three", "four"].index(turn.answer) == np.sum(turn.facts == 4)
        if "left of the player" in turn.question and turn.answer == "a goal":
            (row,), (column,) = np.nonzero(turn.facts >= 5)
            assert turn.facts[row, column - 1] == 2
    image = render_board(cells)
    patches = {
        image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16].tobytes() for row, column in np.ndindex(3, 3)
    }
    assert image.shape == (48, 48, 3)
    assert len(patches) == len(set(cells.flat))


def test_a_map_shows_its_tour_whose_cities_are_named_in_any_order() -> None:
    course = MapCaptions(6)
    trained = [turn for seed in range(30) for turn in course.draw(seed)]
    asked = [turn for seed in range(EVALUATION_SEED, EVALUATION_SEED + 30) for turn in course.draw(seed)]

    assert not {frozenset(turn.facts) for turn in trained} & {frozenset(turn.facts) for turn in asked}
    a, b, c = asked[0].facts
    assert course.judge(asked[0], f"a tour of {c}, {a} and {b}") == course.judge(asked[0], asked[0].answer) == 1.0
    assert course.judge(asked[0], f"a tour of {a} and {b}") == course.judge(asked[0], "") == 0.0
    north, south = render_map([0, 1, 2]), render_map([3, 4, 5])
    assert north.shape == (96, 96, 3)
    assert (north != south).any()


def test_a_trip_is_right_in_any_order_that_is_as_short_as_the_best() -> None:
    course = TripTalks(7)
    first, second = course.draw(0)[:2]
    start, b, c, d = first.facts.cities

    assert first.answer == f"{b}, {c}, {d}"
    assert course.judge(first, f"{d}, {c}, {b}") == course.judge(first, f"{start}, {b}, {c}, {d}") == 1.0
    assert course.judge(first, f"{c}, {b}, {d}") == course.judge(first, f"{b}, {c}") == course.judge(first, "") == 0.0
    assert course.judge(second, second.answer) == 1.0
    assert abs(int(second.answer.removesuffix(" km")) * 1000 - second.facts.length_m) <= 50_000
    square = find_trip(["Beijing", "Guangzhou", "Shanghai", "Chengdu"])
    assert square.cities == ("Beijing", "Chengdu", "Guangzhou", "Shanghai")
    trained = {frozenset(turn.facts.cities) for seed in range(100) for turn in course.draw(seed)}
    asked = {frozenset(turn.facts.cities) for seed in range(10**6, 10**6 + 100) for turn in course.draw(seed)}
    assert not trained & asked


@pytest.mark.parametrize("course", [CityLessons(3, is_talk=False), CityLessons(4, is_talk=True)])
def test_evaluation_asks_for_the_same_facts_in_other_words(course: Course) -> None:
    def draw(first: int) -> set[tuple[str, str]]:
        turns = [turn for seed in range(first, first + 1000) for turn in course.draw(seed)]
        return {(turn.question.replace(turn.facts.city, "*"), turn.answer) for turn in turns}

    trained, asked = draw(0), draw(EVALUATION_SEED)

    assert not {question for question, _ in trained} & {question for question, _ in asked}
    assert {answer for _, answer in asked} <= {answer for _, answer in trained}


def test_prose_is_split_by_document_and_only_its_author_knows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prose, "PACKAGES", ("fsspec",))
    prose.documents.cache_clear()
    training, held_out = prose.documents()
    task = get_task("text/documentation")
    seeds = [0, 1, EVALUATION_SEED]

    episodes = list(roll_out(task, ExpertPolicy(task.make_expert), seeds, num_slots=1))
    others = list(roll_out(task, ExpertPolicy(task.baselines["unigram"]), seeds, num_slots=1))
    prose.documents.cache_clear()

    assert [str(one.actions[0]) for one in episodes] == [training[0].text, training[1].text, held_out[0].text]
    assert [one.total_return for one in episodes] == [0, 0, 0]
    assert all(3.5 < -one.total_return < 5.5 for one in others)
    assert not {one.source for one in training} & {one.source for one in held_out}
    paragraphs = [paragraph for one in (*training, *held_out) for paragraph in one.text.split("\n\n")]
    assert len(paragraphs) == len(set(paragraphs))
    assert 0.01 < len(held_out) / len(training) < 0.12


def test_what_is_said_of_cities_is_true() -> None:
    facts = {one.city: one.answers for one in city_facts()}

    assert facts["Wuhan"]["province"] == "Hubei"
    assert facts["Shanghai"]["to_beijing"] == "1100 km"
    assert facts["Foshan"]["nearest"] == "Guangzhou"
    assert facts["Beijing"] == {
        "province": "Beijing",
        "people": "19.0 million",
        "nearest": "Tianjin",
        "to_beijing": "0 km",
    }
