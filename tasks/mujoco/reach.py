from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_UPPER_M, _LOWER_M = 0.1, 0.11
_GEAR, _DAMPING, _INERTIA = 200.0, 1.0, 1.0
_NUM_STEPS = 25
_NEAR_M = 0.003

Points = NDArray[np.floating[Any]]


class ReachPlan:
    """Torques of an arm of two joints that bring its tip to a goal at least distance and effort.

    The joints of gymnasium's Reacher hardly feel each other: the inertia of each motor, 1, is a thousand times that of
    the links. So angles are linear in the torques, and only the tip's place is not; what is minimised is the sum of the
    tip's distance and the squared actions, as in the task's reward, by Gauss-Newton steps in which each distance is a
    square divided by its present value.

    Args:
        step_s: Time between two actions.
    """

    def __init__(self, step_s: float) -> None:
        rate = _DAMPING / _INERTIA
        decay = np.exp(-rate * step_s)
        coast = (1.0 - decay) / rate
        moves = np.array([[1.0, coast], [0.0, decay]])
        push = _GEAR / _DAMPING * np.array([step_s - coast, 1.0 - decay])
        powers = [np.linalg.matrix_power(moves, step) for step in range(_NUM_STEPS + 1)]
        answers = [float((power @ push)[0]) for power in powers]
        self._coasts = np.array([power[0] for power in powers[1:]])
        rows = range(_NUM_STEPS)
        self._answers = np.array([[answers[row - column] if column <= row else 0.0 for column in rows] for row in rows])

    def begin(self, angles_rad: Points, speeds_rad_s: Points, goal_m: Points) -> Points:
        """Return the better of the plans that end with the elbow on either side.

        Args:
            angles_rad: Of the two joints, shape (2,).
            speeds_rad_s: Of the two joints, shape (2,).
            goal_m: Where the tip is to be, shape (2,).

        Returns:
            Actions, shape (25, 2).
        """
        free = self._coast(angles_rad, speeds_rad_s)
        weight = 0.05
        matrix = weight * self._answers.T @ self._answers + np.eye(_NUM_STEPS)
        plans = []
        for side in (1, -1):
            missing = free - find_angles_rad(goal_m, angles_rad, side)
            actions = np.clip(-np.linalg.solve(matrix, weight * self._answers.T @ missing), -1.0, 1.0)
            actions = self.improve(actions, angles_rad, speeds_rad_s, goal_m, num_rounds=40)
            plans.append((self._cost(actions, free, goal_m), side, actions))
        return min(plans, key=lambda plan: plan[:2])[2]

    def improve(
        self, actions: Points, angles_rad: Points, speeds_rad_s: Points, goal_m: Points, *, num_rounds: int = 5
    ) -> Points:
        """Return a plan that costs no more, from a plan of shape (25, 2)."""
        free = self._coast(angles_rad, speeds_rad_s)
        cost = self._cost(actions, free, goal_m)
        for _ in range(num_rounds):
            step = self._newton_step(actions, free, goal_m)
            for length in 0.5 ** np.arange(10):
                trial = np.clip(actions + length * step, -1.0, 1.0)
                if (trial_cost := self._cost(trial, free, goal_m)) < cost:
                    break
            else:
                return actions
            actions, gain, cost = trial, cost - trial_cost, trial_cost
            if gain < 1e-7:
                break
        return actions

    def _coast(self, angles_rad: Points, speeds_rad_s: Points) -> Points:
        return self._coasts @ np.stack([angles_rad, speeds_rad_s])

    def _cost(self, actions: Points, free: Points, goal_m: Points) -> float:
        ways_m = find_tip_m(free + self._answers @ actions) - goal_m
        return float(np.linalg.norm(ways_m, axis=1).sum() + np.square(actions).sum())

    def _newton_step(self, actions: Points, free: Points, goal_m: Points) -> Points:
        angles_rad = free + self._answers @ actions
        ways_m = find_tip_m(angles_rad) - goal_m
        weights = 1.0 / np.maximum(np.linalg.norm(ways_m, axis=1), _NEAR_M)
        slopes = _tip_slopes(angles_rad)
        squares = np.einsum("t,tki,tkj->tij", weights, slopes, slopes)
        pulls = np.einsum("t,tki,tk->ti", weights, slopes, ways_m)
        curvature = np.einsum("ta,tij,tb->aibj", self._answers, squares, self._answers, optimize=True)
        matrix = curvature.reshape(2 * _NUM_STEPS, 2 * _NUM_STEPS) + 2.0 * np.eye(2 * _NUM_STEPS)
        gradient = self._answers.T @ pulls + 2.0 * actions
        return -np.linalg.solve(matrix, gradient.ravel()).reshape(_NUM_STEPS, 2)


def find_tip_m(angles_rad: Points) -> Points:
    """Return where the tip is for angles of shape (times, 2)."""
    shoulder, elbow = angles_rad[:, 0], angles_rad.sum(axis=1)
    x = _UPPER_M * np.cos(shoulder) + _LOWER_M * np.cos(elbow)
    y = _UPPER_M * np.sin(shoulder) + _LOWER_M * np.sin(elbow)
    return np.stack([x, y], axis=1)


def find_angles_rad(goal_m: Points, near_rad: Points, side: int) -> Points:
    """Return the angles that put the tip on a goal, or as near to it as the arm reaches.

    Args:
        goal_m: Shape (2,).
        near_rad: The shoulder turns to the angle that is closest to this one's, shape (2,).
        side: 1 or -1, the sign of the elbow's angle.
    """
    cosine = (goal_m @ goal_m - _UPPER_M**2 - _LOWER_M**2) / (2.0 * _UPPER_M * _LOWER_M)
    elbow = side * np.arccos(np.clip(cosine, -1.0, 1.0))
    shoulder = np.arctan2(goal_m[1], goal_m[0]) - np.arctan2(
        _LOWER_M * np.sin(elbow), _UPPER_M + _LOWER_M * np.cos(elbow)
    )
    turn = (shoulder - near_rad[0] + np.pi) % (2.0 * np.pi) - np.pi
    return np.array([near_rad[0] + turn, elbow])


def _tip_slopes(angles_rad: Points) -> Points:
    shoulder, elbow = angles_rad[:, 0], angles_rad.sum(axis=1)
    along = np.stack([-_LOWER_M * np.sin(elbow), _LOWER_M * np.cos(elbow)], axis=1)
    across = np.stack([-_UPPER_M * np.sin(shoulder), _UPPER_M * np.cos(shoulder)], axis=1)
    return np.stack([along + across, along], axis=2)
