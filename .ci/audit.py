"""Known vulnerabilities of what constraints.txt pins, by pip-audit: found ones fail; what was not checked is said.

pip-audit itself ends well where its service answers of no package, as a mirror of PyPI does, and with a traceback
where it is out of reach.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

PIP_AUDIT = ("-m", "pip_audit", "--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json")
SECONDS = 120


def judge(dependencies: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
    """What is to be said of pip-audit's answer, and the exit status.

    Args:
        dependencies: those of its JSON: each with ``vulns``, or with ``skip_reason`` where it was not checked.
    """
    lines = list(_vulnerabilities(dependencies))
    skipped = [str(found["name"]) for found in dependencies if "skip_reason" in found]
    if skipped:
        shown = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
        lines.append(
            f"not checked: {len(skipped)} of {len(dependencies)} packages, of which the service knows nothing: {shown}"
        )
    if not dependencies:
        lines.append("not checked: there are no packages")
    known = any(found.get("vulns") for found in dependencies)
    lines.append(
        f"checked: {len(dependencies) - len(skipped)} packages; vulnerable: {'yes' if known else 'none known'}"
    )
    return lines, int(known)


def _vulnerabilities(dependencies: Sequence[dict[str, Any]]) -> Iterator[str]:
    for found in dependencies:
        for vulnerability in found.get("vulns", ()):
            mended = ", ".join(vulnerability.get("fix_versions", ())) or "no version yet"
            yield f"{found['name']} {found['version']}: {vulnerability['id']}, mended in {mended}"


def main(requirements: str) -> int:
    """Audit a file of pinned packages; prints what was found."""
    command = [sys.executable, *PIP_AUDIT, "--requirement", requirements]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        dependencies = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"not checked: pip-audit gave no answer within {SECONDS} s")
        return 0
    except (ValueError, KeyError):
        print(f"not checked: pip-audit gave no answer: {done.stderr.strip().splitlines()[-1:]}")
        return 0
    lines, status = judge(dependencies)
    print("\n".join(lines))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
