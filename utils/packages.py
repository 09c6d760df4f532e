"""Optional packages: whether they are installed, and where, without importing them."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def is_installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def package_folder(package: str) -> Path:
    """Return the folder of a package without importing it, since its code may need packages that are missing.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return Path(spec.submodule_search_locations[0])
