from __future__ import annotations

from functools import partial

import gymnasium

from tasks.task import Expert, Task

GAMES = (
    "adventure",
    "air_raid",
    "alien",
    "amidar",
    "assault",
    "asterix",
    "asteroids",
    "atlantis",
    "atlantis2",
    "backgammon",
    "bank_heist",
    "basic_math",
    "battle_zone",
    "beam_rider",
    "berzerk",
    "blackjack",
    "bowling",
    "boxing",
    "breakout",
    "carnival",
    "casino",
    "centipede",
    "chopper_command",
    "crazy_climber",
    "crossbow",
    "darkchambers",
    "defender",
    "demon_attack",
    "donkey_kong",
    "double_dunk",
    "earthworld",
    "elevator_action",
    "enduro",
    "entombed",
    "et",
    "fishing_derby",
    "flag_capture",
    "freeway",
    "frogger",
    "frostbite",
    "galaxian",
    "gopher",
    "gravitar",
    "hangman",
    "haunted_house",
    "hero",
    "human_cannonball",
    "ice_hockey",
    "jamesbond",
    "journey_escape",
    "kaboom",
    "kangaroo",
    "keystone_kapers",
    "king_kong",
    "klax",
    "koolaid",
    "krull",
    "kung_fu_master",
    "laser_gates",
    "lost_luggage",
    "mario_bros",
    "miniature_golf",
    "montezuma_revenge",
    "mr_do",
    "ms_pacman",
    "name_this_game",
    "othello",
    "pacman",
    "phoenix",
    "pitfall",
    "pitfall2",
    "pong",
    "pooyan",
    "private_eye",
    "qbert",
    "riverraid",
    "road_runner",
    "robotank",
    "seaquest",
    "sir_lancelot",
    "skiing",
    "solaris",
    "space_invaders",
    "space_war",
    "star_gunner",
    "superman",
    "surround",
    "tennis",
    "tetris",
    "tic_tac_toe_3d",
    "time_pilot",
    "trondead",
    "turmoil",
    "tutankham",
    "up_n_down",
    "venture",
    "video_checkers",
    "video_chess",
    "video_cube",
    "video_pinball",
    "wizard_of_wor",
    "word_zapper",
    "yars_revenge",
    "zaxxon",
)
"""The games of ale-py that one player can play: 104 of the 108 that come with it."""

SCRIPTED = ("breakout", "freeway", "pong")
"""Games whose expert is a script; a planner plays the others."""


def list_tasks() -> list[Task]:
    """Return a task for each game, without importing the emulator."""
    return [_describe(game) for game in GAMES]


def _describe(game: str) -> Task:
    is_scripted = game in SCRIPTED
    return Task(
        id=f"atari/{game}",
        make_environment=partial(_make_environment, game),
        make_expert=_make_script if is_scripted else _make_planner,
        expert_route="script" if is_scripted else "planner",
        num_episodes=100,
        description=f"Play the Atari 2600 game {game.replace('_', ' ')}.",
        licence="GPL-2.0-only",
        code_version="1",
        extra="atari",
    )


def _make_environment(game: str) -> gymnasium.Env:
    from tasks.atari.environment import AtariEnvironment

    return AtariEnvironment(game)


def _make_script() -> Expert:
    from tasks.atari.expert import ScriptedExpert

    return ScriptedExpert()


def _make_planner() -> Expert:
    from tasks.atari.expert import PlannerExpert

    return PlannerExpert()
