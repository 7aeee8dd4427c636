"""Joins the page's JavaScript modules into one script, without a build tool.

The modules use a small part of the language's module syntax: imports by name or as a namespace from
files beside them, and exports of functions, classes and constants. Each becomes a function that
returns its exports.
"""

import re
from pathlib import Path

_FOLDER = Path(__file__).parent
_IMPORT = re.compile(r'^import (\{[^}]*\}|\* as \w+) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)


def bundle(entry: str) -> str:
    """Returns a script that runs module `entry` after all that it imports."""
    order: list[str] = []
    _visit(entry, order, ())
    modules = "\n".join(f"const {_variable(name)} = {_function(name)}();" for name in order)
    return f'"use strict";\n(() => {{\n{modules}\n}})();\n'


def _visit(name: str, order: list[str], path: tuple[str, ...]) -> None:
    """Appends a module to `order`, after those that it imports."""
    assert name not in path, f"modules import each other: {' -> '.join([*path, name])}"
    if name in order:
        return
    for _, imported in _IMPORT.findall(_read(name)):
        _visit(imported, order, (*path, name))
    order.append(name)


def _function(name: str) -> str:
    """Returns a module as the text of a function that returns its exports."""
    text = _read(name)
    exports = _EXPORT.findall(text)
    text = _IMPORT.sub(lambda found: _constants(found[1], found[2]), text)
    text = _EXPORT.sub("", text)
    assert not re.search(r"^(?:import|export)\b", text, re.MULTILINE), name
    return f"(() => {{\n{text}return {{ {', '.join(exports)} }};\n}})"


def _constants(names: str, module: str) -> str:
    """Returns the constants that stand for an import."""
    if names.startswith("*"):
        return f"const {names.split()[-1]} = {_variable(module)};"
    return f"const {names.replace(' as ', ': ')} = {_variable(module)};"


def _variable(module: str) -> str:
    return f"module_{module}"


def _read(name: str) -> str:
    return (_FOLDER / f"{name}.js").read_text(encoding="utf-8")
