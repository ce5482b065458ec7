"""``python -m benchmarks [NAME ...] [--output FILE]``: run the benchmarks, print a table, write JSON.

Every module of this folder with a ``run() -> list[BenchmarkRow]`` is one. Exit status 1: a bar is missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks.rows import BenchmarkRow

FOLDER = Path(__file__).parent


def main() -> int:
    arguments = _arguments()
    rows: list[BenchmarkRow] = []
    skipped: dict[str, str] = {}
    for name in arguments.names or _modules():
        try:
            run = _runner(name)
            if run is None:
                continue
            print(f"running {name} ...", file=sys.stderr, flush=True)
            rows += run()
        except ImportError as error:
            skipped[name] = f"{error}; pip install '.[test]' has everything the benchmarks need"
            print(f"skipped {name}: {skipped[name]}", file=sys.stderr)
    _print_table(rows)
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(_as_json(rows, skipped), indent=1) + "\n")
    return 0 if all(row.passed for row in rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which to run; default all of: {', '.join(_modules())}")
    parser.add_argument("--output", type=Path, help="write the rows to this file as JSON")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(_modules())
    if unknown:
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(_modules())}")
    return arguments


def _modules() -> list[str]:
    return sorted(
        path.stem for path in FOLDER.glob("*.py") if "def run() -> list[BenchmarkRow]" in path.read_text()
    )


def _runner(name: str) -> Callable[[], list[BenchmarkRow]] | None:
    return getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)


def _print_table(rows: list[BenchmarkRow]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "case", "measure", "value", "bar", "", "details")
    for row in rows:
        sign = ">=" if row.better == "higher" else "<="
        details = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.details.items()
        )
        mark = "ok" if row.passed else "MISSED"
        table.add_row(
            row.benchmark,
            row.case,
            row.measure,
            f"{row.value:.3g} {row.unit}",
            f"{sign} {row.bar:g}",
            mark,
            details,
        )
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def _as_json(rows: list[BenchmarkRow], skipped: dict[str, str]) -> dict[str, object]:
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    return {
        "machine": machine,
        "rows": [asdict(row) | {"passed": row.passed} for row in rows],
        "skipped": skipped,
    }


if __name__ == "__main__":
    sys.exit(main())
