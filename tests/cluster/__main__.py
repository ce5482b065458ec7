"""``python -m tests.cluster``: three Ray nodes, a bucket and PostgreSQL on this machine, and what must hold there.

Takes about a quarter of an hour; exit status 1 on any fault.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.cluster.trials import TRIALS, try_all


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    parser.add_argument("trials", nargs="*", help=f"which; all by default: {', '.join(TRIALS)}")
    chosen = parser.parse_args().trials or list(TRIALS)
    if unknown := set(chosen) - set(TRIALS):
        parser.error(f"no trial {', '.join(sorted(unknown))}; there are {', '.join(TRIALS)}")
    table, faults = Table("tried", "seconds", "faults", show_lines=True), 0
    with tempfile.TemporaryDirectory() as folder:
        for outcome in try_all(Path(folder), [TRIALS[name] for name in chosen]):
            print(f"{outcome.what}: {'; '.join(outcome.faults) or 'holds'}", flush=True)
            table.add_row(outcome.what, f"{outcome.seconds:.0f}", "\n".join(outcome.faults) or "none")
            faults += len(outcome.faults)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
