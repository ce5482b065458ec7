"""``uad serve``: a bundle behind HTTP."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from uad_orchestrator.cli.infer import BitDepth, Device, SignedBy, Trust, Weights, inspecting
from uad_orchestrator.cli.terminal.options import Mqtt, Record, RecordMebibytes, Webhook
from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note
from uad_orchestrator.cli.terminal.ports import require_free_port

MEBIBYTE = 2**20


class LogFormat(StrEnum):
    """What goes to standard error."""

    text = "text"
    json = "json"


def serve(  # noqa: PLR0913, PLR0917 - a command's options
    bundle: Annotated[Path, typer.Option(help="The bundle's folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token that every request has to bring (Bearer).")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate (PEM): HTTPS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine without a token.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None, typer.Option(help="A further name that requests may ask for, as a proxy does.")
    ] = None,
    max_mebibytes: Annotated[float, typer.Option(min=0.001, help="Largest request.")] = 32,
    max_held_mebibytes: Annotated[float, typer.Option(min=0.001, help="All requests under way.")] = 512,
    max_megapixels: Annotated[float, typer.Option(min=0.001, help="Largest image, decoded.")] = 50,
    max_requests: Annotated[int, typer.Option(min=1, help="Images that wait at once.")] = 128,
    batch_size: Annotated[int, typer.Option(min=1, help="Waiting images inspected together.")] = 32,
    header_seconds: Annotated[float, typer.Option(min=0.1, help="For a request's header to arrive.")] = 10,
    body_seconds: Annotated[
        float, typer.Option(min=0.1, help="For its body to arrive, and its answer to be taken.")
    ] = 60,
    drain_seconds: Annotated[int, typer.Option(min=1, help="For requests under way, on SIGTERM.")] = 20,
    log_format: Annotated[
        LogFormat, typer.Option(help="text: warnings and faults; json: every request, too.")
    ] = LogFormat.text,
    weights: Weights = None,
    trust: Trust = None,
    require_signature: SignedBy = None,
    device: Device = "auto",
    bit_depth: BitDepth = None,
    record: Record = None,
    record_mebibytes: RecordMebibytes = 1024,
    webhook: Webhook = None,
    mqtt: Mqtt = None,
) -> None:
    """Answer HTTP: POST an image to /infer; GET /health, GET /metrics. Only this machine, unless --host says more."""
    with inspecting():
        from uad_orchestrator.inference.bundle_files import load_bundle
        from uad_orchestrator.inference.line_output import LineTargets, line_output
        from uad_orchestrator.inference.service.access import Access, is_local, local_hosts, read_token
        from uad_orchestrator.inference.service.http_app import create_app
        from uad_orchestrator.inference.service.limits import Limits
        from uad_orchestrator.inference.service.request_queue import RequestQueue
        from uad_orchestrator.inference.service.server import DrainingServer, Tls, server_config

        _check_usage(tls_cert, tls_key, open_to_all=not (is_local(host) or token_file or insecure), host=host)
        access = Access(
            token=None if token_file is None else read_token(token_file),
            hosts=local_hosts(host, tuple(allowed_host or ())),
        )
        tls = None if tls_cert is None or tls_key is None else Tls(tls_cert, tls_key)
        if access.token is not None and tls is None and not is_local(host):
            note("Without --tls-cert and --tls-key the token can be read on the network.")
        require_free_port(host, port)
        model = load_bundle(bundle, weights=weights, trusted=trust or (), signed_by=require_signature)
        model = replace(model, reading=model.reading.changed(bit_depth))
        limits = Limits(
            body_bytes=int(max_mebibytes * MEBIBYTE),
            held_bytes=int(max_held_mebibytes * MEBIBYTE),
            pixels=int(max_megapixels * 1e6),
            requests=max_requests,
            header_seconds=header_seconds,
            body_seconds=body_seconds,
            drain_seconds=drain_seconds,
        )
        review = model.calibration.review_point
        with (
            line_output(model, LineTargets(record, record_mebibytes, webhook, mqtt)) as line,
            RequestQueue(model.detector(device), batch_size, review, line is not None) as requests,
        ):
            app = create_app(model, requests, limits, access, line)
            note(f"{'http' if tls is None else 'https'}://{host}:{port}/infer (Ctrl-C stops it)")
            config = server_config(app, host, port, limits, tls=tls, log=log_format.value)
            with suppress(KeyboardInterrupt):  # the server has drained
                DrainingServer(config, drain_seconds, line).run()


def _check_usage(tls_cert: Path | None, tls_key: Path | None, *, open_to_all: bool, host: str) -> None:
    wrong = None
    if (tls_cert is None) != (tls_key is None):
        wrong = "--tls-cert and --tls-key belong together"
    if open_to_all:
        wrong = (
            f"--host {host} lets others than this machine ask: give --token-file, or --insecure where something else "
            "decides who may"
        )
    if wrong:
        note(f"Error: {wrong}")
        raise typer.Exit(WRONG_USAGE)
