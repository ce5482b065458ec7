"""The score table on disk: a Parquet row per image, patch grids beside, written and read as a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from uad_orchestrator.datasets.manifest import Split
from uad_orchestrator.detectors.protocol.stages import Response
from uad_orchestrator.embedders.protocol import Region
from uad_orchestrator.images.tiles import TileGrid

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SCORES = "scores.parquet"
PATCH_GRIDS = "patch_grids.parquet"
ROWS_PER_GROUP = 64
"""Rows held before they are written: what bounds the memory of writing and reading."""

Role = Split | Literal["calibration"]
"""What an image is there for: its split, where it is scored; or a normal that sets the threshold."""


@dataclass(frozen=True)
class ScoreRow:
    """One image of a score table; the fields of ``Response`` without the grid, and what the image is.

    Attributes:
        image: its name, the path relative to the dataset's root.
        role: ``test``; a split without labels, which no metric is taken of; or ``calibration``: a normal that
            sets the threshold.
        label: 0 normal, 1 anomalous, -1 where none is published.
        defect_type: ``good`` for normals, ``unknown`` without a label.
        score: image score, float; higher is more anomalous.
        grid_shape: ``(gh, gw)`` of its patch grid, or of each tile's; None where the model gives no map.
        region: part of the image, or of each tile, that the grid covers, in pixels.
        original_size: ``(H, W)`` in pixels.
        input_size: ``(h, w)`` of the region at the model's input, in pixels.
        seconds: time from file to score.
    """

    image: str
    role: Role
    label: int
    defect_type: str
    score: float
    grid_shape: tuple[int, int] | None
    region: Region
    original_size: tuple[int, int]
    input_size: tuple[int, int]
    seconds: float

    @property
    def map_folder(self) -> str:
        """Where its map lies in the cell's map set: below its defect type, or its split if it has no label."""
        return self.defect_type if self.role == "test" else self.role


class ScoreWriter:
    """Writes ``scores.parquet`` and ``patch_grids.parquet`` into a directory, one response at a time.

    Use it as a context manager; the files are complete when it is left.
    """

    def __init__(self, directory: Path) -> None:
        import pyarrow.parquet as pq

        scores, grids = _schemas()
        self._scores = pq.ParquetWriter(directory / SCORES, scores)
        self._grids = pq.ParquetWriter(directory / PATCH_GRIDS, grids)
        self._rows: list[dict[str, Any]] = []
        self._patches: list[dict[str, Any]] = []

    def add(self, response: Response, *, role: Role, label: int = 0, defect_type: str = "good") -> ScoreRow:
        """Append a response; returns its row.

        Raises:
            ValueError: a score or a patch score is NaN or infinite; names the image.
        """
        given = response.patch_grid
        grid = None if given is None else np.ascontiguousarray(given, dtype=np.float32)
        if not (np.isfinite(response.score) and (grid is None or np.isfinite(grid).all())):
            raise ValueError(
                f"{response.name}: its scores hold NaN or infinity; nothing can be measured on them"
            )
        row = ScoreRow(
            image=response.name,
            role=role,
            label=label,
            defect_type=defect_type,
            score=float(response.score),
            grid_shape=None if grid is None else (grid.shape[-2], grid.shape[-1]),
            region=response.region,
            original_size=response.original_size,
            input_size=response.input_size,
            seconds=response.seconds,
        )
        self._rows.append({k: list(v) if isinstance(v, tuple) else v for k, v in asdict(row).items()})
        patches = None if grid is None else grid.ravel()
        tiles = None if response.tiles is None else asdict(response.tiles)
        self._patches.append({"image": row.image, "role": role, "patch_grid": patches, "tiles": tiles})
        if len(self._rows) >= ROWS_PER_GROUP:
            self._flush()
        return row

    def close(self) -> None:
        """Write what is left and finish both files."""
        self._flush()
        self._scores.close()
        self._grids.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            scores, grids = _schemas()
            self._scores.write_table(pa.Table.from_pylist(self._rows, scores))
            self._grids.write_table(pa.Table.from_pylist(self._patches, grids))
        self._rows, self._patches = [], []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_scores(directory: Path) -> list[ScoreRow]:
    """All rows of a score table, in the order in which they were written."""
    with _open(directory / SCORES, _schemas()[0]) as scores:
        return [_row(values) for values in scores.read().to_pylist()]


