"""`python -m anglos bench`: every row is there and computes what it says, and memory is measured right. No times."""

import json
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from matplotlib.image import imread

import anglos
from anglos.__main__ import main
from anglos.tools.bench import device
from anglos.tools.bench import run as bench_run
from anglos.tools.bench.device_rows import TYPES, draw, rows
from anglos.tools.bench.measure import measure
from anglos.tools.bench.memory import memory
from anglos.tools.bench.problem import HEADS, Problem
from anglos.tools.bench.report import Run
from anglos.tools.bench.run import sizes
from anglos.tools.bench.steps import LIBRARIES, PRODUCTS

SMALL = ["--batch=8", "--dimension=16", "--classes=40", "--repeats=3"]
PROBLEM = Problem("arcface", 8, 16, 40, "float64")


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory without a process for each row; one of the rows fails."""
    def known(problem: Problem, library: str, row: str) -> int:
        if "F.linear_cross_entropy" in row:
            raise MemoryError("too large")
        return 2560 * problem.classes  # in 8 × C float32: 80 times

    monkeypatch.setattr("anglos.tools.bench.measure.memory", known)


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which a step takes as long every time: the products a millisecond, others half as long again."""
    monkeypatch.setattr("anglos.tools.bench.measure.interleaved", lambda steps, repeats, turn: {
        key: [1.0 if key[1] == PRODUCTS else 1.5] * repeats for key in steps})


@pytest.mark.usefixtures("no_process", "steady")
def test_rows_and_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.json"
    main(["bench", *SMALL, "--library", "numpy,torch", "--library=jax,numpy", "--json", str(out)])
    (table, heard), saved = capsys.readouterr(), json.loads(out.read_text())
    rows = saved["rows"]
    assert heard.startswith("C = 40: memory, 1 of ")  # a line for each, where there is no terminal
    assert heard.count("\n") == len(rows)
    assert Counter(row["library"] for row in rows) == {"numpy": 3, "torch": 7, "jax": 4}
    products = {row["library"]: row["milliseconds"] for row in rows if row["row"] == PRODUCTS}
    for row in rows:
        line = next(line for line in table.splitlines() if line.startswith(f"{row['library']:7}  {row['row']}"))
        if "F.linear_cross_entropy" in row["row"]:
            assert line.split()[-4:] == ["–"] * 4
            assert f"torch {row['row']}: left out, too large" in table
            continue
        assert row["ratio"] == pytest.approx(row["milliseconds"] / products[row["library"]])
        assert (row["mebibytes"], row["buffers"]) == (2560 * 40 / 2**20, 80)
        assert line.split()[-4:] == [f"{row['milliseconds']:,.1f}", f"{row['ratio']:.2f}", "0.1", "80.00"]
    assert saved["problem"] == {"loss": "arcface", "batch": 8, "dimension": 16, "classes": 40, "dtype": "float32"}
    for word in (*saved["machine"].values(), "median of 3", f"numpy {np.__version__}"):
        assert word in table


