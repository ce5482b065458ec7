"""Commands ``uad import FORMAT``: annotation files of other tools become masks and a manifest."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from uad_orchestrator.cli.terminal.options import Home, Json
from uad_orchestrator.cli.terminal.output import WRONG_USAGE, note, print_json, speaking

if TYPE_CHECKING:
    from uad_orchestrator.datasets.annotations import ImportedAnnotations
    from uad_orchestrator.datasets.problems import DatasetError

imports = typer.Typer(
    name="import",
    help="Write masks and a manifest from annotation files; nothing is written where anything is wrong.",
    no_args_is_help=True,
)

Sources = Annotated[list[Path], typer.Argument(help="Annotation files, or folders that hold them.")]
Images = Annotated[
    Path | None,
    typer.Option(
        help="The images' folder.",
        show_default="the folder of the annotations; the one above a split's folder",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(help="Where manifest.jsonl and imported_masks go.", show_default="to the images"),
]
Category = Annotated[
    str | None, typer.Option(help="What the images show.", show_default="the name of the images' folder")
]
Normal = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORD", help="A category that means a normal image, beside good, normal, ok; several times."
    ),
]
Train = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB",
        help="Normals to fit on, by their path below the images' folder; all others are tested. Several times.",
        show_default="as annotations and folders say",
    ),
]
TrainShare = Annotated[
    float,
    typer.Option(help="Of the normals of which no split is said, how many are fitted.", min=0.01, max=0.99),
]
Unlisted = Annotated[bool, typer.Option(help="Images that no annotation speaks of are normal, or left out.")]
RectanglesAreBoxes = Annotated[
    bool,
    typer.Option(
        "--rectangles-are-boxes", help="Polygons of four right angles were drawn as boxes: no masks."
    ),
]
Clip = Annotated[bool, typer.Option("--clip", help="Cut shapes off at the image's border.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace what was imported of the category before.")]

_FORMATS = {
    "coco": "COCO's JSON: polygons, run lengths, boxes.",
    "labelme": "labelme's JSON files, one per image.",
    "yolo": "YOLO's text files with data.yaml: boxes and polygons.",
    "voc": "Pascal VOC's XML files, one per image.",
    "csv": "A CSV table: image, label, and a box or polygon.",
}


def _add(kind: str, text: str) -> None:
    """The command of one format; all have the same options."""

    def command(  # noqa: PLR0913, PLR0917 - a parameter per option
        annotations: Sources,
        images: Images = None,
        output: Output = None,
        category: Category = None,
        normal: Normal = None,
        train: Train = None,
        train_share: TrainShare = 0.7,
        unlisted: Unlisted = True,
        rectangles_are_boxes: RectanglesAreBoxes = False,
        clip: Clip = False,
        replace: Replace = False,
        home: Home = None,
        as_json: Json = False,
    ) -> None:
        from uad_orchestrator.datasets.annotations import ImportSettings, import_annotations
        from uad_orchestrator.datasets.problems import DatasetError

        settings = ImportSettings(
            tuple(normal or ()), tuple(train or ()), train_share, unlisted, rectangles_are_boxes, clip
        )
        with speaking():
            try:
                found = import_annotations(
                    kind,
                    annotations,
                    images=images,
                    output=output,
                    category=_category(category, images, annotations),
                    settings=settings,
                    replace=replace,
                )
            except DatasetError as error:
                _fail(error, as_json)
            except ImportError as error:
                note(f"Error: {error}")
                raise typer.Exit(WRONG_USAGE) from error
        lines = _project_lines(found, home)
        if as_json:
            print_json(_to_json(found, lines))
        else:
            _show(found, lines)

    imports.command(kind, help=text)(command)


def _category(given: str | None, images: Path | None, sources: list[Path]) -> str:
    """The category's name; wrong usage where it can be none."""
    from uad_orchestrator.datasets.annotations import images_folder
    from uad_orchestrator.project.parsing.names import name_fault

    name = given or Path(os.path.abspath(images or images_folder(sources))).name  # noqa: PTH100 - links stay
    if fault := name_fault(name):
        note(f"Error: the category {name!r} {fault}; give another with --category")
        raise typer.Exit(WRONG_USAGE)
    return name


def _fail(error: DatasetError, as_json: bool) -> NoReturn:
    """Every fault, not only the first ones."""
    from uad_orchestrator.storage.file_names import printable

    problems = error.problems
    if as_json:
        faults = [{"file": problem.path, "message": problem.message} for problem in problems]
        print_json({"faults": faults or [{"file": None, "message": str(error)}]})
    note(f"Error: {str(error).splitlines()[0]}")
    for problem in problems:
        note(printable(f"  {problem}"))
    if problems:
        note(f"{len(problems)} faults; nothing was written")
    raise typer.Exit(WRONG_USAGE) from error


def _show(found: ImportedAnnotations, lines: str) -> None:
    from uad_orchestrator.storage.file_names import printable

    typer.echo(f"{found.manifest}: {sum(found.counts.values())} images of {found.category}")
    splits: dict[str, list[str]] = defaultdict(list)
    for (split, defect), n in sorted(found.counts.items(), key=lambda item: (item[0][1] != "good", item[0])):
        splits[split].append(f"{n} {defect}")
    for split in ("train", "validation", "test"):
        if split in splits:
            typer.echo(f"  {split:<11}{', '.join(splits[split])}")
    typer.echo(f"{found.masks} masks in {found.masks_folder}")
    if found.boxed:
        shown = ", ".join(found.boxed[:3]) + (" ..." if len(found.boxed) > 3 else "")
        typer.echo(
            f"{len(found.boxed)} defective images without a mask, in image metrics only: {printable(shown)}"
        )
    for said in found.notes:
        typer.echo(printable(f"note: {said}"))
    typer.echo(f"\nFor uad.yaml:\n\n{lines}")


def _to_json(found: ImportedAnnotations, lines: str) -> dict[str, object]:
    return {
        "manifest": str(found.manifest),
        "category": found.category,
        "images": [
            {"split": split, "defect_type": defect, "n": n}
            for (split, defect), n in sorted(found.counts.items())
        ],
        "masks": found.masks,
        "without_mask": list(found.boxed),
        "notes": list(found.notes),
        "uad_yaml": lines,
    }


def _project_lines(found: ImportedAnnotations, home: Path | None) -> str:
    """What to paste into uad.yaml; paths there are relative to its folder."""
    import yaml

    from uad_orchestrator.project.parsing.names import name_fault

    base = Path(os.path.abspath(home or "."))  # noqa: PTH100 - links stay

    def path(absolute: Path) -> str:
        return absolute.relative_to(base).as_posix() if absolute.is_relative_to(base) else str(absolute)

    entry: dict[str, object] = {"layout": "manifest", "root": path(found.manifest)}
    if found.outside is not None:
        entry["roots"] = [str(found.outside)]  # absolute: relative ones would be below the manifest's folder
    name = found.manifest.parent.name
    name = found.category if name_fault(name) else name
    return yaml.safe_dump({"datasets": {name: entry}}, sort_keys=False, allow_unicode=True)


for _kind, _text in _FORMATS.items():
    _add(_kind, _text)
