"""``uad threshold``: choose an operating point, look at what it does, and pin it in uad.yaml."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from uad_orchestrator.cli.terminal.completion import complete_category, complete_detector
from uad_orchestrator.cli.terminal.options import Home, Json
from uad_orchestrator.cli.terminal.output import FAILED, WRONG_USAGE, note, print_json, speaking
from uad_orchestrator.cli.terminal.selecting import select_one
from uad_orchestrator.cli.terminal.user import logged_in_name

if TYPE_CHECKING:
    from uad_orchestrator.orchestration.services.threshold_choice import Choice, Side
    from uad_orchestrator.orchestration.versions.graph import Cell
    from uad_orchestrator.project import Project
    from uad_orchestrator.project.pinning import Of

SHOWN_IMAGES = 20


def threshold(  # noqa: PLR0913, PLR0917 - a command's options
    category: Annotated[
        str, typer.Argument(help="dataset/category, or the category.", autocompletion=complete_category)
    ],
    detector: Annotated[str, typer.Argument(help="The detector.", autocompletion=complete_detector)],
    fpr: Annotated[
        float | None,
        typer.Option(
            metavar="RATE", help="Take it from the normals by this false-positive rate, and follow them."
        ),
    ] = None,
    value: Annotated[float | None, typer.Option(metavar="X", help="This very threshold.")] = None,
    cost: Annotated[
        bool,
        typer.Option(
            "--cost", help="The cheapest by `costs` of uad.yaml. Reads test labels, and is marked so."
        ),
    ] = False,
    test_labels: Annotated[
        bool,
        typer.Option(
            "--test-labels", help="It was found by looking at test labels, as with the report's sliders."
        ),
    ] = False,
    clear: Annotated[
        bool, typer.Option("--clear", help="Back to the threshold calibrated on normals.")
    ] = False,
    pixel: Annotated[
        bool, typer.Option("--pixel", help="The threshold of map pixels, not of image scores.")
    ] = False,
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason.")] = "",
    by: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Who chooses.", show_default="the name you are logged in by"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what it does.")] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Pin the threshold of a cell in uad.yaml, with who, when and why; nothing is scored again."""
    from pydantic import ValidationError

    from uad_orchestrator.orchestration.cells.cell_run import CellRun
    from uad_orchestrator.orchestration.services.threshold_choice import ChoiceError, choose
    from uad_orchestrator.orchestration.versions.stores import open_state, open_store
    from uad_orchestrator.project.load import open_project
    from uad_orchestrator.project.pinning import PinningError, write_pin

    if sum((fpr is not None, value is not None, cost, clear)) != 1:
        note("Error: say which threshold: one of --fpr RATE, --value X, --cost and --clear")
        raise typer.Exit(WRONG_USAGE)
    if clear and (why or by is not None or test_labels):
        note("Error: --clear takes the entry out, so --why, --by and --test-labels have no place in it")
        raise typer.Exit(WRONG_USAGE)
    of: Of = "pixel" if pixel else "image"
    with speaking():
        project = open_project(home)
        cell = select_one(project, [category], [detector])
        run = CellRun(cell, open_state(project), open_store(project))
        try:
            chosen = choose(
                run,
                of,
                value=value,
                fpr=fpr,
                cheapest=cost,
                on_test_labels=test_labels,
                by=logged_in_name("chooses") if by is None else by,
                at=date.today(),
                why=why,
            )
            write_pin(project.home, cell.category, cell.detector, of, chosen.pin, dry_run=dry_run)
        except (ChoiceError, PinningError) as error:
            note(f"Error: {error}")
            raise typer.Exit(FAILED) from error
        except ValidationError as error:
            for fault in error.errors():
                option = {"threshold": "value"}.get(name := str(fault["loc"][0]), name)
                note(f"Error: --{option} is {fault['input']!r}: {fault['msg']}")
            raise typer.Exit(WRONG_USAGE) from error
        if as_json:
            print_json(_json(cell, of, chosen, written=not dry_run))
        else:
            typer.echo("\n".join(_lines(cell, of, chosen)))
            note("nothing was written" if dry_run else _said(project, cell, of, chosen))


def _said(project: Project, cell: Cell, of: Of, chosen: Choice) -> str:
    """What was written, and what to do next."""
    if chosen.pin is None and getattr(project.pins(cell.category, cell.detector), of) is None:
        return f"no {of} threshold is pinned for {cell}: nothing was changed"
    done = "does not have it any more" if chosen.pin is None else "has it now"
    narrow = f"--category '{cell.category}' --detector '{cell.detector}'"
    return f"{project.home / 'uad.yaml'} {done}: `uad refresh {narrow}` measures the cell anew"


def _json(cell: Cell, of: str, chosen: Choice, *, written: bool) -> dict[str, Any]:
    return {
        "category": cell.category,
        "detector": cell.detector,
        "of": of,
        "pin": None if chosen.pin is None else chosen.pin.model_dump(mode="json", exclude_defaults=True),
        "before": chosen.before.to_json(),
        "after": chosen.after.to_json(),
        "changed": {
            "above": [image for image, above in chosen.changed.items() if above],
            "below": [image for image, above in chosen.changed.items() if not above],
        },
        "written": written,
    }


def _lines(cell: Cell, of: str, chosen: Choice) -> Iterator[str]:
    yield f"{cell}: {of} threshold"
    for name, side in (("in use", chosen.before), ("chosen", chosen.after)):
        threshold = "none" if side.point.reason else f"{side.point.threshold:.6g}"
        yield f"  {name}  {threshold}  {side.point.source}"
        yield from (f"    {line}" for line in _outcome(side))
    for above, word in ((True, "now above it"), (False, "not above it any more")):
        images = [image for image, is_above in chosen.changed.items() if is_above == above]
        more = f", and {len(images) - SHOWN_IMAGES} more" if len(images) > SHOWN_IMAGES else ""
        if images:
            yield f"  {word}: {', '.join(images[:SHOWN_IMAGES])}{more}"


def _outcome(side: Side) -> Iterator[str]:
    if side.outcome is None:
        return
    told = side.to_json()
    for key, name, kind in (("false_alarms", "false alarms", "good"), ("misses", "misses", "defective")):
        found = told[key]
        if not found["of"]:
            yield f"{name}: no {kind} test images"
            continue
        low, high = found["interval"]
        line = f"{name}: {found['count']} of {found['of']} {kind} test images ({100 * low:.3g} to {100 * high:.3g} %)"
        thousand = found["per_1000_parts"]
        yield line if thousand is None else f"{line}, {thousand:.3g} per 1,000 parts"
    if told["expected_cost"] is not None:
        yield f"expected cost: {told['expected_cost']:.4g} per part"
