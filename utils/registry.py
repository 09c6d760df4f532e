"""Registry that maps the names used in config files to classes and their config sections."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from utils.errors import UsageError

ConfigT = TypeVar("ConfigT")
ClassT = TypeVar("ClassT")


@dataclass(frozen=True)
class Entry(Generic[ConfigT, ClassT]):
    """A registered class and its typed config section."""

    config_class: type[ConfigT]
    built_class: type[ClassT]


class Registry(Generic[ConfigT, ClassT]):
    """Name -> `Entry`. A class registers its name in the file that defines it."""

    def __init__(self, kind: str) -> None:
        """Create an empty registry. `kind` is used in error messages, for example "model"."""
        self.kind = kind
        self._entries: dict[str, Entry[ConfigT, ClassT]] = {}

    def register(self, name: str, config_class: type[ConfigT]) -> Callable[[type[ClassT]], type[ClassT]]:
        """Register the decorated class under `name`.

        Raises:
            ValueError: the name is already registered.
        """

        def decorate(built_class: type[ClassT]) -> type[ClassT]:
            if name in self._entries:
                raise ValueError(f"two {self.kind}s are registered as {name!r}")
            self._entries[name] = Entry(config_class, built_class)
            return built_class

        return decorate

    def unregister(self, name: str) -> None:
        """Remove a name, for example in a test that registered it.

        Raises:
            KeyError: the name is not registered.
        """
        del self._entries[name]

    def get(self, name: str) -> Entry[ConfigT, ClassT]:
        """Return the entry of `name`.

        Raises:
            UsageError: unknown name. The message suggests the nearest name and lists all names.
        """
        if not isinstance(name, str) or name not in self._entries:
            near = difflib.get_close_matches(str(name), self._entries, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise UsageError(f"unknown {self.kind} {name!r}{hint} (registered: {', '.join(sorted(self._entries))})")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in alphabetical order."""
        return iter(sorted(self._entries))
