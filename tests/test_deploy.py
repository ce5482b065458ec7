"""The unit and the Containerfiles, as text: their commands, paths and ports are ours, and they run as nobody special.

None is built here: no container engine is at hand.
"""

from __future__ import annotations

import configparser
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from uad_orchestrator.cli import app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "examples" / "deploy"
CONTAINERS = ("serve", "dagster")


def instructions(name: str) -> list[tuple[str, str]]:
    """Word and rest of each line of a Containerfile."""
    lines = (DEPLOY / f"{name}.Containerfile").read_text().splitlines()
    return [
        (word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word not in ("", "#")
    ]


def only(name: str, word: str) -> str:
    (found,) = [rest for each, rest in instructions(name) if each == word]
    return found


def options(arguments: list[str]) -> dict[str, Any]:
    """What a command of ours takes from these arguments; an error where it does not know them."""
    command: Any = get_command(app)
    words = list(arguments)
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return command.make_context("uad", words).params


def unit() -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / "uad-serve.service")
    assert parser.sections() == ["Unit", "Service", "Install"]
    return dict(parser["Service"])


def test_the_unit_starts_our_command_for_this_machine_alone() -> None:
    program, *arguments = shlex.split(unit()["ExecStart"])
    given = options(arguments)
    assert program == "/opt/uad/bin/uad"
    assert (given["host"], given["port"], str(given["bundle"])) == ("127.0.0.1", 8000, "/srv/uad/bundle")
    assert int(unit()["TimeoutStopSec"]) > given["drain_seconds"]


def test_the_unit_is_hardened() -> None:
    said = unit()
    assert said["DynamicUser"] == "yes" and "User" not in said
    for option in ("NoNewPrivileges", "PrivateTmp", "PrivateDevices", "ProtectHome", "RestrictSUIDSGID"):
        assert said[option] == "yes", option
    assert (said["ProtectSystem"], said["CapabilityBoundingSet"]) == ("strict", "")
    assert said["Environment"] == f"HOME=/var/cache/{said['CacheDirectory']}", "nothing else can be written"


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_runs_our_command_and_not_as_root(name: str) -> None:
    program, *arguments = json.loads(only(name, "ENTRYPOINT"))
    given = options(arguments)
    assert program == "uad" and str(given["port"]) == only(name, "EXPOSE")
    uid = only(name, "USER")
    assert uid.isdigit() and int(uid) > 0 and f"--uid {uid} " in only(name, "RUN")
    words = [word for word, _ in instructions(name)]
    assert words.index("RUN") < words.index("USER") < words.index("ENTRYPOINT")


def test_the_service_in_a_container_asks_for_a_token() -> None:
    given = options(json.loads(only("serve", "ENTRYPOINT"))[1:])
    assert given["host"] == "0.0.0.0" and not given["insecure"]
    text = (DEPLOY / "serve.Containerfile").read_text()
    assert str(given["token_file"]) == "/run/secrets/uad-token" and "--secret uad-token" in text
    assert f":{given['bundle']}:ro" in text and f"127.0.0.1:8000:{given['port']}" in text


@pytest.mark.parametrize("name", CONTAINERS)
def test_what_a_container_copies_and_installs_is_there(name: str) -> None:
    for word, rest in instructions(name):
        if word == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1]), rest
    (extra,) = re.findall(r"'\.\[(\w+)\]'", only(name, "RUN"))
    assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    python = only(name, "FROM").rpartition(":")[2].removesuffix("-slim")
    assert f'requires-python = ">={python}"' in (ROOT / "pyproject.toml").read_text()


def test_the_page_says_that_they_were_not_built() -> None:
    page = (ROOT / "docs" / "how-to" / "deploying.md").read_text()
    assert "was not built" in page.replace("were", "was")
    assert all(f"examples/deploy/{path.name}" in page for path in DEPLOY.iterdir())
