"""Who may import whom: a module imports from lower rows only."""

import ast
from pathlib import Path

import pytest

ROWS = [
    "strict_yaml device nn.sizes nn.transposed_conv nn.losses nn.augment latents tracking "
    "data.decode data.idx metrics.distances metrics.pyramid metrics.inception "
    "training.checkpoint training.collapse training.distributed training.replay",
    "settings nn.equal_computations data.source metrics.features training.signals",
    "config nn.generator data.sources data.workers training.precision",
    "nn.discriminator data.pack sampling training.run_dir",
    "data.batches metrics.reference training.needs training.state",
    "metrics.evaluate training.steps training.run",
    "training.resume training.report training.dry_run training.judge",
    "training.loop endings",
    "cli",
    "__main__",
]
ROW = {f"gan.{name}": number for number, row in enumerate(ROWS) for name in row.split()}
MODULES = sorted(path for path in Path("gan").rglob("*.py") if path.name != "__init__.py")


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("gan"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if name in ROW} or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("gan.")}
    return found - {"gan"}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_from_lower_rows_only(path: Path) -> None:
    for imported in imports(path):
        assert ROW[imported] < ROW[name_of(path)], f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_and_functions_stay_short(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 45, node.name


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
