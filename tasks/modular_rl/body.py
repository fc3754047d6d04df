from __future__ import annotations

import copy
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import gymnasium.envs.mujoco
import numpy as np
from mujoco import MjData, MjModel, mj_forward, mjtGeom  # pyright: ignore[reportAttributeAccessIssue]  # compiled

from tasks.modular_rl.morphologies import Morphology

_MODELS = {
    "cheetah": "half_cheetah.xml",
    "hopper": "hopper.xml",
    "humanoid": "humanoid.xml",
    "walker": "walker2d_v5.xml",
}
_TURNING_IN_THE_PLANE = ("hip_y", "knee", "shoulder1", "elbow")


def build_body(morphology: Morphology) -> MjModel:
    """Make a robot's model from gymnasium's: its limbs cut off or grown, and its torso lowered or raised.

    Args:
        morphology: The body.

    Returns:
        The model, whose lowest point is as high above the floor at the start as the whole robot's.

    Raises:
        ValueError: If a limb that is to be cut off is not there.
    """
    whole = _read(morphology)
    rise_m = _lowest_point_m(whole)
    tree = copy.deepcopy(whole)
    if morphology.robot == "hopper":
        _set_shins(tree, morphology.num_shins)
    for name in morphology.removed:
        _cut(tree, name)
    if morphology.flipped:
        _flip(tree)
    torso = _body(tree, "torso")
    rise_m -= _lowest_point_m(tree)
    x, y, z = _numbers(torso.get("pos", "0 0 0"))
    torso.set("pos", f"{x} {y} {z + rise_m}")
    return _compile(tree)


def _read(morphology: Morphology) -> Element:
    folder = Path(gymnasium.envs.mujoco.__file__).parent / "assets"
    tree = ElementTree.parse(folder / _MODELS[morphology.robot]).getroot()
    if morphology.robot == "humanoid":
        _flatten(tree)
    return tree


def _flatten(tree: Element) -> None:
    """Bind a humanoid to the plane of its steps: hips, knees, shoulders and elbows turn in it, nothing else moves."""
    for body in tree.iter("body"):
        for joint in body.findall("joint"):
            if not joint.get("name", "").endswith(_TURNING_IN_THE_PLANE):
                body.remove(joint)
            elif joint.get("name", "").endswith(("shoulder1", "elbow")):
                joint.set("axis", "0 -1 0")
                joint.set("range", "-85 60" if joint.get("name", "").endswith("shoulder1") else "-90 50")
    torso = _body(tree, "torso")
    free = {"armature": "0", "damping": "0", "limited": "false", "stiffness": "0"}
    root = (("rootx", "slide", "1 0 0"), ("rootz", "slide", "0 0 1"), ("rooty", "hinge", "0 1 0"))
    for place, (name, kind, axis) in enumerate(root):
        torso.insert(place, Element("joint", {"name": name, "type": kind, "axis": axis, **free}))
    for tendons in tree.findall("tendon"):
        tree.remove(tendons)
    _drop_idle_motors(tree)


def _set_shins(tree: Element, num_shins: int) -> None:
    thigh, shin, foot = (_body(tree, name) for name in ("thigh", "leg", "foot"))
    if num_shins == 0:
        thigh.remove(shin)
        foot.set("pos", "0.13 0 -0.55")  # the ankle goes where the knee was
        thigh.append(foot)
    if num_shins == 2:
        shin.remove(foot)
        lower = copy.deepcopy(shin)
        for part in (lower, *lower):
            part.set("name", part.get("name", "").replace("leg", "lower_leg"))
        lower.set("pos", "0 0 -0.5")
        lower.append(foot)
        shin.append(lower)
        motors = tree.findall("actuator/motor")
        motor = copy.deepcopy(motors[1])
        motor.set("joint", "lower_leg_joint")
        next(tree.iter("actuator")).insert(2, motor)
    _drop_idle_motors(tree)


def _cut(tree: Element, name: str) -> None:
    parent = next((body for body in tree.iter("body") if any(limb.get("name") == name for limb in body)), None)
    if parent is None:
        names = ", ".join(body.get("name", "") for body in tree.iter("body"))
        raise ValueError(f"the limb {name!r} is to be cut off; expected one of {names}")
    parent.remove(next(limb for limb in parent.findall("body") if limb.get("name") == name))
    _drop_idle_motors(tree)


def _flip(tree: Element) -> None:
    torso = _body(tree, "torso")
    for limb in (part for body in torso.findall("body") for part in body.iter()):
        if "pos" in limb.attrib:
            x, y, z = _numbers(limb.attrib["pos"])
            limb.set("pos", f"{-x} {y} {z}")
        if limb.tag == "joint":
            x, y, z = _numbers(limb.attrib["axis"])
            limb.set("axis", f"{x} {-y} {z}")


def _drop_idle_motors(tree: Element) -> None:
    joints = {joint.get("name") for joint in tree.iter("joint")}
    for motors in tree.iter("actuator"):
        for motor in motors.findall("motor"):
            if motor.get("joint") not in joints:
                motors.remove(motor)


def _lowest_point_m(tree: Element) -> float:
    model = _compile(tree)
    data = MjData(model)
    mj_forward(model, data)
    moving = model.geom_bodyid > 0
    is_capsule = model.geom_type == mjtGeom.mjGEOM_CAPSULE
    half_length_m = np.where(is_capsule, model.geom_size[:, 1], 0.0)
    slope = np.abs(data.geom_xmat.reshape(-1, 3, 3)[:, 2, 2])
    lowest = data.geom_xpos[:, 2] - half_length_m * slope - model.geom_size[:, 0]
    return float(lowest[moving].min())


def _compile(tree: Element) -> MjModel:
    return MjModel.from_xml_string(ElementTree.tostring(tree, encoding="unicode"))


def _body(tree: Element, name: str) -> Element:
    return next(body for body in tree.iter("body") if body.get("name") == name)


def _numbers(text: str) -> tuple[float, float, float]:
    x, y, z = (float(number) for number in text.split())
    return x, y, z
