"""What docs/architecture.md promises of the source: who imports whom, short functions, safety."""

import ast
import re
from pathlib import Path

import pytest

LINE = re.search(r"^    (errors .*<.*)$", Path("docs/architecture.md").read_text(), re.MULTILINE)
LAYERS = [layer.split() for layer in LINE[1].split("<")] if LINE else []
LEVEL = {package: level for level, layer in enumerate(LAYERS) for package in layer}
MODULES = sorted(path for path in Path("gan").rglob("*.py") if path.name != "__init__.py")
MAX_FUNCTION_LINES = 40  # without the docstring


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def package_of(name: str) -> str:
    return name.split(".")[1]


def imported_packages(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "relative imports are not used"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {package_of(name) for name in names if name.startswith("gan.")} - {"__version__"}


def test_the_line_names_every_package() -> None:
    assert {package_of(name_of(path)) for path in MODULES} == {*LEVEL, "__main__"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_package_imports_from_lower_layers_only(path: Path) -> None:
    own = package_of(name_of(path))
    for imported in imported_packages(path) - {own}:
        assert LEVEL[imported] < LEVEL.get(own, len(LAYERS)), f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_functions_stay_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - len((docstring or "").splitlines())
            assert lines <= MAX_FUNCTION_LINES, node.name


_UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "requests", "urllib.request"}
_UNSAFE_CALLS = {"eval", "exec", "os.system", "os.popen", "__import__", "yaml.unsafe_load",
                 "yaml.full_load", "yaml.load_all", "torch.hub.load"}  # fmt: skip
_UNSAFE_OPTIONS = {("shell", "True"), ("weights_only", "False"), ("allow_pickle", "True")}
_NEEDED_OPTIONS = {
    "torch.load": "weights_only=True",
    "yaml.load": "_StrictLoader",
    "torch.hub.download_url_to_file": "hash_prefix=SHA256",
}


@pytest.mark.parametrize("path", [*MODULES, *sorted(Path("scripts").glob("*.py"))], ids=name_of)
def test_nothing_unsafe_is_in_the_source(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            assert not names & _UNSAFE_MODULES
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in _UNSAFE_CALLS
            options = {(keyword.arg, ast.unparse(keyword.value)) for keyword in node.keywords}
            assert not options & _UNSAFE_OPTIONS
            assert _NEEDED_OPTIONS.get(called, "") in ast.unparse(node)