@pytest.mark.parametrize(("products", "row", "ratio"), [
    ([10.0, 10.0, 10.4], [20.0, 20.0, 20.0], 2.0),   # quartiles 2 % apart
    ([10.0, 10.0, 14.0], [20.0, 20.0, 20.0], None),  # 20 %
    ([10.0, 10.0, 10.0], [20.0, 20.0, 28.0], None),
    ([10.0, 10.0], [20.0, 20.0], None),
])
def test_a_ratio_of_times_that_are_not_steady_is_not_said(
        products: list[float], row: list[float], ratio: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """But the times are, and why."""
    monkeypatch.setattr("anglos.tools.bench.measure.memory", lambda *_: 2560)
    monkeypatch.setattr("anglos.tools.bench.measure.interleaved", lambda steps, repeats, turn: {
        key: products if key[1] == PRODUCTS else row for key in steps})
    found = measure(PROBLEM, ["numpy"], len(row), lambda _: None)
    assert [one.ratio for one in found[1:]] == [ratio, ratio]
    assert [one.milliseconds for one in found] == [10.0, 20.0, 20.0]
    table = Run(PROBLEM, ("numpy",), len(row), found).table()
    line = next(line for line in table.splitlines() if line.startswith("numpy    anglos.arcface, kept"))
    assert line.split()[-3] == ("–" if ratio is None else "2.00")
    said = next(line for line in table.splitlines() if line.startswith("numpy: "))
    assert ("busy" in said) == (products[-1] == 14.0)
    assert ("--repeats of at least 3" in said) == (len(row) == 2)


@pytest.mark.usefixtures("no_process")
def test_series_is_drawn_and_json_stands_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench.png"
    main(["bench", *SMALL, "--library=numpy", "--plot", str(out), "--classes-max=3500", "--json"])
    printed = capsys.readouterr()
    assert [row["classes"] for row in json.loads(printed.out)["rows"][::3]] == [40, 1000, 3000, 3500]
    assert str(out) in printed.err
    picture = imread(out)[..., :3]
    assert np.ptp(picture, axis=-1).max() > 0.3  # lines have colours


@pytest.mark.usefixtures("no_process")
def test_slow_rows_of_a_series_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """But the products, to which the others are compared."""
    monkeypatch.setattr(bench_run, "PATIENCE", 0.0)
    done = bench_run.run(PROBLEM, ["numpy"], 1, [10, 20, 60])
    measured = Counter(row.row for row in done.rows if row.milliseconds is not None)
    assert set(measured.values()) == {1, 4}
    assert measured[PRODUCTS] == 4
    assert "numpy anglos.arcface, kept: left out, took 0 s at C = 10" in done.table()
    assert "numpy anglos.arcface, kept: left out at C = 60, took 0 s at C = 10" in done.table()


def test_sizes_end_where_they_should() -> None:
    assert sizes(1000) == [1000]
    assert sizes(10_000) == [1000, 3000, 10_000]
    assert sizes(1_000_000)[-2:] == [300_000, 1_000_000]


def numbers(result: Any) -> list[np.ndarray]:
    value, gradients = result
    return [np.asarray(array) for array in (*([] if value is None else [value]), *gradients)]


@pytest.mark.parametrize("name", ["arcface", "cosface", "linear_cross_entropy"])
def test_rows_of_all_libraries_compute_the_same(name: str) -> None:
    """A row beside another is worth something only where both do the same."""
    problem = replace(PROBLEM, loss=name)
    results = {f"{library} {row}": numbers(make()()) for library in ("numpy", "torch", "jax")
               for row, make in LIBRARIES[library].rows(problem, problem.draw()).items()}
    if name == "cosface":
        assert "torch pytorch-metric-learning CosFaceLoss" in results
    for row, result in results.items():
        if "F." in row and name != "linear_cross_entropy":
            continue
        expected = results[f"numpy {PRODUCTS}" if PRODUCTS in row else f"numpy anglos.{name}, kept"]
        for array, other in zip(result, expected, strict=True):
            np.testing.assert_allclose(array, other, rtol=1e-5, atol=1e-9, err_msg=row)


LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is measured on Linux")


@LINUX
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_products_need_one_buffer(library: str) -> None:
    problem = Problem("arcface", 256, 64, 32_000, "float32")
    assert memory(problem, library, PRODUCTS) == pytest.approx(problem.buffer_bytes, rel=0.15)


@LINUX
def test_peak_is_what_a_step_allocates() -> None:
    """Also what is freed before the step ends, and what was free before it."""
    code = """if True:
        import numpy as np
        from anglos.tools.bench.memory import resident_peak
        def step():
            np.ones(6 << 20)
            return np.ones(8 << 20)
        np.ones(32 << 20), [np.ones(1 << 16) for _ in range(64)]
        print(resident_peak(lambda: None), resident_peak(step))"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    nothing, peak = map(int, ended.stdout.split())
    assert nothing < 2**20
    assert peak == pytest.approx(64 * 2**20, abs=2**20)


def test_a_row_that_cannot_run_says_why() -> None:
    with pytest.raises(MemoryError, match="KeyError: 'no such row'"):
        memory(PROBLEM, "numpy", "no such row")


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--batch", "0", "was '0'; wanted a whole number of at least 1"),
    ("--classes", "1", "was '1'; wanted a whole number of at least 2"),
    ("--classes-max", "10", "was '10'; wanted a whole number of at least 1000"),
    ("--classes-max", "2000", "was given without --plot, which it is for"),
    ("--loss", "triplet", f"was 'triplet'; wanted one of {', '.join(HEADS)}"),
    ("--loss", "subcenter_arcface", f"was 'subcenter_arcface'; wanted one of {', '.join(HEADS)}"),
    ("--library", "numpy,mlx", "was 'mlx'; wanted one of numpy, torch, jax, cupy"),
    ("--dtype", "float8", "invalid choice: 'float8'"),
    ("--json", "no/such.json", "was 'no/such.json'; wanted a file ending in .json, in a folder that exists, or -"),
    ("--plot", "x.gif", "was 'x.gif'; wanted a file ending in .png, .svg or .pdf, in a folder that exists"),
    ("--device", "tpu", "invalid choice: 'tpu'"),
    ("--dtype", "tf32", "was 'tf32', which is for --device cuda"),
])
def test_bad_options_are_refused(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", f"{option}={value}"])
    assert f"argument {option}: {message}" in capsys.readouterr().err


def test_a_type_that_a_library_lacks_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--library=numpy", "--dtype=bfloat16"])
    assert "argument --dtype: was 'bfloat16'; wanted one of float32, float64 for numpy" in capsys.readouterr().err


def test_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match="anglos bench: torch is not installed; pip install 'anglos\\[torch\\]'"):
        main(["bench", "--library=torch"])


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_of_a_device_compute_the_same(dtype: str) -> None:
    """As far as the type goes: each row's product, loss and gradients, against those of float32."""
    problem = Problem("arcface", 64, 32, 500, dtype)
    arrays = draw(problem, "cpu")
    results = {name: [array.double().numpy() for array in (value, *gradients) if array is not None]
               for name, (value, gradients) in ((name, make()()) for name, make in rows(problem, arrays).items())}
    names = [name for name in results if not name.startswith("F.")]
    assert names[:3] == [PRODUCTS, "anglos.arcface, kept", "anglos.arcface, recomputed"]
    assert any(name.startswith("PartialFC's passes") for name in names)
    assert any(name.startswith("F.linear, F.cross_entropy") for name in results)
    exact = [array.detach().double().numpy() for array in arrays[:2]]
    x, w = exact
    products = [x @ w.T @ w, (x @ w.T).T @ x]
    value, gradients = anglos.arcface.value_and_grad(x, w, arrays[2].numpy())
    limit = {"float32": 1e-5, "tf32": 1e-5, "float16": 1e-2}.get(dtype, 4e-2)
    for name in names:
        wanted = products if name == PRODUCTS else [value, *gradients]
        if "PartialFC" in name:  # whose gradient is not that of its value
            wanted, results[name] = wanted[:1], results[name][:1]
        for got, want in zip(results[name], wanted, strict=True):
            assert np.linalg.norm(got - want) <= limit * np.linalg.norm(want), name


def test_a_device_is_measured_row_by_row(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor, which stands in for one: what is heard, printed and saved is the same; a failure has a line."""
    def out_of_memory(*_: Any) -> None:
        raise RuntimeError("out of memory\nof a device")

    monkeypatch.setattr("anglos.tools.bench.device_rows._partial_fc", out_of_memory)
    heard: list[str] = []
    out = tmp_path / "device.json"
    found = device.run(device.problems("arcface", None, 8, 40, 16), "cpu", 2, heard.append, str(out))
    table, saved = capsys.readouterr().out, json.loads(out.read_text())
    assert list(map(json.loads, heard)) == saved["rows"]
    assert list(dict.fromkeys(row.dtype for row in found)) == ["bfloat16", "amp", "tf32", "float32"]
    assert saved["repeats"] == 2
    for word in (*saved["machine"].values(), "tf32, B = 8, C = 40, D = 16", "median of 2"):
        assert word in table
    products = {row.dtype: row.milliseconds for row in found if row.what == PRODUCTS}
    for row in found:
        if row.what.startswith("PartialFC"):
            assert row.failure == "RuntimeError: out of memory"
            assert f"{row.what}: {row.failure}" in table
        else:
            assert row.milliseconds is not None
            assert row.python is not None
            assert row.ratio == pytest.approx(row.milliseconds / (products[row.dtype] or 0.0))


@pytest.mark.parametrize("waits", [False, True])
def test_a_step_that_waits_for_a_device_is_not_captured(waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out before: after a capture that failed, PyTorch gives no memory back."""
    modes: list[Any] = [0]
    captured: list[Any] = []

    def step() -> None:
        if waits and modes[-1] == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    def graph(one: Any, stream: Any) -> Any:
        captured.append(one)
        return nullcontext()

    for name, stand_in in {"CUDAGraph": Mock(), "Stream": Mock(), "current_stream": Mock(), "synchronize": Mock(),
                           "stream": nullcontext, "graph": graph, "get_sync_debug_mode": lambda: modes[-1],
                           "set_sync_debug_mode": modes.append}.items():
        monkeypatch.setattr(f"torch.cuda.{name}", stand_in)
    replay = device._captured(step)
    assert modes == [0, "error", 0]
    assert len(captured) == (not waits)
    assert (replay is None) == waits


def test_no_step_of_another_package_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, clock = Problem("arcface", 4, 3, 5, "float32"), device.Clock("cpu", 1)
    monkeypatch.setattr("anglos.tools.bench.device_rows.find_spec", lambda name: True)
    monkeypatch.setattr("anglos.tools.bench.steps.find_spec", lambda name: True)
    for name in rows(problem, draw(problem, "cpu")):
        milliseconds = Mock(return_value=(1.0, False))
        monkeypatch.setattr(device.Clock, "milliseconds", milliseconds)
        assert device._row(problem, name, lambda: lambda: None, clock, 0).milliseconds == 1.0
        ours = name == PRODUCTS or name.startswith(("anglos.", "F.", "PartialFC"))
        assert milliseconds.call_args.kwargs == {"capture": ours}, name


def test_sizes_and_types_of_a_device() -> None:
    table = device.problems("arcface")
    assert {(one.batch, one.classes, one.dimension) for one in table} == set(device.SIZES)
    assert not any(one.dtype == "float32" and one.classes == 1_000_000 for one in table)
    assert {one.dtype for one in device.problems("arcface", "float16")} == {"float16"}
    assert [(one.batch, one.classes, one.dimension) for one in device.problems("cosface", "amp", 7)] == [
        (7, *device.SIZES[0][1:])]


def test_no_cuda_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^anglos bench: PyTorch .* finds no CUDA device; --device cpu "):
        main(["bench", "--device=cuda"])


@pytest.mark.parametrize(("option", "message"), [
    ("--library=numpy", "--library: is not for --device cuda, which measures PyTorch alone, in bfloat16, amp, tf32, "),
    ("--dtype=float64", "--dtype: is not for --device cuda, which measures PyTorch alone, in bfloat16, amp, tf32, "),
    ("--plot=bench.png", "--plot: is for --device cpu"),
])
def test_what_no_device_takes_is_refused(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "--device=cuda", option])
    assert f"argument {message}" in capsys.readouterr().err


@pytest.mark.gpu
def test_a_gpu_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """With events and memory; and a step that waits for nothing becomes a graph."""
    if not import_module("torch").cuda.is_available():
        pytest.skip("no CUDA device")
    found = device.run([Problem("arcface", 256, 64, 5000, "float32")], "cuda", 3, lambda _: None)
    ours = {row.what: row for row in found if row.what.startswith("anglos") or row.what == PRODUCTS}
    assert "CUDA's events" in capsys.readouterr().out
    for row in ours.values():
        assert row.graph
        assert row.milliseconds is not None
        assert row.milliseconds > 0.0
    assert ours[PRODUCTS].mebibytes == pytest.approx(256 * 5000 * 4 / 2**20, rel=0.2)
