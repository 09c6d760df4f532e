"""An index of the names that this repository's Python code defines, built with `ast` and without importing it."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, ast.ClassDef)


@dataclass(repr=False)
class Module:
    """The names of one source file.

    Attributes:
        path: path below the repository root.
        tree: the parsed source.
        text: the source.
        members: names defined or imported at the top level, and class members as class name, dot, member.
        names: every identifier in the file: locals, parameters, attributes, keyword arguments.
    """

    path: Path
    tree: ast.Module
    text: str
    members: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)

    @property
    def dotted(self) -> str:
        """The import path."""
        parts = self.path.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@dataclass(repr=False)
class Index:
    """The names of a repository.

    Attributes:
        root: the repository root.
        modules: modules by import path.
        defined: names of functions, classes, methods, fields, constants and attributes outside tests.
        tests_defined: the same for tests.
        classes: members by class name, including inherited ones.
        parameters: parameter names of all functions.
        strings: string constants: config values, CSV columns, reason codes, names of output files.
        patterns: f-strings that form one word, for example column names that end in an expert's name.
        files: tracked files and folders below the root.
        endings: modules by each suffix of their import path, for example `config` and `engine.config`.
    """

    root: Path
    modules: dict[str, Module] = field(default_factory=dict)
    defined: set[str] = field(default_factory=set)
    tests_defined: set[str] = field(default_factory=set)
    classes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    parameters: set[str] = field(default_factory=set)
    strings: set[str] = field(default_factory=set)
    patterns: set[re.Pattern[str]] = field(default_factory=set)
    files: set[str] = field(default_factory=set)
    endings: dict[str, list[Module]] = field(default_factory=lambda: defaultdict(list))


def bound_names(node: ast.AST) -> set[str]:
    """Return the names that an assignment, import, function or class binds."""
    if isinstance(node, SCOPES):
        return {node.name}
    if is_import(node):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {name.id for target in targets if target for name in ast.walk(target) if isinstance(name, ast.Name)}


def is_import(node: ast.AST) -> bool:
    """Return whether a statement is an import. Imported names count where they are used, not as definitions."""
    return isinstance(node, (ast.Import, ast.ImportFrom))


def statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a body, including those in conditional, try and with blocks."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With)):
            yield from statements(child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt))


def arguments(node: ast.AST) -> set[str]:
    """Return the parameter names of a function."""
    return {child.arg for child in ast.walk(node) if isinstance(child, ast.arg)}


def used_names(node: ast.AST) -> set[str]:
    """Return all identifiers below a node: variables, attributes, parameters, keyword arguments, definitions."""
    names = arguments(node)
    for child in ast.walk(node):
        if isinstance(child, ast.Name):
            names.add(child.id)
        elif isinstance(child, ast.Attribute):
            names.add(child.attr)
        elif isinstance(child, ast.keyword) and child.arg:
            names.add(child.arg)
        elif isinstance(child, (*SCOPES, ast.Import, ast.ImportFrom)):
            names |= bound_names(child)
    return names


def class_members(node: ast.ClassDef) -> set[str]:
    """Return the methods, fields and `self` attributes of a class."""
    members = {name for child in statements(node.body) for name in bound_names(child)}
    assigned = [child for child in ast.walk(node) if isinstance(child, ast.Attribute)]
    members |= {
        child.attr
        for child in assigned
        if isinstance(child.ctx, ast.Store) and isinstance(child.value, ast.Name) and child.value.id == "self"
    }
    return members


def word_pattern(node: ast.JoinedStr) -> re.Pattern[str] | None:
    """Return the pattern of an f-string that forms one word with a fixed part of at least three letters, else `None`."""
    fixed = [part.value for part in node.values if isinstance(part, ast.Constant)]
    if not re.fullmatch(r"\w*[a-z]{3}\w*", "".join(fixed)):
        return None
    return re.compile("".join(part.value if isinstance(part, ast.Constant) else r"\w+" for part in node.values))


def docstrings(tree: ast.AST) -> set[int]:
    """Return the ids of string constants that are statements, such as docstrings."""
    return {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    }


def add_module(index: Index, module: Module) -> None:
    """Add a module's names to the index; definitions and strings of tests are stored separately."""
    index.modules[module.dotted] = module
    parts, tested = module.dotted.split("."), module.path.parts[0] == "tests"
    for start in range(len(parts)):
        index.endings[".".join(parts[start:])].append(module)
    for node in statements(module.tree.body):
        module.members |= bound_names(node)
    module.names = used_names(module.tree)
    skipped = docstrings(module.tree)
    defined = {name for node in statements(module.tree.body) if not is_import(node) for name in bound_names(node)}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            members = class_members(node)
            index.classes[node.name] |= members
            defined |= members
            module.members |= {f"{node.name}.{member}" for member in members}
        elif isinstance(node, FUNCTIONS):
            index.parameters |= arguments(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped and not tested:
            index.strings.add(node.value)
        elif isinstance(node, ast.JoinedStr) and (pattern := word_pattern(node)):
            index.patterns.add(pattern)
    defined |= {node.name for node in ast.walk(module.tree) if isinstance(node, SCOPES)}
    (index.tests_defined if tested else index.defined).update(defined)


def inherit(index: Index) -> None:
    """Add the members of base classes to derived classes."""
    bases = {
        node.name: [base for base in (used_names(expression) for expression in node.bases) if base]
        for module in index.modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    }
    for _ in range(4):  # more than the depth of any class hierarchy here
        for name, parents in bases.items():
            for parent in set().union(*parents) & set(index.classes):
                index.classes[name] |= index.classes[parent]


def build_index(root: Path, files: Iterable[str]) -> Index:
    """Index the given files of a repository.

    Args:
        root: the repository root.
        files: paths below the root; ``.py`` files are parsed.
    """
    index = Index(root)
    for name in files:
        path = Path(name)
        index.files |= {name, *(parent.as_posix() for parent in path.parents if parent != Path())}
        if path.suffix == ".py":
            text = (root / path).read_text(encoding="utf-8")
            add_module(index, Module(path, ast.parse(text), text))
    inherit(index)
    return index
