from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Scenario:
    """A scenario of mpe2 and the team that is played.

    Args:
        module: Its name in mpe2.
        description: One sentence for people.
        team: Who is played: all agents, the adversaries, or those who are not.
        options: Arguments of the scenario, such as the number of agents.
    """

    module: str
    description: str
    team: Literal["all", "good", "adversaries"] = "all"
    options: Mapping[str, int] = field(default_factory=dict)


def _chase(num_adversaries: int, num_good: int) -> Scenario:
    return Scenario(
        "simple_tag",
        f"Chase with {num_adversaries} slower agents {num_good} faster ones, which flee.",
        "adversaries",
        {"num_adversaries": num_adversaries, "num_good": num_good},
    )


def _flee(num_good: int, num_adversaries: int) -> Scenario:
    return Scenario(
        "simple_tag",
        f"Flee with {num_good} faster agents from {num_adversaries} slower ones, which chase, and stay in the field.",
        "good",
        {"num_adversaries": num_adversaries, "num_good": num_good},
    )


def _hide(num_good: int) -> Scenario:
    return Scenario(
        "simple_adversary",
        f"Reach a goal with one of {num_good} agents without showing it to a spy, who goes where an agent is closest.",
        "good",
        {"N": num_good},
    )


def _gather(num_collectors: int, num_deposits: int) -> Scenario:
    return Scenario(
        "collect_treasure",
        f"Collect treasures with {num_collectors} agents and bring them to {num_deposits} who take them.",
        options={"num_collectors": num_collectors, "num_deposits": num_deposits, "num_treasures": num_collectors + 1},
    )


SCENARIOS: Mapping[str, Scenario] = {
    "simple": Scenario("simple", "Go to a landmark, by one agent."),
    **{
        f"spread-{n}": Scenario(
            "simple_spread", f"Cover {n} landmarks with {n} agents that do not collide.", options={"N": n}
        )
        for n in range(2, 7)
    },
    **{
        f"line-{n}": Scenario("simple_line", f"Line up {n} agents between two landmarks.", options={"N": n})
        for n in range(3, 7)
    },
    **{
        f"formation-{n}": Scenario("simple_formation", f"Stand in a circle of {n} around a landmark.", options={"N": n})
        for n in range(3, 7)
    },
    **{f"treasure-{a}x{b}": _gather(a, b) for a, b in ((1, 1), (2, 1), (3, 1), (2, 2), (3, 2))},
    "reference": Scenario("simple_reference", "Tell each other by words which of three landmarks to go to."),
    "speaker-listener": Scenario("simple_speaker_listener", "Tell the other by a word which landmark to go to."),
    "crypto": Scenario(
        "simple_crypto", "Pass on a secret under a common key to an agent; a listener without it guesses.", "good"
    ),
    **{f"tag-{a}x{b}": _chase(a, b) for a, b in ((2, 1), (3, 1), (4, 1), (5, 1), (4, 2), (6, 2))},
    **{f"tag-prey-{a}x{b}": _flee(a, b) for a, b in ((1, 2), (1, 3), (2, 4), (3, 3))},
    **{f"adversary-{n}": _hide(n) for n in range(2, 6)},
    "push": Scenario("simple_push", "Reach a goal past an agent that pushes one away.", "good"),
    "push-adversary": Scenario("simple_push", "Keep an agent from a goal that only it knows.", "adversaries"),
    "world-comm": Scenario(
        "simple_world_comm",
        "Chase two fleeing agents with four, of whom one sees into forests and speaks.",
        "adversaries",
    ),
    "world-comm-prey": Scenario(
        "simple_world_comm", "Eat with two agents and flee from four that chase them through forests.", "good"
    ),
}
"""The scenarios by the name of their task."""
