"""YAML of a bounded size, counted with its aliases written out, in which no key stands twice."""

from __future__ import annotations

from typing import Any

import yaml

#: Keys and values with every alias written out; a file of all settings has about 300.
_MAX_NODES = 10_000
_MAX_CHARACTERS = 1_000_000


def parse_yaml(text: str) -> Any:
    """As :func:`yaml.safe_load`; raises :class:`yaml.YAMLError` for whatever is wrong with the text."""
    if len(text) > _MAX_CHARACTERS:
        raise yaml.YAMLError(f"expected at most {_MAX_CHARACTERS:,} characters, got {len(text):,}")
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_size(node)
        return loader.construct_document(node)
    except RecursionError as exc:
        raise yaml.YAMLError("expected fewer levels of nesting") from exc
    except ValueError as exc:  # a date or a number that is none
        raise yaml.YAMLError(str(exc)) from exc
    finally:
        loader.dispose()


def _check_size(root: yaml.Node) -> None:
    todo, seen = [root], 0
    while todo:
        seen += 1
        if seen > _MAX_NODES:
            raise yaml.YAMLError(
                f"expected at most {_MAX_NODES:,} keys and values, with its aliases written out"
            )
        node = todo.pop()
        if isinstance(node, yaml.MappingNode):
            _refuse_twice(node)
            todo += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value


def _refuse_twice(mapping: yaml.MappingNode) -> None:
    """PyYAML would take the last one, without a word."""
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line = key.start_mark.line + 1
        if key.value in lines:
            raise yaml.YAMLError(f"{key.value}: given in lines {lines[key.value]} and {line}; keep one")
        lines[key.value] = line
