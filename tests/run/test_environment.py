"""The virtual environment that is active: the binary runs the script in it if it can, and says so if
it cannot. An interpreter that was started knows its own, whatever the variable says."""

from __future__ import annotations

import pathlib

import pytest
from harness import Way

PREFIX = "import sys; print(sys.prefix)"


def environment(folder: pathlib.Path, way: Way, config: str) -> dict[str, str | None]:
    """Makes one around the interpreter of the build."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").symlink_to(pathlib.Path(way.python).resolve())
    (folder / "pyvenv.cfg").write_text(config)
    return {"VIRTUAL_ENV": str(folder)}


def config(way: Way, version: str) -> str:
    home = pathlib.Path(way.python).resolve().parent
    return f"home = {home}\ninclude-system-site-packages = false\nversion = {version}\n"


def test_one_that_fits(way: Way, tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "fits"
    version = ".".join(map(str, way.version))
    env = environment(folder, way, config(way, f"{version}.0"))
    run = way.run("-c", PREFIX, env=env, report=False)
    assert (run.code, run.stderr) == (0, ""), str(run)
    own = way.plain("-c", PREFIX).stdout.strip()
    assert run.stdout.strip() == (str(folder) if way.name == "binary" else own), str(run)


@pytest.mark.parametrize("line", ["version = 2.7.18", "version_info = 3.10.4.final.0"])
def test_one_of_another_version(way: Way, tmp_path: pathlib.Path, line: str) -> None:
    folder = tmp_path / "other"
    env = environment(folder, way, f"home = /usr/bin\n{line}\n")
    run = way.run("-c", PREFIX, env=env, report=False)
    if way.name == "module":
        assert run.code == 0, str(run)
        return
    major, minor = line.split("= ")[1].split(".")[:2]
    own = ".".join(map(str, way.version))
    assert (run.code, run.stdout) == (125, ""), str(run)
    assert run.stderr == (
        f"quell: the virtual environment {folder} is of Python {major}.{minor}, and this quell embeds "
        f"Python {own}; install quell there and use: python -m quell run\n"
    ), str(run)


def test_one_that_is_gone(way: Way, tmp_path: pathlib.Path) -> None:
    run = way.run("-c", PREFIX, env={"VIRTUAL_ENV": str(tmp_path / "gone")}, report=False)
    if way.name == "module":
        assert run.code == 0, str(run)
        return
    assert (run.code, run.stdout) == (125, ""), str(run)
    assert f"VIRTUAL_ENV is {tmp_path / 'gone'}" in run.stderr, str(run)
    assert "deactivate" in run.stderr, str(run)


@pytest.mark.parametrize("value", [None, ""])
def test_none(way: Way, value: str | None) -> None:
    run = way.run(
        "-c", "import sys; print(sys.version_info[:2])", env={"VIRTUAL_ENV": value}, report=False
    )
    assert (run.code, run.stdout) == (0, f"{way.version}\n"), str(run)
