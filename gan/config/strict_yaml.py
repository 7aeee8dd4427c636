"""Reads YAML text as plain values, with the scalars of YAML 1.2 and without duplicate keys."""

import re
from typing import Any, ClassVar

import yaml


def parse_yaml(text: str) -> Any:
    """Parses one YAML document: 2e-4 is a number, `no` a string, 010 ten.

    Raises ValueError, in one line, for invalid YAML, aliases and duplicate keys.
    """
    try:
        return _StrictLoader(text).get_single_data()
    except Exception as error:  # PyYAML's constructors raise many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"not valid YAML: {reason}") from None


class _StrictLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise yaml.YAMLError(f"line {line}: aliases are not supported")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen = set()
        for child, _ in node.value:
            key = child.value if isinstance(child, yaml.ScalarNode) else None
            if key is not None and key in seen:
                raise yaml.YAMLError(f"line {child.start_mark.line + 1}: duplicate key {key!r:.80}")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _to_int(_: _StrictLoader, node: Any) -> int:
    if len(node.value) > 30:
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"line {line}: a number has more than 30 digits")
    return int(node.value)


_PLAIN_SCALARS = {
    "null": r"~|null|",
    "bool": r"true|false",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?",
}
for _kind, _pattern in _PLAIN_SCALARS.items():
    _StrictLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), None
    )
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _to_int)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", lambda _, node: float(node.value))
