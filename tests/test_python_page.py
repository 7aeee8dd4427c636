"""The examples of docs/python.md run, in their order, as one program."""

import re
from pathlib import Path

import pytest

PAGE = Path("docs/python.md").resolve()


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec("\n".join(blocks), names)
    assert names["images"].shape == (2, 1, 32, 32) and names["sevens"].shape == (8, 32, 32, 1)
    assert names["sheet"].shape[0] == 10 and (tmp_path / "three.png").exists()
    assert names["loss"] < 0.1 and (names["again"].sample(4) == names["g"].sample(4)).all()
    assert names["g"].classes == tuple("0123456789")
