"""`anglos`: what every command has in common, its table on a narrow terminal, and `env`."""

import os
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import pytest

import anglos
from anglos.__main__ import COMMANDS, main
from anglos.tools.probes import PROBES
from anglos.tools.table import losses_table


def test_the_version_is_said_once() -> None:
    done = subprocess.run([sys.executable, "-m", "anglos", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"anglos {anglos.__version__}\n"
    assert anglos.__version__ == version("anglos")


def test_anglos_is_a_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = entry_points(group="console_scripts", name="anglos")
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/anglos", "plot", "--help"])
    with pytest.raises(SystemExit, match="0"):
        command.load()()
    assert capsys.readouterr().out.startswith("usage: anglos plot [-h] LOSS")


def test_every_command_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for name, command in COMMANDS.items():
        assert f"{name} {command.HELP}" in shown


def test_what_is_unknown_is_refused_with_the_usage_that_helps(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--epoks", "3"])
    said = capsys.readouterr().err
    assert "[--epochs N]" in said
    assert said.endswith("demo: error: unrecognized arguments: --epoks 3\n")


def test_an_interrupt_is_quiet() -> None:
    """Status 130, and not a word of Python's."""
    code = """if True:
        import os, signal, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which may be ignored here, as by nohup
        import anglos.__main__ as command_line
        from anglos.tools.commands import losses
        def interrupted(parsed):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
        losses.run = interrupted
        command_line.run()"""
    done = subprocess.run([sys.executable, "-c", code, "losses"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("command", ["demo --out", "plot arcface --out", "bench --plot"])
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_done(
        command: str, ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (taken := tmp_path / f"taken.{ending}").mkdir()
    for out, why in ((taken, "Is a directory"), (tmp_path / f"{'x' * 300}.{ending}", "File name too long")):
        with pytest.raises(SystemExit, match="2"):
            main([*command.split(), str(out)])
        assert f"was '{out}', which cannot be written ({why}); wanted a file ending" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [taken.name]


@pytest.mark.parametrize(("ending", "begins"), [("svg", b"<?xml"), ("pdf", b"%PDF"), ("PNG", b"\x89PNG")])
def test_pictures_are_of_the_kind_that_their_name_says(ending: str, begins: bytes, tmp_path: Path) -> None:
    out = tmp_path / f"curve.{ending}"
    main(["plot", "cosface", "--out", str(out)])
    assert out.read_bytes().startswith(begins)


@pytest.mark.parametrize("width", [50, 80, 120])
def test_the_table_fits_a_terminal(width: int) -> None:
    """Every word of it is there."""
    narrow = losses_table(width)
    assert max(map(len, narrow.splitlines())) <= width
    whole = "".join(narrow.split())
    for loss in anglos.LOSSES.values():
        assert "".join(f"{loss.name}{loss.formula}".split()) in whole
        assert "".join(loss.paper.split()) in whole
    assert losses_table(1000) == losses_table()


def test_the_table_is_whole_in_a_pipe_and_narrow_on_a_terminal() -> None:
    pty: Any = pytest.importorskip("pty", reason="no terminals here")
    command = [sys.executable, "-m", "anglos", "losses"]
    environment = {**os.environ, "COLUMNS": "60", "PYTHONIOENCODING": "utf-8"}
    piped = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=True)
    assert piped.stdout == losses_table() + "\n"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    try:
        while more := os.read(ours, 2**16):
            shown += more
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(ours)
    assert process.wait() == 0
    assert shown.decode().replace("\r\n", "\n") == losses_table(60) + "\n"


def test_env_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    main(["env"])
    said = capsys.readouterr().out
    assert said.startswith(f"anglos {anglos.__version__}, Python {sys.version.split()[0]} ")
    for name, text in (("numpy", " threads"), ("torch", "cpu: "), ("jax", "x64 o")):
        line = next(line for line in said.splitlines() if line.startswith(f"{name} {version(name)}"))
        assert text in line
    assert str(Path.home()) not in said


@pytest.mark.parametrize(("module", "says"), [
    ("raise OSError('libcudart.so: cannot open shared object file')", "fails: OSError: libcudart.so: cannot open"),
    ("import os; os.kill(os.getpid(), 11)", "ends Python by signal 11"),
    ("import sys; sys.exit(3)", "fails: ends Python with status 3"),
    ("version = None", "fails: AttributeError: module"),
])
def test_env_survives_a_library_that_is_broken(module: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "torch.py").write_text(module)
    (tmp_path / "half-1.0.dist-info").mkdir()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("anglos.tools.commands.env.find_spec", lambda name: name if name == "torch" else None)
    main(["env"])
    assert says in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("torch"))


def test_env_in_an_environment_without_libraries(capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anglos.tools.commands.env.find_spec", lambda name: None)
    main(["env"])
    said = capsys.readouterr().out
    assert all(name in said for name in PROBES)
    assert said.count("not installed") == len(PROBES)
