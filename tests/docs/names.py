"""Find names in backticks that look like code of this repository and resolve them against an index of its code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.docs.code_index import SCOPES, Index, Module, class_members, used_names

SPAN = re.compile(r"(?<!`)(`{1,2})(?!`)([^`]+)\1(?!`)")
NAME = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(\(\))?$")
FILE = re.compile(r"^[\w./-]*\w\.(py|ya?ml|md|toml|cff|cfg|ini|csv|json|txt|html|pth|pt|npz|npy|parquet|svg|png|wav)$")
FOLDER = re.compile(r"^(utils|dataset|models|engine|benchmarks|tests|docs|cfg)/[\w./-]*$")
PACKAGES = {"utils", "dataset", "models", "engine", "benchmarks", "tests"}
FENCE = re.compile(r"^( *)```.*?^\1```", re.M | re.S)


@dataclass(frozen=True)
class Mention:
    """A text in backticks, its location, and the names valid there.

    Attributes:
        place: location as `file:line`.
        text: the text between the backticks.
        folder: folder of the file, relative to the root.
        scope: names that are valid without qualification.
    """

    place: str
    text: str
    folder: Path
    scope: frozenset[str] = frozenset()


def spans(text: str, first_line: int) -> Iterator[tuple[int, str]]:
    """Yield (line, content) of each code span; a span may contain a line break."""
    for match in SPAN.finditer(text):
        yield first_line + text.count("\n", 0, match.start()), " ".join(match.group(2).split())


def markdown_mentions(index: Index, path: Path) -> Iterator[Mention]:
    """Yield the code spans of a Markdown document outside fenced blocks; parameters of all functions are valid."""
    text = (index.root / path).read_text(encoding="utf-8")
    text = FENCE.sub(lambda match: re.sub(r"[^\n]", " ", match.group(0)), text)
    for line, content in spans(text, 1):
        yield Mention(f"{path}:{line}", content, path.parent, frozenset(index.parameters))


def scope_of(parents: list[ast.AST]) -> set[str]:
    """Return the names valid inside nested definitions, given from the outermost to the innermost.

    A function sees its own names; a class, and each of its methods, sees the members of the class and the parameters
    of its methods.
    """
    names: set[str] = set()
    for node in parents:
        names |= used_names(node)
        if isinstance(node, ast.ClassDef):
            names |= class_members(node)
    return names


def definitions(node: ast.AST, parents: list[ast.AST]) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
    """Yield, for each definition below a node, the chain of definitions that ends in it."""
    for child in ast.iter_child_nodes(node):
        chain = [*parents, child] if isinstance(child, SCOPES) else parents
        if isinstance(child, SCOPES):
            yield child, chain
        yield from definitions(child, chain)


def source_mentions(index: Index, module: Module) -> Iterator[Mention]:
    """Yield the code spans of a module's docstrings and comments. In tests, names from all tests are valid."""
    shared = index.tests_defined if module.path.parts[0] == "tests" else set()
    folder, found = module.path.parent, list(definitions(module.tree, []))
    for node, parents in [(module.tree, None), *found]:
        if ast.get_docstring(node, clean=False) is None:
            continue
        constant = node.body[0].value
        scope = frozenset(shared | (module.names if parents is None else scope_of(parents)))
        for line, content in spans(constant.value, constant.lineno):
            yield Mention(f"{module.path}:{line}", content, folder, scope)
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT and "`" in token.string:
            for _, content in spans(token.string, 0):
                yield Mention(f"{module.path}:{token.start[0]}", content, folder, frozenset(shared | module.names))


def called_names(text: str) -> list[str]:
    """Return the dotted names that an expression calls; a method called on a call's result gives its own name only.

    `build_index(root).unresolved(text)` gives `["unresolved", "build_index"]`.
    """
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return []
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [ast.unparse(function) for function in called]
    return [name if NAME.match(name) else name.rsplit(".", 1)[-1] for name in names if re.search(r"\w$", name)]


class Resolver:
    """Index lookup that checks whether a name in backticks exists.

    Args:
        index: the repository's names.
        config_keys: dotted config keys, and each of their parts.
        foreign: names from other libraries, formats and shells.
    """

    def __init__(self, index: Index, config_keys: set[str], foreign: set[str]) -> None:
        self.index = index
        self.config_keys = config_keys
        self.foreign = foreign
        self.base_names = {Path(name).name for name in index.files}

    def unresolved(self, mention: Mention) -> list[str]:
        """Return the names in a mention that do not exist; empty if the text is not code of this repository."""
        text = mention.text
        if text in self.foreign or text in self.index.strings or text in self.config_keys:
            return []
        if FILE.match(text) or FOLDER.match(text):
            return [] if self.is_file(mention) else [text]
        names = [text.removesuffix("()")] if NAME.match(text) else called_names(text)
        return [name for name in names if not self.is_name(name, mention.scope)]

    def is_file(self, mention: Mention) -> bool:
        """Return whether a path exists or the code writes a file of that name."""
        path = mention.text.rstrip("/")
        files, strings = self.index.files, self.index.strings
        if path in files or (mention.folder / path).as_posix() in files:
            return True
        if "/" in path:
            return any(file.endswith(f"/{path}") for file in files) or Path(path).name in strings - self.base_names
        return path in self.base_names or path in strings

    def is_name(self, name: str, scope: frozenset[str]) -> bool:
        """Return whether a plain or dotted name exists."""
        first, *rest = name.split(".")
        if name in self.foreign or first in self.foreign or name in self.config_keys or name in self.index.strings:
            return True
        if not rest:
            known = name in scope or name in self.index.defined or name in self.index.endings
            return known or any(pattern.fullmatch(name) for pattern in self.index.patterns)
        return self.in_module(name) or self.in_class(first, rest) or self.of_variable(first, rest, scope)

    def in_module(self, name: str) -> bool:
        """Return whether a name is a module, given by its full path or a suffix of it, or a member of one."""
        parts = name.split(".")
        for cut in range(len(parts), 0, -1):
            prefix, member = ".".join(parts[:cut]), ".".join(parts[cut:])
            if any(not member or member in module.members for module in self.index.endings.get(prefix, ())):
                return True
        return False

    def in_class(self, first: str, rest: list[str]) -> bool:
        """Return whether `first` is a class with that member; further parts must be attributes of any class."""
        members = self.index.classes.get(first)
        return members is not None and rest[0] in members and all(name in self.index.defined for name in rest[1:])

    def of_variable(self, first: str, rest: list[str], scope: frozenset[str]) -> bool:
        """Return whether `first` is a variable in scope and the rest are attributes of this repository's classes."""
        if first in self.index.classes or first in PACKAGES:
            return False
        return first in scope and all(name in self.index.defined or name in scope for name in rest)
