"""What a process must do that trains together with others: end when they do, and find the network they are on."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import MutableMapping

LIFELINE = "DB1_LIFELINE"
"""Environment variable; ``stdin`` says that standard input stays open as long as the process is to live."""

_PR_SET_PDEATHSIG = 1  # from Linux's <sys/prctl.h>
_SIOCGIFADDR = 0x8915  # from Linux's <linux/sockios.h>


def is_first_rank() -> bool:
    """Return whether this is the process that saves and reports."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def die_with_starter() -> None:
    """Be killed when whoever started this process is: Lightning's first rank, torchrun's agent, or a launcher.

    The launcher may be on another machine: then the end of standard input tells that it is gone, see ``LIFELINE``.
    """
    is_started_by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    if sys.platform == "linux" and (is_started_by_torchrun or not is_first_rank()):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get(LIFELINE) == "stdin":
        threading.Thread(target=_wait_for_the_end, daemon=True).start()


def _wait_for_the_end() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def choose_interface(environment: MutableMapping[str, str]) -> None:
    """Let Gloo talk through the interface that leads to the first rank's machine; what the user chose stays.

    Gloo would take the one that the machine's name stands for, which is often loopback, and reach no other machine.

    Args:
        environment: Gets ``GLOO_SOCKET_IFNAME`` when ``MASTER_ADDR`` is on a network.
    """
    if "MASTER_ADDR" not in environment or "GLOO_SOCKET_IFNAME" in environment:
        return
    if (name := find_interface(environment["MASTER_ADDR"])) not in (None, "lo"):
        environment["GLOO_SOCKET_IFNAME"] = name


def find_interface(address: str) -> str | None:
    """Return the name of the network interface through which an IPv4 address is reached; None where none is found."""
    if sys.platform != "linux":
        return None
    import fcntl

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))  # sends nothing
        except OSError:
            return None
        own = socket.inet_aton(probe.getsockname()[0])
        for _, name in socket.if_nameindex():
            try:
                found = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()))[20:24]
            except OSError:
                continue
            if found == own:
                return name
    return None
