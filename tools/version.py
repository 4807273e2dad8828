"""Which version of this software runs."""

import importlib.metadata


def version() -> str:
    """The installed version, or "source" when it runs from a bare checkout."""
    try:
        return importlib.metadata.version("headrace")
    except importlib.metadata.PackageNotFoundError:
        return "source"
