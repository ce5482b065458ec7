"""What became of each thing that was tried, and how to try it again."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """One try.

    Attributes:
        what: kind of the try, such as ``png: bits flipped``.
        came: kind of what came of it, such as ``named in an error``.
        seed: draws the same try again.
        fault: what did not hold; None where all did.
    """

    what: str
    came: str
    seed: int
    fault: str | None = None


@dataclass
class Tally:
    """The tries of one part.

    Attributes:
        part: the option of ``python -m tests.faults`` that asks for it.
        figures: measured beside, by name.
    """

    part: str
    outcomes: list[Outcome] = field(default_factory=list)
    figures: dict[str, str] = field(default_factory=dict)

    def add(self, outcome: Outcome) -> None:
        """Count a try; a fault is said at once, a long run need not be waited for."""
        self.outcomes.append(outcome)
        if outcome.fault is not None:
            print(self._line(outcome), flush=True)

    @property
    def faults(self) -> list[str]:
        """A line for each try that did not hold, with the command that repeats it."""
        return [self._line(outcome) for outcome in self.outcomes if outcome.fault is not None]

    def _line(self, outcome: Outcome) -> str:
        again = f"python -m tests.faults --{self.part} 1 --seed {outcome.seed}"
        return f"FAULT {outcome.what}: {outcome.fault} ({again})"

    def __str__(self) -> str:
        lines = [f"{self.part}: {len(self.outcomes)} tried, {len(self.faults)} faults"]
        counted = Counter((outcome.what, outcome.came) for outcome in self.outcomes)
        lines += [f"  {count:6} {what}: {came}" for (what, came), count in sorted(counted.items())]
        lines += [f"         {name}: {value}" for name, value in self.figures.items()]
        return "\n".join(lines)
