"""Base class of all config sections: typed, frozen, and strict about unknown keys."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class Section(BaseModel):
    """A config section. Unknown keys are errors, and a validated section is immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @classmethod
    def known_keys(cls) -> list[str]:
        """Return the valid keys, for error messages."""
        return list(cls.model_fields)


def section_at(section: type[Section], path: tuple[str | int, ...]) -> type[Section] | None:
    """Return the section class at `path`, relative to `section`, or `None` if there is none."""
    for key in path:
        field = section.model_fields.get(str(key))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, Section)):
            return None
        section = annotation
    return section


def describe_problems(error: ValidationError, section: type[Section], prefix: str = "") -> list[str]:
    """Return one line per validation problem: dotted path, value, expected value, and the nearest valid key.

    Args:
        error: the validation error.
        section: the validated section class, which defines the valid keys.
        prefix: dotted path of the section within the whole config, for example "model.".
    """
    lines = []
    for problem in error.errors():
        path = problem["loc"]
        dotted = prefix + ".".join(str(part) for part in path)
        if problem["type"] == "extra_forbidden":
            owner = section_at(section, path[:-1])
            names = owner.known_keys() if owner else []
            near = difflib.get_close_matches(str(path[-1]), names, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"valid keys: {', '.join(names)}"
            lines.append(f"{dotted}: unknown key; {hint}")
        elif problem["type"] == "missing":
            lines.append(f"{dotted}: required, but absent")
        else:
            lines.append(f"{dotted}: got {shorten(problem['input'])}; {problem['msg'][0].lower()}{problem['msg'][1:]}")
    return lines


def shorten(value: Any, limit: int = 60) -> str:
    """Return `repr(value)`, truncated to `limit` characters."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."
