from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

Robot = Literal["cheetah", "hopper", "humanoid", "walker"]


@dataclass(frozen=True)
class Morphology:
    """A robot's body as it departs from gymnasium's.

    Args:
        robot: The whole robot.
        removed: Limbs that are cut off, with all that hangs on them; names of bodies in gymnasium's model.
        num_shins: Shins between the thigh and the foot of a hopper, 0 to 2; the whole one has 1.
        flipped: Whether the body faces the other way, so that running forward is running backwards.
    """

    robot: Robot
    removed: tuple[str, ...] = ()
    num_shins: int = 1
    flipped: bool = False


_LEGS_OF_WALKER = {
    2: ("leg", "thigh_left"),
    3: ("leg", "leg_left"),
    4: ("foot", "leg_left"),
    5: ("foot", "foot_left"),
    6: ("foot_left",),
    7: (),
}
_HIND, _FRONT = ("bthigh", "bshin", "bfoot", ""), ("fthigh", "fshin", "ffoot", "")
_LEGS_OF_CHEETAH = {
    "2-back": (1, 0),
    "2-front": (0, 1),
    "3-back": (2, 0),
    "3-balanced": (1, 1),
    "3-front": (0, 2),
    "4-allback": (3, 0),
    "4-allfront": (0, 3),
    "4-back": (2, 1),
    "4-front": (1, 2),
    "5-back": (3, 1),
    "5-balanced": (2, 2),
    "5-front": (1, 3),
    "6-back": (3, 2),
    "6-front": (2, 3),
    "7-full": (3, 3),
}
_LIMBS_OFF_HUMANOID = {
    "5-without-arms": ("left_upper_arm", "right_upper_arm"),
    "6-without-left-arm-and-right-lower-arm": ("left_upper_arm", "right_lower_arm"),
    "7-without-left-arm": ("left_upper_arm",),
    "7-without-left-leg": ("left_thigh",),
    "7-without-lower-arms": ("left_lower_arm", "right_lower_arm"),
    "8-without-left-lower-arm": ("left_lower_arm",),
    "8-without-left-shin": ("left_shin",),
    "9-full": (),
}


def _cut(hind: int, front: int) -> tuple[str, ...]:
    return tuple(name for name in (_HIND[hind], _FRONT[front]) if name)


MORPHOLOGIES: Mapping[str, Morphology] = {
    **{f"cheetah-{name}": Morphology("cheetah", _cut(*legs)) for name, legs in _LEGS_OF_CHEETAH.items()},
    **{f"hopper-{parts}": Morphology("hopper", num_shins=parts - 3) for parts in (3, 4, 5)},
    **{f"humanoid-{name}": Morphology("humanoid", limbs) for name, limbs in _LIMBS_OFF_HUMANOID.items()},
    **{
        f"walker-{parts}-{name}": Morphology("walker", removed, flipped=name == "flipped")
        for (parts, removed), name in product(_LEGS_OF_WALKER.items(), ("main", "flipped"))
    },
}
"""The 38 bodies by the name of their task, which says of how many parts they are."""
