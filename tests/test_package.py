"""The package as a whole: what it imports, exports and documents."""

import ast
import doctest
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import anglos
from anglos import Loss, define
from anglos.tools.table import spell_numbers

ROOT = Path(__file__).parents[1]
LOSS_FILES = sorted((ROOT / "anglos" / "losses").glob("[!_]*.py"))
FRAMEWORKS = ("torch", "jax", "cupy", "flax", "mlx", "ndonnx", "numpy", "mlxtend", "matplotlib", "rich")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_import_touches_no_framework() -> None:
    seen = run("import sys, array_api_compat; before = set(sys.modules); import anglos\n"
               "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))")
    assert not set(FRAMEWORKS) & set(eval(seen)), seen
    assert "anglos" in eval(seen)


def test_a_loss_in_pytorch_imports_no_more_of_it() -> None:
    """Neither the compiler, which takes 70 MB, nor tensors over many devices."""
    seen = run("import sys, torch; before = set(sys.modules); import anglos, anglos.backends.torch\n"
               "head = anglos.backends.torch.Head(anglos.arcface, 3, 2)\n"
               "head(torch.eye(2), torch.tensor([0, 1])).backward()\n"
               "print(sorted({name for name in set(sys.modules) - before if name.startswith('torch.')}))")
    by_itself = ("torch.nested", "torch.fx.experimental._constant_symnode")  # at its first call, since 2.15
    assert [name for name in eval(seen) if not name.startswith(by_itself)] == []


def test_a_call_imports_only_its_own_library() -> None:
    seen = run("import sys, numpy as np, anglos\n"
               "anglos.arcface.value_and_grad(np.ones((2, 3)), np.ones((4, 3)), np.asarray([0, 1]))\n"
               "print([name for name in ('torch', 'jax', 'cupy') if name in sys.modules])")
    assert seen == "[]"


def test_exports_registry_files_and_docs_agree() -> None:
    """A new loss is one file, one export line and one line of docs; this names what is missing."""
    exported = [name for name, value in vars(anglos).items() if isinstance(value, Loss)]
    assert exported == list(anglos.LOSSES)
    assert {path.stem for path in LOSS_FILES} == set(exported)
    table = (ROOT / "README.md").read_text().split("\n## Losses\n")[1].split("\nOptions")[0]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    assert rows == [readme_row(loss) for loss in anglos.LOSSES.values()]


def blocks(path: Path) -> list[str]:
    """The Python of a page, each block on its own lines there, so that a failure names them."""
    text = path.read_text()
    return ["\n" * text.count("\n", 0, found.start(1)) + found[1]
            for found in re.finditer(r"^```python\n(.*?)^```", text, re.M | re.S)]


BLOCKS = blocks(ROOT / "README.md")
MADE = ("gallery", "losses", "reference")  # by the site
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md"))
         if blocks(path) and path.name != "migration.md"  # whose blocks want their other side: test_migration.py
         and path.relative_to(ROOT / "docs").parts[0] not in MADE]


@pytest.mark.parametrize("code", BLOCKS, ids=[re.findall(r"^import (\w+)", code, re.M)[-1] for code in BLOCKS])
def test_readme_examples_run(code: str) -> None:
    if "import cupy" in code and not on_cuda():
        pytest.skip("no CUDA device, or no CuPy")
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert any(key in names for key in ("loss", "rows", "found"))


def on_cuda() -> bool:
    """Whether CuPy can compute here."""
    try:
        return bool(import_module("cupy").cuda.is_available())
    except ModuleNotFoundError:
        return False


def run_page(page: Path, after: Callable[[str], None] = lambda rest: None) -> dict[str, Any]:
    """The names that its blocks leave; what follows a block on the page is looked at when it has run.

    Without a GPU the tutorial of CuPy is run with NumPy's arrays.
    """
    names: dict[str, Any] = {}
    for code in blocks(page):
        lines = code.count("\n")
        if "import cupy" in code and not on_cuda():
            if page.stem != "cupy":
                continue
            code = code.replace("import cupy as cp", "import numpy as cp")
        exec(compile(code, str(page), "exec"), names)
        after("\n".join(page.read_text().split("\n")[lines:]))
    return names


@pytest.mark.parametrize("page", [pytest.param(page, id=str(page.relative_to(ROOT / "docs").with_suffix("")),
                                               marks=[pytest.mark.slow] * (page.parent.name == "tutorials"))
                                  for page in PAGES])
