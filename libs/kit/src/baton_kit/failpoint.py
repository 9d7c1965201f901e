"""Named places where a process can be made to die, so that tests prove what survives."""

import os
import signal

_ARMED = os.environ.get("BATON_FAILPOINT", "")
_NAME, _, _AT = _ARMED.partition(":")
_left = int(_AT or 1)

SEEN = os.environ.get("BATON_FAILPOINTS_SEEN", "")
"""A file that collects the names of all failpoints that were passed: the list the crash suite walks."""
_seen: set[str] = set()


def failpoint(name: str) -> None:
    """Kill this process with SIGKILL if `BATON_FAILPOINT=name[:n]` is armed and this is the n-th pass."""
    global _left
    if SEEN and name not in _seen:
        _seen.add(name)
        with open(SEEN, "a") as file:  # noqa: PTH123 - one short append, kept as cheap as it can be
            file.write(f"{name}\n")
    if name == _NAME:
        _left -= 1
        if _left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
