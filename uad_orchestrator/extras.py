"""Optional packages, asked for before they are imported, so that the message can say how to get them."""

from __future__ import annotations

from importlib.util import find_spec


def require_extra(*modules: str, extra: str, what: str) -> None:
    """Check that packages are installed, without importing them.

    Raises:
        ImportError: one is missing; the message has the pip line to type.
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise ImportError(
            f"{what} needs {', '.join(missing)}, not installed here: pip install 'uad_orchestrator[{extra}]'"
        )
