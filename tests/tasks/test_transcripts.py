from __future__ import annotations

from dataclasses import replace

import pytest

from storage.episode import Episode
from tasks.corpora.kinds import kind_of
from tasks.corpora.lesson import Turn
from tasks.corpora.rooms import Thing
from tasks.corpora.transcripts import Said, accuracy_by_kind, compare_captions, find_course, transcribe
from tasks.policies import ExpertPolicy
from tasks.registry import get_task
from tasks.rollout import roll_out
from tasks.task import EVALUATION_SEED

SEEDS = range(EVALUATION_SEED, EVALUATION_SEED + 3)


def play(task_id: str, expert: str = "") -> tuple[list[Episode], list[Said]]:
    task = get_task(task_id)
    course = find_course(task)
    assert course is not None
    policy = ExpertPolicy(task.baselines[expert] if expert else task.make_expert)
    episodes = list(roll_out(task, policy, SEEDS, num_slots=1))
    return episodes, [said for episode in episodes for said in transcribe(course, episode)]


@pytest.mark.parametrize(
    ("task_id", "kinds"),
    [
        ("questions/rooms", {"number", "is it there", "colour", "state of a door", "place", "side of another"}),
        ("questions/boards", {"number", "beside the player"}),
        ("dialogue/trips", {"order", "length"}),
        ("dialogue/city-questions", {"province", "population", "nearest city", "way to Beijing"}),
        ("dialogue/city-talks", {"province", "population", "nearest city", "way to Beijing"}),
    ],
)
def test_every_question_is_of_a_kind_and_a_teacher_is_right_in_each(task_id: str, kinds: set[str]) -> None:
    course = find_course(get_task(task_id))
    assert course is not None
    turns = [turn for seed in (*range(20), *range(10**6, 10**6 + 20)) for turn in course.draw(seed)]
    counts = accuracy_by_kind(play(task_id)[1])

    assert {kind_of(turn) for turn in turns} == kinds
    assert all(right == number for right, number in counts.values())
    assert list(counts)[-1] == "all"
    assert sum(number for kind, (_, number) in counts.items() if kind != "all") == counts["all"][1]


def test_what_is_asked_of_a_city_is_told_from_the_question_and_not_from_its_answer() -> None:
    course = find_course(get_task("dialogue/city-questions"))
    assert course is not None
    turn = course.draw(0)[0]
    asked = {"How big is Beijing?": "population", "What is the province of that city?": "province", "Who?": "other"}
    facts = replace(turn.facts, city="Beijing")

    assert {question: kind_of(replace(turn, question=question, facts=facts)) for question in asked} == asked


@pytest.mark.parametrize(
    ("question", "kind"),
    [("where is the red ball?", "place"), ("which way is the red ball from the blue key?", "side of another")],
)
def test_where_a_thing_is_and_on_which_side_of_another_are_told_apart(question: str, kind: str) -> None:
    things = (Thing("red", "ball", 0, 1), Thing("blue", "key", 2, 1))

    assert kind_of(Turn("left", things, question)) == kind


@pytest.mark.parametrize(("task_id", "attributes"), [("captions/rooms-2", 1.0), ("captions/maps", None)])
def test_a_model_that_says_what_the_teacher_says_is_as_good_and_one_that_speaks_of_other_pictures_is_not(
    task_id: str, attributes: float | None
) -> None:
    model, teacher, other = compare_captions(play(task_id)[1])
    wrong = compare_captions(play(task_id, "shuffled")[1])[0]

    assert replace(model, name="teacher") == teacher
    assert (teacher.right, teacher.attributes) == (1.0, attributes)
    assert wrong.right < 0.2
    assert other.right < 0.2
    if teacher.scores.bleu_4 is not None and wrong.scores.bleu_4 is not None:
        assert wrong.scores.bleu_4 < teacher.scores.bleu_4 < 100


def test_a_lesson_that_has_changed_since_it_was_played_is_refused() -> None:
    episode = play("captions/rooms-1")[0][0]
    course = find_course(get_task("captions/rooms-1"))
    assert course is not None
    summary = episode.provenance["summary"] | {"expected": ["something else"]}

    with pytest.raises(ValueError, match="db1 make evaluation captions/rooms-1"):
        transcribe(course, replace(episode, provenance={"summary": summary}))


def test_a_task_that_is_not_of_lessons_has_no_course() -> None:
    assert find_course(get_task("control/CartPole")) is None
    assert find_course(get_task("text/documentation")) is None
