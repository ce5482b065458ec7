"""Pipes, sockets and devices are named, never opened."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from uad_orchestrator.storage.digests import DigestCache, file_digest
from uad_orchestrator.storage.regular_file import NotRegularFile, open_regular, read_regular


@pytest.fixture(params=["pipe", "socket", "device", "link to a device"])
def odd(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "odd.png"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "socket":
        monkeypatch.chdir(tmp_path)  # the name of a socket is short
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind("odd.png")
    elif request.param == "device":
        return Path("/dev/zero")
    else:
        path.symlink_to("/dev/zero")
    return path


def test_what_is_no_file_is_named(odd: Path, tmp_path: Path) -> None:
    for read in (open_regular, read_regular, file_digest, DigestCache(tmp_path / "digests.sqlite")):
        with pytest.raises(NotRegularFile, match=rf"{odd.name} is a .*only regular files are read"):
            read(odd)


def test_a_file_behind_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert read_regular(tmp_path / "link") == b"abc"
    with open_regular(tmp_path / "link") as stream:
        assert stream.read() == b"abc"
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "gone")