def read_responses(directory: Path, role: Role | None = None) -> Iterator[tuple[ScoreRow, Response]]:
    """Rows with their responses, of all images or of one role, in the order in which they were written."""
    of_scores, of_grids = _schemas()
    with _open(directory / SCORES, of_scores) as scores, _open(directory / PATCH_GRIDS, of_grids) as grids:
        for group in range(scores.num_row_groups):
            rows = scores.read_row_group(group).to_pylist()
            patches = grids.read_row_group(group)
            tiled = "tiles" in patches.column_names
            tiles = patches.column("tiles").to_pylist() if tiled else [None] * len(rows)
            for values, patch, places in zip(rows, patches.column("patch_grid"), tiles, strict=True):
                row = _row(values)
                if role in (None, row.role):
                    scores_of_patches = None if row.grid_shape is None else patch.values.to_numpy()
                    yield row, _response(row, scores_of_patches, _tile_grid(places))


def _open(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    """A file of a score table, read in the types of ``schema``.

    Earlier files note for Arrow that their lists are of a fixed size, which pyarrow before 26 fails to read where
    a list is null. Only that note differs, not the columns: so it is read with a footer that has ours.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stored = pq.read_metadata(path)
    names = stored.schema.to_arrow_schema().names  # the first tables have no column ``tiles``
    empty = pa.BufferOutputStream()
    pq.ParquetWriter(empty, pa.schema([schema.field(name) for name in names])).close()
    footer = pq.read_metadata(pa.BufferReader(empty.getvalue()))
    footer.append_row_groups(stored)
    return pq.ParquetFile(path, metadata=footer)


def _row(values: dict[str, Any]) -> ScoreRow:
    pairs = {key: tuple(values[key]) for key in ("grid_shape", "original_size", "input_size") if values[key]}
    return ScoreRow(**{**values, **pairs, "region": Region(*values["region"])})


def _tile_grid(values: dict[str, Any] | None) -> TileGrid | None:
    if values is None:
        return None
    tops, lefts, size = (tuple(values[key]) for key in ("tops", "lefts", "size"))
    return TileGrid(tops, lefts, values["side"], size)


def _response(row: ScoreRow, patches: np.ndarray | None, tiles: TileGrid | None) -> Response:
    if patches is not None and row.grid_shape is not None:
        patches = patches.reshape(row.grid_shape if tiles is None else (len(tiles), *row.grid_shape))
    return Response(
        name=row.image,
        score=row.score,
        patch_grid=patches,
        region=row.region,
        original_size=row.original_size,
        input_size=row.input_size,
        seconds=row.seconds,
        tiles=tiles,
    )


def _schemas() -> tuple[pa.Schema, pa.Schema]:
    import pyarrow as pa

    integers = pa.list_(pa.int32())
    scores = pa.schema(
        [
            ("image", pa.string()),
            ("role", pa.string()),
            ("label", pa.int8()),
            ("defect_type", pa.string()),
            ("score", pa.float64()),
            ("grid_shape", integers),
            ("region", pa.list_(pa.float64())),
            ("original_size", integers),
            ("input_size", integers),
            ("seconds", pa.float64()),
        ]
    )
    tiles = pa.struct([("tops", integers), ("lefts", integers), ("side", pa.int32()), ("size", integers)])
    grids = pa.schema(
        [
            ("image", pa.string()),
            ("role", pa.string()),
            ("patch_grid", pa.list_(pa.float32())),
            ("tiles", tiles),
        ]
    )
    return scores, grids
