from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Chain(NamedTuple):
    """Links that hang together in a plane, on a cart or on a fixed point; SI units, one entry a link.

    Args:
        has_cart: Whether the first joint is a cart's slide.
        cart_mass: Mass of the cart.
        masses: Masses of the links.
        moments: ``sum of m x`` of each link and of what hangs on it, about the link's own joint.
        inertias: The matrix of the links' couplings, without the cosines.
        damping: Damping of each joint, the cart's first.
        gears: Force of each joint for an action of 1.
        timestep: Seconds of a step.
        is_euler: Whether steps are MuJoCo's half-implicit Euler instead of Runge-Kutta of order 4.
    """

    has_cart: bool
    cart_mass: float
    masses: NDArray[np.float64]
    moments: NDArray[np.float64]
    inertias: NDArray[np.float64]
    damping: NDArray[np.float64]
    gears: NDArray[np.float64]
    timestep: float
    is_euler: bool


_GRAVITY = 9.81


def chain_of(model: Any) -> Chain:
    """Read a chain from a model of MuJoCo whose bodies are the links, each on top of the one before."""
    has_cart = bool(model.jnt_type[0] == 2)
    first = 1 + has_cart
    masses = np.array(model.body_mass[first:])
    heights = np.array(model.body_ipos[first:, 2])
    lengths = np.append(model.body_pos[first + 1 :, 2], 0.0)
    above = np.append(np.cumsum(masses[::-1])[::-1][1:], 0.0)
    moments = masses * heights + lengths * above
    inertias = np.minimum.outer(np.arange(len(masses)), np.arange(len(masses)))
    inertias = np.array(
        [[lengths[min(i, j)] * moments[max(i, j)] for j in range(len(masses))] for i in range(len(masses))]
    )
    np.fill_diagonal(inertias, model.body_inertia[first:, 1] + masses * heights**2 + lengths**2 * above)
    gears = np.zeros(model.nv)
    gears[model.actuator_trnid[0, 0]] = model.actuator_gear[0, 0]
    return Chain(
        has_cart=has_cart,
        cart_mass=float(model.body_mass[1]) if has_cart else 0.0,
        masses=masses,
        moments=moments,
        inertias=inertias,
        damping=np.array(model.dof_damping),
        gears=gears,
        timestep=float(model.opt.timestep),
        is_euler=bool(model.opt.integrator == 0),
    )


@njit(cache=True)
def accelerate(chain, position, speed, action):
    """Return the joints' accelerations (Lagrange's equations in the links' absolute angles)."""
    carts = 1 if chain.has_cart else 0
    links = len(chain.masses)
    size = links + carts
    matrix = np.zeros((size, size))
    right = np.zeros(size)
    angle = np.zeros(links)
    turn = np.zeros(links)
    total = 0.0
    total_speed = 0.0
    for i in range(links):
        total += position[carts + i]
        total_speed += speed[carts + i]
        angle[i] = total
        turn[i] = total_speed
    torque = chain.gears * action
    if not chain.is_euler:
        torque = torque - chain.damping * speed
    for i in range(links):
        row = carts + i
        right[row] = chain.moments[i] * _GRAVITY * np.sin(angle[i]) + torque[row]
        if i + 1 < links:
            right[row] -= torque[row + 1]
        for j in range(links):
            matrix[row, carts + j] = chain.inertias[i, j] * np.cos(angle[i] - angle[j])
            right[row] -= chain.inertias[i, j] * np.sin(angle[i] - angle[j]) * turn[j] ** 2
        if carts:
            matrix[row, 0] = matrix[0, row] = chain.moments[i] * np.cos(angle[i])
            right[0] += chain.moments[i] * np.sin(angle[i]) * turn[i] ** 2
    if carts:
        matrix[0, 0] = chain.cart_mass + chain.masses.sum()
        right[0] += torque[0]
    if chain.is_euler:
        matrix[0, 0] += chain.timestep * chain.damping[0]
        right[0] -= chain.damping[0] * speed[0]
    solution = _solve(matrix, right)
    for i in range(size - 1, carts, -1):
        solution[i] -= solution[i - 1]
    return solution


@njit(cache=True)
def _solve(matrix, right):
    size = len(right)
    for i in range(size):
        for j in range(i + 1, size):
            factor = matrix[j, i] / matrix[i, i]
            for k in range(i + 1, size):
                matrix[j, k] -= factor * matrix[i, k]
            right[j] -= factor * right[i]
    for i in range(size - 1, -1, -1):
        for k in range(i + 1, size):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    return right


@njit(cache=True)
def step_chain(chain, state, action):
    """Return the state (joints' positions, then their speeds) after a step."""
    size = len(state) // 2
    time = chain.timestep
    position, speed = state[:size], state[size:]
    first = accelerate(chain, position, speed, action)
    following = np.empty_like(state)
    if chain.is_euler:
        following[size:] = speed + time * first
        following[:size] = position + time * following[size:]
        return following
    half = 0.5 * time
    speed2 = speed + half * first
    second = accelerate(chain, position + half * speed, speed2, action)
    speed3 = speed + half * second
    third = accelerate(chain, position + half * speed2, speed3, action)
    speed4 = speed + time * third
    fourth = accelerate(chain, position + time * speed3, speed4, action)
    following[:size] = position + time / 6.0 * (speed + 2.0 * speed2 + 2.0 * speed3 + speed4)
    following[size:] = speed + time / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
    return following
