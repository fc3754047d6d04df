from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from tasks.first_person.engine import Engine
from tasks.first_person.scenario import TICS_PER_STEP, Scenario
from tasks.first_person.sight import Sight, look

_HEIGHT, _WIDTH = 48, 80
_SMALLEST_SCREEN = (120, 160)

_Observation = dict[str, NDArray[Any]]


class FirstPersonEnvironment(gymnasium.Env):
    """A scenario of ViZDoom: a room of the game Doom, seen through the player's eyes.

    Source: Kempka et al., "ViZDoom: a Doom-based AI research platform for visual reinforcement learning",
    arXiv:1605.02097.

    Observation:
        ``image``: what the player sees, uint8 of shape (48, 80, 3): the smallest screen at half its size, without a
        tenth at the top and at the bottom. ``bar``: what the screen's bar would show, float32 in [-1, 1], such as
        ``health / 100 - 1``; the scenario says what.

    Action:
        ``Discrete``: a combination of buttons from the scenario's list, held for four of the engine's tics. The buttons
        that turn are the original's analogue ones, and turn by 18, 6 or 2 degrees a step.

    Reward:
        The scenario's own, summed over the tics.

    End:
        When the scenario says so: its goal is reached or the player dead. Truncated at its limit of tics, or at 2100
        where it has none.

    Expert:
        Scripts that aim at, dodge and fetch what is on the screen, and know where exactly it is; those that find their
        way also know the map, and in the arena what lies in it.

    Licence:
        MIT (ViZDoom). The engine that it brings, ZDoom, is under several free licences, among them BSD-3-Clause and,
        in parts, id Software's Doom source licence; textures and monsters are those of Freedoom, BSD-3-Clause.

    Args:
        scenario: What is played.
    """

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.observation_space = spaces.Dict(
            {
                "bar": spaces.Box(-1.0, 1.0, (len(scenario.bar),)),
                "image": spaces.Box(0, 255, (_HEIGHT, _WIDTH, 3), np.uint8),
            }
        )
        self.action_space = spaces.Discrete(len(scenario.actions))
        self._engine: Engine | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[_Observation, dict[str, Any]]:
        """Begin an episode of the engine whose seed is drawn from this one.

        Raises:
            ValueError: If there is no seed.
        """
        if seed is None:
            raise ValueError("the engine's dice are fixed by the seed; expected reset(seed=...)")
        super().reset(seed=seed)
        if self._engine is None:
            self._engine = Engine(self.scenario)
        self._begin()
        while not self._is_playable():
            self._begin()
        return self._observe(), {}

    def step(self, action: Any) -> tuple[_Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action's buttons for four tics."""
        engine = self._running()
        pressed = self.scenario.actions[int(action)]
        reward = engine.game.make_action([pressed.get(button, 0.0) for button in engine.buttons], TICS_PER_STEP)
        is_over = engine.game.is_episode_finished()
        is_late = is_over and engine.game.is_episode_timeout_reached()
        info: dict[str, Any] = {}
        if is_over:
            info["summary"] = {"dead": engine.game.is_player_dead()}
        else:
            self._seen = self._observe()
        return self._seen, float(reward), is_over and not is_late, is_late, info

    def look(self) -> Sight:
        """Return the engine's true state of what there is."""
        return look(self._running().game)

    def close(self) -> None:
        """End the engine's process."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _running(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("the engine is not running; expected reset(seed=...) before the first step")
        return self._engine

    def _begin(self) -> None:
        game = self._running().game
        game.set_seed(int(self.np_random.integers(1 << 31)))
        game.new_episode()
        self._seen = self._observe()

    def _is_playable(self) -> bool:
        if not (name := self.scenario.target):
            return True
        sight = self.look()
        return any(thing.name == name and sight.distance(thing) >= self.scenario.distance for thing in sight.things)

    def _observe(self) -> _Observation:
        state = self._running().game.get_state()
        values = np.array(state.game_variables) / np.array([middle for _, middle in self.scenario.bar]) - 1.0
        return {"bar": np.clip(values, -1.0, 1.0).astype(np.float32), "image": shrink(state.screen_buffer)}


def shrink(screen: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Halve a screen of 120 x 160 pixels by the mean of each four, and cut it to 48 rows around the horizon.

    Raises:
        ValueError: If the screen has another size.
    """
    if screen.shape != (*_SMALLEST_SCREEN, 3):
        raise ValueError(f"a screen of shape {screen.shape}; expected {(*_SMALLEST_SCREEN, 3)}")
    height = _SMALLEST_SCREEN[0] // 2
    halved = screen.reshape(height, 2, _WIDTH, 2, 3).astype(np.uint16).sum(axis=(1, 3)) // 4
    cut = (height - _HEIGHT) // 2
    return halved[cut : height - cut].astype(np.uint8)
