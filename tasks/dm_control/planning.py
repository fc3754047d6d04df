from __future__ import annotations

import numpy as np
from numba import njit

from tasks.dm_control.chain import step_chain

BALANCE, ACROBOT = 0, 1
"""What a plan costs: 1 less the suite's reward of ``cartpole``, or of ``acrobot``, made smooth."""

_TOLERANCE = 2.0 * np.log(10.0)
"""The suite's Gaussians are 0.1 at their margin."""


@njit(cache=True)
def cost_of(kind, weights, state, action):
    """Return what a step costs that ends in this state."""
    size = len(state) // 2
    if kind == 1:
        first = state[0]
        second = state[0] + state[1]
        across = np.sin(first) + np.sin(second)
        up = 2.0 - np.cos(first) - np.cos(second)
        distance = across**2 + up**2
        speeds = (state[2] ** 2 + (state[2] + state[3]) ** 2) * weights[1]
        return 1.0 - np.exp(-0.5 * distance * weights[0]) + weights[2] * distance + speeds + weights[3] * action**2
    angle = 0.0
    upright = 0.0
    speed = 1.0
    for i in range(1, size):
        angle += state[i]
        upright += (np.cos(angle) + 1.0) / (2.0 * (size - 1))
        speed *= np.exp(-0.5 * 4.605170185988092 * (state[size + i] / 5.0) ** 2)
    centred = (1.0 + np.exp(-0.5 * 4.605170185988092 * (state[0] / 2.0) ** 2)) / 2.0
    small = (4.0 + 1.0 - action**2) / 5.0
    beyond = max(0.0, abs(state[0]) - 1.5)
    sharp = 0.0
    if weights[0] > 0.0:
        angle = 0.0
        far = (state[0] / 0.25) ** 2
        for i in range(1, size):
            angle += state[i]
            far += 2.0 * (1.0 - np.cos(angle)) / 0.01
        sharp = weights[0] * far / (far + 8.0)
    return 1.0 - upright * small * (1.0 + speed) / 2.0 * centred + 50.0 * beyond**2 + sharp


@njit(cache=True)
def _expand(kind, weights, state, action):
    size = len(state) + 1
    step = 1e-3
    point = np.empty(size)
    point[:-1] = state
    point[-1] = action
    slope = np.empty(size)
    curve = np.empty((size, size))
    middle = cost_of(kind, weights, state, action)
    plus = np.empty(size)
    for i in range(size):
        keep = point[i]
        point[i] = keep + step
        plus[i] = cost_of(kind, weights, point[:-1], point[-1])
        point[i] = keep - step
        minus = cost_of(kind, weights, point[:-1], point[-1])
        point[i] = keep
        slope[i] = (plus[i] - minus) / (2.0 * step)
        curve[i, i] = (plus[i] + minus - 2.0 * middle) / step**2
    for i in range(size):
        for j in range(i):
            point[i] += step
            point[j] += step
            both = cost_of(kind, weights, point[:-1], point[-1])
            point[i] -= step
            point[j] -= step
            curve[i, j] = curve[j, i] = (both - plus[i] - plus[j] + middle) / step**2
    values, vectors = np.linalg.eigh(curve)
    return slope, (vectors * np.maximum(values, 1e-4)) @ vectors.T


@njit(cache=True)
def _linearize(chain, state, action, following):
    size = len(state)
    step = 1e-6
    matrix = np.empty((size, size))
    moved = state.copy()
    for i in range(size):
        keep = moved[i]
        moved[i] = keep + step
        matrix[:, i] = (step_chain(chain, moved, action) - following) / step
        moved[i] = keep
    column = (step_chain(chain, state, action + step) - following) / step
    return matrix, column


@njit(cache=True)
def _roll(chain, kind, weights, last, states, actions, feed, gains, share):
    steps = len(actions)
    rolled = np.empty_like(states)
    taken = np.empty_like(actions)
    rolled[0] = states[0]
    total = 0.0
    for t in range(steps):
        action = actions[t] + share * feed[t] + gains[t] @ (rolled[t] - states[t])
        taken[t] = min(1.0, max(-1.0, action))
        rolled[t + 1] = step_chain(chain, rolled[t], taken[t])
        if not np.abs(rolled[t + 1]).max() < 1e3:
            return 1e12, rolled, taken
        total += cost_of(kind, weights, rolled[t + 1], taken[t]) * (last if t + 1 == steps else 1.0)
    return total, rolled, taken


@njit(cache=True)
def plan(chain, kind, weights, last, start, actions, rounds):
    """Improve actions by iterative LQR under their limits.

    Args:
        chain: The mechanism.
        kind: What is to be done: ``BALANCE`` or ``ACROBOT``.
        weights: Of the terms of the cost.
        last: How many times the last state counts.
        start: The first state.
        actions: The actions to begin with, shape (steps,).
        rounds: Most iterations.

    Returns:
        Cost, states, actions and the gains of the feedback that keeps the plan.

    Source:
        Tassa, Erez and Todorov, "Synthesis and stabilization of complex behaviors through online trajectory
        optimization", 2012; the limits as in Tassa, Mansard and Todorov, "Control-limited differential dynamic
        programming", 2014.
    """
    steps, size = len(actions), len(start)
    states = np.zeros((steps + 1, size))
    states[0] = start
    feed = np.zeros(steps)
    gains = np.zeros((steps, size))
    total, states, actions = _roll(chain, kind, weights, last, states, actions, feed, gains, 0.0)
    damping = 1e-3
    for _ in range(rounds):
        value = np.zeros(size)
        values = np.zeros((size, size))
        for t in range(steps - 1, -1, -1):
            matrix, column = _linearize(chain, states[t], actions[t], states[t + 1])
            slope, curve = _expand(kind, weights, states[t + 1], actions[t])
            factor = last if t + 1 == steps else 1.0
            ahead = value + factor * slope[:-1]
            curved = values + factor * curve[:-1, :-1]
            cross = factor * curve[:-1, -1]
            action_slope = factor * slope[-1] + column @ ahead
            state_slope = matrix.T @ ahead
            mixed = curved @ column + cross
            action_curve = factor * curve[-1, -1] + column @ mixed + column @ cross + damping
            both = matrix.T @ mixed
            feed[t] = min(1.0 - actions[t], max(-1.0 - actions[t], -action_slope / action_curve))
            is_free = abs(feed[t] + action_slope / action_curve) < 1e-12
            gains[t] = -both / action_curve if is_free else np.zeros(size)
            value = state_slope + action_curve * feed[t] * gains[t] + action_slope * gains[t] + both * feed[t]
            values = matrix.T @ curved @ matrix + action_curve * np.outer(gains[t], gains[t])
            values += np.outer(gains[t], both) + np.outer(both, gains[t])
            values = 0.5 * (values + values.T)
        share, before = 1.0, total
        while share > 1e-3:
            tried, rolled, taken = _roll(chain, kind, weights, last, states, actions, feed, gains, share)
            if tried < total:
                total, states, actions = tried, rolled, taken
                break
            share *= 0.5
        if total < before:
            damping = max(1e-6, damping * 0.5)
            if before - total < 1e-5 * before:
                break
        else:
            damping *= 8.0
            if damping > 1e4:
                break
    return total, states, actions, gains
