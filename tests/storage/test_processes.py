"""A process is known by its number and its start."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys

import pytest

from uad_orchestrator.storage.processes import is_alive, is_visible, this_place, this_process


def test_a_process_lives_until_it_ends_and_its_number_is_nobody_elses() -> None:
    assert is_alive(this_process())
    pid, started, *_ = this_process().split(".")
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


def test_a_container_of_the_same_name_is_another_place() -> None:
    host, process = socket.gethostname(), this_process()
    assert is_visible(host, process)
    assert is_visible(host, "77.1790000000") and is_visible(host, "77"), "earlier versions noted no place"
    assert not is_visible("elsewhere", process)
    if this_place():
        assert not is_visible(host, process[:-8] + "0" * 8)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare (Linux)")
def test_a_process_namespace_of_its_own_has_another_name() -> None:
    say = f"{sys.executable} -c 'from uad_orchestrator.storage.processes import this_place; print(this_place())'"
    same = subprocess.run(["sh", "-c", say], capture_output=True, text=True, check=True)
    assert same.stdout.strip() == this_place()
    apart = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "sh", "-c", say],
        capture_output=True,
        text=True,
        check=False,
    )
    if apart.returncode:
        pytest.skip(f"no namespaces may be made here: {apart.stderr.strip()}")
    assert len(apart.stdout.strip()) == 8
    assert apart.stdout.strip() != this_place()
