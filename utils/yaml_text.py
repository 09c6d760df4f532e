"""YAML text from files and options, parsed without executing code and without expanding to more than a person writes."""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 100_000
"""Longest document. Parsing this many takes about a second; the longest config of the project has 10,000."""

MAX_NODES = 100_000
"""Most keys, values and lists of a document, counted with each alias expanded. The largest config of the project has 100."""


def parse_yaml(text: str) -> Any:
    """Parse one YAML document.

    Raises:
        ValueError: one sentence: the text is not YAML, a value is invalid, or aliases or nesting make it too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has more than {MAX_CHARACTERS} characters")
    try:
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        if expanded_nodes(root, {}) > MAX_NODES:
            raise ValueError(f"its aliases expand to more than {MAX_NODES} values")
        return loader.construct_document(root)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def expanded_nodes(node: yaml.Node, counts: dict[int, int]) -> int:
    """Count a node and the nodes below it, with each alias expanded.

    Args:
        node: the node.
        counts: identity of each counted node -> its count; 0 while its children are being counted.

    Raises:
        ValueError: an alias refers to a node that contains it, or a key occurs twice.
    """
    if id(node) not in counts:
        counts[id(node)] = 0
        refuse_repeated_keys(node)
        children = node.value if isinstance(node, yaml.CollectionNode) else []
        flat = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        counts[id(node)] = 1 + sum(expanded_nodes(child, counts) for child in flat)
    if not counts[id(node)]:
        raise ValueError("an alias refers to a value that contains it")
    return counts[id(node)]


def refuse_repeated_keys(node: yaml.Node) -> None:
    """Raise a `ValueError` if a mapping has a key twice: YAML would silently use the last value."""
    keys = (
        [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if isinstance(node, yaml.MappingNode)
        else []
    )
    if len(set(keys)) < len(keys):
        repeated = next(key for number, key in enumerate(keys) if key in keys[:number])
        raise ValueError(f"the key {repeated[:40]!r} occurs twice in line {node.start_mark.line + 1} or below")
