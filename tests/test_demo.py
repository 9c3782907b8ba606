"""`python -m anglos`: the demo learns the same in every library, draws its picture, and says what it lacks."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import array_api_strict
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from threadpoolctl import threadpool_limits

import anglos
from anglos.__main__ import main
from anglos.tools.demo.backends import BACKENDS, Library, by_hand
from anglos.tools.demo.data import Digits, batches, pixels, train_and_test
from anglos.tools.demo.network import LAYERS
from anglos.tools.demo.picture import DIGITS
from anglos.tools.demo.recipes import RECIPES, WORDS, grown
from anglos.tools.demo.result import Result
from anglos.tools.demo.train import train
from anglos.tools.demo.view import view

# array_api_strict stands in for CuPy, which needs a GPU: the same code on arrays that are not NumPy's.
LIBRARIES = {name: BACKENDS[name] for name in ("torch", "jax")} | {
    "strict": lambda: Library(array_api_strict, partial(by_hand, array_api_strict), np.asarray)}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[Digits, Digits]:
    learn, judge = train_and_test(seed=0)
    return Digits(learn.images[::10], learn.labels[::10]), Digits(judge.images[::5], judge.labels[::5])


def trained(library: Library, digits: tuple[Digits, Digits], seed: int = 0, recipe: str = "arcface"
            ) -> tuple[list[float], Result]:
    history: list[float] = []
    return history, train(recipe, library, *digits, epochs=3, seed=seed, report=history.append)


def test_train_and_test_share_no_digit() -> None:
    learn, judge = train_and_test(seed=0)
    assert np.bincount(learn.labels).tolist() == [400] * 10
    assert np.bincount(judge.labels).tolist() == [100] * 10
    everything = {image.tobytes() for image in np.concatenate([learn.images, judge.images])}
    assert len(everything) == 5000


def test_same_seed_gives_same_numbers(digits: tuple[Digits, Digits]) -> None:
    library = BACKENDS["numpy"]()
    (history, result), (again, same), (_, other) = (trained(library, digits, seed) for seed in (0, 0, 1))
    assert history == again
    assert np.array_equal(result.test, same.test)
    assert not np.array_equal(result.test, other.test)


@pytest.mark.parametrize("recipe", ["normface", "triplet", "supcon"])
def test_it_learns(recipe: str) -> None:
    history, result = trained(BACKENDS["numpy"](), train_and_test(0), recipe=recipe)
    assert history == sorted(history, reverse=True)
    assert result.accuracy > 0.5


@pytest.mark.parametrize("recipe", ["arcface", "supcon"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_learn_the_same(name: str, recipe: str, digits: tuple[Digits, Digits]) -> None:
    history, result = trained(LIBRARIES[name](), digits, recipe=recipe)
    expected_history, expected = trained(BACKENDS["numpy"](), digits, recipe=recipe)
    assert history == pytest.approx(expected_history, rel=1e-4)
    np.testing.assert_allclose(result.test, expected.test, rtol=0, atol=1e-3)
    assert result.smallest_angle == pytest.approx(expected.smallest_angle, abs=0.1)


@pytest.mark.parametrize("name", LIBRARIES)
def test_libraries_learn_alike_from_triplets(name: str, digits: tuple[Digits, Digits]) -> None:
    """Not the same: where two distances are equal but for rounding, they may choose different negatives."""
    history, result = trained(LIBRARIES[name](), digits, recipe="triplet")
    expected_history, expected = trained(BACKENDS["numpy"](), digits, recipe="triplet")
    assert history == pytest.approx(expected_history, rel=1e-2)
    assert result.accuracy == pytest.approx(expected.accuracy, abs=0.1)


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("name", ["torch", "strict"])
def test_gradient_by_hand_is_the_gradient(name: str, recipe: str, digits: tuple[Digits, Digits]) -> None:
    random = np.random.default_rng(0)
    parameters = {f"kernel{i}": random.normal(0, rows ** -0.5, (rows, columns))
                  for i, (rows, columns) in enumerate(LAYERS)}
    parameters |= {f"bias{i}": random.normal(0, 1, columns) for i, (_, columns) in enumerate(LAYERS)}
    images, labels = next(batches(digits[0], random))
    loss, options = anglos.LOSSES[recipe], WORDS.get(recipe, {}) | RECIPES[recipe](0.5)
    if "weights" in loss.arrays:
        parameters["weights"] = random.normal(0, 1, (10, 3))

    def gradient(library: Library) -> tuple[float, dict[str, Any]]:
        arrays = {part: library.xp.asarray(value) for part, value in parameters.items()}
        value, gradients = library.gradient(loss, arrays, library.xp.asarray(images.astype(np.float64)),
                                            library.xp.asarray(labels), options)
        return float(value), {part: np.asarray(array) for part, array in gradients.items()}

    (value, gradients), (expected_value, expected) = gradient(LIBRARIES[name]()), gradient(BACKENDS["numpy"]())
    assert value == pytest.approx(expected_value, rel=1e-12)
    assert gradients.keys() == expected.keys() == parameters.keys()
    for part in parameters:
        np.testing.assert_allclose(gradients[part], expected[part], rtol=0, atol=1e-12 * np.abs(expected[part]).max())


def test_batches_show_every_digit_moved_by_a_pixel_at_most(digits: tuple[Digits, Digits]) -> None:
    learn = digits[0]
    padded = np.pad(learn.images, ((0, 0), (1, 1), (1, 1)))
    seen = set()
    for images, labels in batches(learn, np.random.default_rng(0)):
        for image, label in zip(images, labels, strict=True):
            moved = (padded[:, down:down + 28, right:right + 28] for down, right in product(range(3), repeat=2))
            sources = {int(i) for part in moved for i in np.flatnonzero((pixels(part) == image).all(axis=1))}
            assert {int(learn.labels[i]) for i in sources} == {int(label)}
            seen |= sources
    assert seen == set(range(len(learn.labels)))


def test_margin_grows_to_its_full_size() -> None:
    sizes = [grown(epoch, 40) for epoch in range(40)]
    assert sizes == sorted(sizes)
    assert sizes[0] < 0.05
    assert sizes[31:] == [1.0] * 9
    assert RECIPES["arcface"](1.0)["margin"] == anglos.arcface.defaults["margin"]
    assert RECIPES["sphereface"](1.0)["annealing"] == 0


def test_view_puts_the_closest_pair_level_in_front() -> None:
    centres = np.random.default_rng(0).normal(size=(10, 3))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    turn = view(centres, (2, 7))
    assert turn.T @ turn == pytest.approx(np.eye(3), abs=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    (_, up, towards), (_, other_up, other_towards) = centres[[2, 7]] @ turn
    assert up == pytest.approx(other_up)
    assert towards == pytest.approx(other_towards)
    assert min(up, towards) > 0


def test_demo_draws_its_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "spheres.png"
    main(["demo", "--loss", "cosface,triplet", "--loss", "cosface", "--epochs", "1", "--out", str(out)])
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert printed.count("1/1") == 2
    assert "margin=0.35 scale=10" in printed
    assert "margin=0.2 semi_hard" in printed
    image = imread(out)[..., :3]
    assert min(image.shape[:2]) > 700
    assert out.stat().st_size < 1_500_000
    # The disc with its digit at a class centre in front of the sphere.
    in_front = [colour for colour in DIGITS if (np.abs(image - to_rgb(colour)).max(axis=-1) < 1 / 255).sum() > 400]
    assert len(in_front) >= 3


def test_five_losses_are_shown_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("anglos.tools.demo.run.run", lambda losses, *_: asked.append(losses))
    main(["demo"])
    assert asked == [["linear_cross_entropy", "normface", "cosface", "arcface", "sphereface"]]


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--epochs", "0", "was '0'; wanted a whole number of at least 1"),
    ("--epochs", "2.5", "was '2.5'; wanted a whole number of at least 1"),
    ("--seed", "-1", "was '-1'; wanted a whole number of at least 0"),
    ("--loss", "arcface,cosine", f"was 'cosine'; wanted one of {', '.join(RECIPES)}"),
    ("--out", "no/such/folder.png",
     "was 'no/such/folder.png'; wanted a file ending in .png, .svg or .pdf, in a folder that exists"),
    ("--backend", "mlx", "invalid choice: 'mlx'"),
])
def test_bad_options_are_refused(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["demo", f"{option}={value}"])
    assert f"argument {option}: {message}" in capsys.readouterr().err


def without(modules: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules.update(dict.fromkeys({modules})); from anglos.__main__ import main; main()"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("module", "backend", "extra"), [
    ("rich", "numpy", "demo"), ("mlxtend", "numpy", "demo"), ("torch", "torch", "torch"), ("cupy", "cupy", "cupy"),
])
def test_missing_extra_is_one_line(module: str, backend: str, extra: str) -> None:
    ended = without([module], "demo", "--backend", backend)
    assert ended.returncode == 1
    assert ended.stderr == (f"anglos demo: {module} is not installed; pip install 'anglos[{extra}]', "
                            f"or in a clone pip install -e '.[{extra}]'\n")
    assert ended.stdout == ""


def test_cupy_without_a_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = ModuleType("cupy")
    cupy.__dict__["cuda"] = SimpleNamespace(is_available=lambda: False)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "array_api_compat.cupy", cupy)
    with pytest.raises(SystemExit, match="cupy is installed but finds no GPU"):
        main(["demo", "--backend", "cupy"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["losses", "--help", "plot arcface --help", "plot cosface", pytest.param(
    "demo --epochs 1 --loss cosface", marks=pytest.mark.slow), pytest.param(
    "bench --batch 8 --dimension 8 --classes 20 --repeats 1 --library numpy", marks=pytest.mark.slow)])
def test_it_ends_as_unix_tools_do(command: str, tmp_path: Path) -> None:
    """Nobody reads; the disk is full; standard output is closed."""
    def ended(to: str) -> tuple[int, str]:
        text = f'exec "{sys.executable}" -m anglos {command} {to}'
        done = subprocess.run(["sh", "-c", text], cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False,
                              stdout=writing)
        return done.returncode, re.sub(r"(?m)^C = .*\n", "", done.stderr)  # without the progress of bench

    reading, writing = os.pipe()
    os.close(reading)
    assert ended("") == (-signal.SIGPIPE, "")
    assert ended(">/dev/full") == (1, "anglos: standard output: No space left on device\n")
    assert ended(">&-") == (1, "anglos: standard output: Bad file descriptor\n")
    os.close(writing)


def test_losses_needs_the_core_only() -> None:
    ended = without(["rich", "matplotlib", "mlxtend", "torch", "jax", "cupy", "threadpoolctl"], "losses")
    assert ended.returncode == 0, ended.stderr
    heading, *lines = ended.stdout.partition("\n\n")[0].splitlines()
    assert heading.split() == ["loss", "formula", "defaults", "paper"]
    assert [line.split()[0] for line in lines] == list(anglos.LOSSES)
    for line, loss in zip(lines, anglos.LOSSES.values(), strict=True):
        assert loss.formula in line
        assert line.endswith(loss.paper)
