"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.terminal.completion import complete_asset, complete_category, complete_detector

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of uad.yaml.", envvar="UAD_HOME", show_default="the current folder"),
]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        metavar="GLOB",
        help="Only these categories: a glob over dataset/category, or over category; several times.",
        autocompletion=complete_category,
        show_default="all",
    ),
]
Detectors = Annotated[
    list[str] | None,
    typer.Option(
        "--detector",
        metavar="GLOB",
        help="Only these detectors: a glob; several times.",
        show_default="all",
        autocompletion=complete_detector,
    ),
]
Asset = Annotated[str | None, typer.Option(help="Only this asset.", autocompletion=complete_asset)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object to standard output.")]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes.", show_default="runtime.workers of uad.yaml")
]
Record = Annotated[
    Path | None,
    typer.Option(
        "--record", metavar="DIR", help="Record each image's result here.", show_default="not recorded"
    ),
]
RecordMebibytes = Annotated[
    float,
    typer.Option(
        min=0, help="Pictures and maps of rejected and reviewed parts that are kept there; 0: none."
    ),
]
Webhook = Annotated[
    str | None,
    typer.Option(
        metavar="URL", help="POST each result there as JSON.", envvar="UAD_WEBHOOK", show_default="none"
    ),
]
Mqtt = Annotated[
    str | None,
    typer.Option(
        metavar="[mqtts://]HOST[:PORT]/TOPIC", help="Publish each result there.", show_default="none"
    ),
]
Rehash = Annotated[bool, typer.Option(help="Read every file again, whatever is remembered of it.")]
