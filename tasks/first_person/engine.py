from __future__ import annotations

import shlex
import sys
import tempfile
import weakref
from pathlib import Path

import vizdoom

from tasks.first_person.scenario import Scenario

_LAUNCHER = """\
import ctypes, os, signal, sys
os.chdir({folder!r})
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
os.execv({engine!r}, [{engine!r}, *sys.argv[1:]])
"""


class Engine:
    """A process of ViZDoom that shows no window, makes no sound and writes nothing but into a folder of its own.

    The engine makes a folder where it is started, and would outlive a parent that is killed: a launcher sends it to a
    temporary folder, and asks Linux to end it with its parent.

    Args:
        scenario: What it plays.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="db1-first-person-")
        self.buttons = sorted({button for action in scenario.actions for button in action})
        self.game = vizdoom.DoomGame()
        self._end = weakref.finalize(self, _end, self.game, self._folder)
        self._configure(scenario)
        self.game.init()

    def close(self) -> None:
        """End the process and remove its folder."""
        self._end()

    def _configure(self, scenario: Scenario) -> None:
        game, folder, package = self.game, Path(self._folder.name), Path(vizdoom.__file__).parent
        game.load_config(str(Path(vizdoom.scenarios_path) / f"{scenario.name}.cfg"))
        game.set_vizdoom_path(str(_write_launcher(folder, package / "vizdoom")))
        game.set_doom_config_path(str(folder / "vizdoom.ini"))
        game.set_doom_game_path(str(package / "freedoom2.wad"))
        game.set_window_visible(False)
        game.set_sound_enabled(False)
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_labels_buffer_enabled(True)
        game.set_objects_info_enabled(True)
        game.set_sectors_info_enabled(True)
        game.set_available_buttons([getattr(vizdoom.Button, button) for button in self.buttons])
        game.set_available_game_variables([getattr(vizdoom.GameVariable, name) for name, _ in scenario.bar])
        game.set_doom_skill(scenario.skill)
        game.set_episode_timeout(scenario.timeout_tics)


def _end(game: vizdoom.DoomGame, folder: tempfile.TemporaryDirectory[str]) -> None:
    game.close()
    folder.cleanup()


def _write_launcher(folder: Path, engine: Path) -> Path:
    script, launcher = folder / "launch.py", folder / "launch"
    script.write_text(_LAUNCHER.format(folder=str(folder), engine=str(engine)))
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -IS {shlex.quote(str(script))} "$@"\n')
    launcher.chmod(0o700)
    return launcher
