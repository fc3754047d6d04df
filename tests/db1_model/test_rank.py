from __future__ import annotations

import sys

import pytest

from db1_model.rank import choose_interface, find_interface

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="interfaces are asked of Linux")


def test_this_machine_is_reached_through_loopback_and_nowhere_through_nothing() -> None:
    assert find_interface("127.0.0.1") == "lo"
    assert find_interface("no such host.invalid") is None


def test_gloo_keeps_the_interface_that_the_user_chose_and_its_own_on_one_machine() -> None:
    environments = [{"MASTER_ADDR": "127.0.0.1"}, {"MASTER_ADDR": "10.0.0.1", "GLOO_SOCKET_IFNAME": "ib0"}, {}]

    for environment in environments:
        choose_interface(environment)

    assert [environment.get("GLOO_SOCKET_IFNAME") for environment in environments] == [None, "ib0", None]
