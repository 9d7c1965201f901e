"""A port that was given out is nobody else's."""

import subprocess
import sys

from baton_local import process
from baton_local.process import free_ports

GIVE_AND_WAIT = """
from baton_local.process import free_ports
print(*free_ports(200), flush=True)
input()
"""


def test_a_port_is_given_to_one_asker_only_while_nobody_listens_on_it_yet() -> None:
    given = [port for _ in range(400) for port in free_ports(3)]

    assert len(set(given)) == len(given) == 1_200


def test_a_port_is_given_to_one_process_only() -> None:
    command = [sys.executable, "-c", GIVE_AND_WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = {int(port) for port in other.stdout.readline().split()}
        ours = set(free_ports(1_900))
        other.stdin.close()
        other.wait(timeout=10)

    assert len(theirs) == 200
    assert not theirs & ours


def test_the_claims_of_a_long_run_do_not_use_up_the_ports() -> None:
    for _ in range(13):
        free_ports(1_000)

    assert len(process._claims) <= 2_000
