"""``uad serve``: a bundle behind HTTP."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.infer import BitDepth, Device, Trust, Weights, inspecting
from uad_orchestrator.cli.terminal.output import note
from uad_orchestrator.cli.terminal.ports import require_free_port

MEBIBYTE = 2**20


def serve(  # noqa: PLR0913, PLR0917 - a command's options
    bundle: Annotated[Path, typer.Option(help="The bundle's folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    max_mebibytes: Annotated[float, typer.Option(min=0.001, help="Largest request.")] = 32,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Largest image, decoded.")] = 50,
    max_requests: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 128,
    weights: Weights = None,
    trust: Trust = None,
    device: Device = "auto",
    bit_depth: BitDepth = None,
) -> None:
    """Answer HTTP: POST an image to /infer; GET /health, GET /metrics. Only this machine, unless --host says more."""
    with inspecting():
        import uvicorn

        from uad_orchestrator.inference.bundle_files import load_bundle
        from uad_orchestrator.inference.http_app import Limits, create_app
        from uad_orchestrator.inference.request_queue import RequestQueue

        require_free_port(host, port)
        model = load_bundle(bundle, weights=weights, trusted=trust or ())
        model = replace(model, reading=model.reading.changed(bit_depth))
        limits = Limits(int(max_mebibytes * MEBIBYTE), int(max_megapixels * 1e6), max_requests)
        with RequestQueue(model.detector(device, batch_size=1)) as requests:
            note(f"http://{host}:{port}/infer (Ctrl-C stops it)")
            uvicorn.run(create_app(model, requests, limits), host=host, port=port, log_level="warning")
