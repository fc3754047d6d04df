from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Factorisation:
    """How the joints of a robot are shared out, in the words of MaMuJoCo.

    Args:
        robot: The robot's name.
        partition: Who has which joints, such as ``2x3`` for two agents of three joints each.
        num_agents: Agents.
        description: One sentence for people.
        num_joints: Joints of a swimmer that is made to measure; 0 for other robots.
    """

    robot: str
    partition: str
    num_agents: int
    description: str
    num_joints: int = 0


def _long_swimmer(num_agents: int, joints_each: int) -> Factorisation:
    return Factorisation(
        "ManySegmentSwimmer",
        f"{num_agents}x{joints_each}",
        num_agents,
        f"Swim with {num_agents * joints_each} joints, {joints_each} for each of {num_agents} agents.",
        num_agents * joints_each,
    )


FACTORISATIONS: Mapping[str, Factorisation] = {
    "Ant-2x4": Factorisation("Ant", "2x4", 2, "Run on four legs: one agent has the front, one the back legs."),
    "Ant-2x4d": Factorisation("Ant", "2x4d", 2, "Run on four legs: each of two agents has a diagonal pair."),
    "Ant-4x2": Factorisation("Ant", "4x2", 4, "Run on four legs, an agent for each."),
    "CoupledHalfCheetah-1p1": Factorisation(
        "CoupledHalfCheetah", "1p1", 2, "Run as two robots that a spring ties together, an agent for each."
    ),
    "HalfCheetah-2x3": Factorisation("HalfCheetah", "2x3", 2, "Run in the plane, an agent for each leg."),
    "HalfCheetah-6x1": Factorisation("HalfCheetah", "6x1", 6, "Run in the plane, an agent for each joint."),
    "Hopper-3x1": Factorisation("Hopper", "3x1", 3, "Hop on one leg, an agent for each joint."),
    "Humanoid-9-8": Factorisation(
        "Humanoid", "9|8", 2, "Walk upright: one agent has the trunk and arms, one the legs."
    ),
    "HumanoidStandup-9-8": Factorisation(
        "HumanoidStandup", "9|8", 2, "Rise from the back: one agent has the trunk and arms, one the legs."
    ),
    "Pusher-3p": Factorisation("Pusher", "3p", 3, "Push a cylinder: one agent has the shoulder, elbow, or wrist each."),
    "Reacher-2x1": Factorisation("Reacher", "2x1", 2, "Bring an arm's tip to a goal, an agent for each joint."),
    "Swimmer-2x1": Factorisation("Swimmer", "2x1", 2, "Swim by bending two joints, an agent for each."),
    "Walker2d-2x3": Factorisation("Walker2d", "2x3", 2, "Walk in the plane, an agent for each leg."),
    **{f"ManySegmentSwimmer-{a}x{b}": _long_swimmer(a, b) for a, b in ((2, 2), (2, 3), (3, 2), (6, 1), (2, 5))},
}
"""The shared robots by the name of their task."""