def test_pages_are_scripts_that_run(page: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """What a block prints stands on the page behind it."""
    def is_shown(rest: str) -> None:
        assert " ".join(capsys.readouterr().out.split()) in " ".join(rest.split())

    monkeypatch.chdir(tmp_path)  # where they save
    assert run_page(page, is_shown)


@pytest.mark.slow
def test_losses_of_a_page_are_right() -> None:
    run_page(ROOT / "docs" / "adding.md")["test_my_losses"]()


def readme_row(loss: Loss[...]) -> str:
    cells = (f"`{loss.name}`", loss.formula, spell_numbers(loss.defaults) or "–", loss.paper)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def test_docstring_is_complete_and_its_example_right(loss: Loss[...]) -> None:
    text = inspect.getdoc(loss) or ""
    for section in ("Parameters", "Returns", "Raises", "References", "Examples"):
        assert f"\n{section}\n---" in text, section
    parameters = text.split("\nParameters\n----------\n")[1].split("\n\n")[0]
    described = re.findall(r"^(\w+) : .+\n {4}\S", parameters, re.M)
    assert described == re.findall(r"^(\w.*?) : ", parameters, re.M) == list(inspect.signature(loss).parameters)
    assert "..." not in re.sub(r"\(C, \.\.\.\)", "", parameters)
    test = doctest.DocTestParser().get_doctest(text, {}, loss.name, None, None)
    assert test.examples
    results = doctest.DocTestRunner(verbose=False).run(test)
    assert results.failed == 0


@pytest.mark.parametrize("name", [
    "arrays.dispatch", "define", "engines.elementwise", "engines.pairs.pair_terms", "training.chance",
    "training.class_counts", "training.diagnosis", "training.elastic", "training.schedules", "training.subcenters",
    "plot.diagnosis", "plot.target",
    *(f"losses.{loss}" for loss in ("adacos", "adaface", "angular_triplet", "center", "curricularface",
                                    "sphereface2", "unified_threshold"))])
def test_examples_of_the_functions_beside_the_losses(name: str) -> None:
    results = doctest.testmod(import_module(f"anglos.{name}"))
    assert results.attempted > 0
    assert results.failed == 0


def test_help_shows_the_signature() -> None:
    assert str(inspect.signature(anglos.normface)).startswith("(embeddings: ")
    assert "scale" in str(inspect.signature(anglos.normface))
    assert (anglos.normface.__doc__ or "").startswith(str(anglos.normface.function.__doc__).splitlines()[0])


def test_a_loss_of_ones_own_has_a_docstring_too() -> None:
    """Types, texts and defaults come from the kinds; what the function says of a parameter comes first."""
    def bare(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
             margin: define.Angle = 0.25, steep: bool = False, reduction: define.Reduction = "mean") -> define.Row:
        return define.Row()

    def told(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
             margin: define.Angle = 0.25, steep: bool = False, reduction: define.Reduction = "mean") -> define.Row:
        """Mine.

        Parameters
        ----------
        margin
            m. ...
        steep : what else
            Or not.

        Notes
        -----
        None.
        """
        return define.Row()

    head, parameters, *_ = (define.prototypes(formula="φ = cos θ", paper="me 2026")(bare).__doc__ or "").split("\n\n")
    assert head == "The loss bare: φ = cos θ"
    assert parameters.splitlines()[2:4] == ["embeddings : array (B, D)", "    One row per sample. Its length does not "
                                            "matter; a zero vector has cosine 0 and gradient 0."]
    margin, text, steep, reduction = parameters.splitlines()[9:13]
    assert margin == "margin : angle in radians from 0 to π; a number, or an array () or (B,), default 0.25"
    assert text == "    One for all samples, or one for each; an array is differentiated."
    assert steep == "steep : bool, default False"
    assert reduction == 'reduction : {"mean", "sum", "none"}, default "mean"'
    text = define.prototypes(paper="me 2026")(told).__doc__ or ""
    assert text.startswith("Mine.\n\nParameters\n")
    assert f"{margin}\n    m. One for all samples, or one for each; an array is differentiated.\n" in text
    assert "\nsteep : what else\n    Or not.\nreduction : " in text
    assert text.endswith("Notes\n-----\nNone.\n\nReferences\n----------\nme 2026\n")


def test_files_are_short() -> None:
    """A file holds one idea and fits in the head; docstrings, which users read one at a time, do not count."""
    limits = {"anglos/losses": 55, "backends": 150, "anglos": 200}
    longer = {"anglos/losses/__init__.py": 100,  # the catalogue
              "anglos/losses/sphereface2.py": 110}  # three variants, and the bias at which the loss is least
    long = {}
    for path in [*(ROOT / "anglos").rglob("*.py"), *(ROOT / "backends").rglob("*.py")]:
        name, lines = str(path.relative_to(ROOT)), path.read_text().splitlines()
        texts = [node.body[0] for node in ast.walk(ast.parse(path.read_text()))
                 if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node)]
        words = sum((text.end_lineno or 0) - text.lineno + 1 for text in texts)
        limit = next(limit for folder, limit in limits.items() if name.startswith(folder))
        if len(lines) - words > longer.get(name, limit):
            long[name] = len(lines) - words
    assert long == {}


def test_types_are_seen_by_users(tmp_path: Path) -> None:
    """A misspelt option is a type error."""
    call = "from typing import Any\nimport anglos\nx: Any = None\nanglos.arcface(x, x, x, {}=0.5)\n"
    (tmp_path / "good.py").write_text(call.format("margin"))
    (tmp_path / "bad.py").write_text(call.format("margn"))
    # Without this mypy would read all of PyTorch and JAX on the way.
    (tmp_path / "mypy.ini").write_text("[mypy]\n[mypy-array_api_compat.*]\nfollow_imports = skip\n"
                                       "[mypy-anglos.backends.*]\nignore_missing_imports = True\n")
    for name, status in (("good", 0), ("bad", 1)):
        done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache"), f"{name}.py"],
                              cwd=tmp_path, capture_output=True, text=True, check=False,
                              env={**os.environ, "MYPYPATH": str(ROOT)})
        assert done.returncode == status, done.stdout
    assert 'Unexpected keyword argument "margn"' in done.stdout


@pytest.mark.parametrize("name", ["numpy", "torch", "jax", "cupy", "equinox", "flax", "mlx", "ndonnx"])
def test_adapters_are_importable_as_anglos_backends(name: str) -> None:
    """From anywhere, and without a namesake at the top level."""
    code = ("import importlib.util as u\n"
            f"print(u.find_spec('anglos.backends.{name}').origin, u.find_spec('backends'), u.find_spec('tests'))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    origin, *others = done.stdout.split()
    assert origin.endswith((f"backends/{name}.py", f"backends/{name}/__init__.py"))
    assert others == ["None", "None"]
