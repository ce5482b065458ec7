"""``python -m tests.faults``: kills, damaged inputs, load, long times and long histories; exit status 1 on any fault.

Every part is told how much to try; each says what was tried, what came of it, and how to repeat what did not hold.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.faults.history import try_history
from tests.faults.inputs import try_inputs
from tests.faults.kills import try_kills
from tests.faults.load import try_load
from tests.faults.outcomes import Tally
from tests.faults.ticks import try_ticks

PARTS: dict[str, tuple[Callable[..., Tally], type, str]] = {
    "kills": (try_kills, int, "refreshes that are killed while the project changes"),
    "inputs": (try_inputs, int, "damaged images, project files, weight files, bundles, artifacts, stores"),
    "minutes": (try_load, float, "for which eight processes work at one project"),
    "hours": (try_ticks, float, "of a moved clock, for the ticks of sensors and schedule"),
    "materializations": (try_history, int, "recorded in one instance, before plan and UI are timed"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    for name, (_, kind, what) in PARTS.items():
        parser.add_argument(f"--{name}", type=kind, metavar="N", help=what)
    parser.add_argument("--seed", type=int, default=0, help="of the first try (default: 0)")
    arguments = parser.parse_args()
    asked = {name: getattr(arguments, name) for name in PARTS if getattr(arguments, name) is not None}
    if not asked:
        parser.error(f"say what to try: {', '.join(f'--{name}' for name in PARTS)}")
    faults = 0
    for name, amount in asked.items():
        with tempfile.TemporaryDirectory() as folder:
            tally = PARTS[name][0](amount, arguments.seed, Path(folder))
        print(tally, flush=True)
        faults += len(tally.faults)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
