"""A process is known by its number and its start."""

from __future__ import annotations

import os
import subprocess
import sys

from uad_orchestrator.storage.processes import is_alive, this_process


def test_a_process_lives_until_it_ends_and_its_number_is_nobody_elses() -> None:
    assert is_alive(this_process())
    pid, _, started = this_process().partition(".")
    assert int(pid) == os.getpid()
    assert not is_alive(f"{pid}.{int(started) - 3600}"), "a later process has the number"
    assert is_alive(pid), "an earlier version noted no start"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(str(child.pid))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(str(child.pid)), "it ended, though nobody has waited for it"
    child.communicate()
    assert not is_alive(str(child.pid)) and not is_alive("77x")
