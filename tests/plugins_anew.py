"""What packages are installed is read once in a process: tests that install some have it read again."""

from uad_orchestrator import plugins


def look_again() -> None:
    """As a new process does."""
    plugins._entry_points.cache_clear()
    plugins._offers.cache_clear()
