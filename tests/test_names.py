"""The names that tools see: what `dir` lists, what `help` and editors show of a loss."""

import inspect
import pydoc
import subprocess
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

import pytest

import anglos
from anglos import Loss
from anglos.call import guesses

MODULES = ("anglos", "anglos.define", "anglos.classes", "anglos.memory", "anglos.mining", "anglos.plot",
           "anglos.evaluate", "anglos.backends",
           *(f"anglos.backends.{name}" for name in ("equinox", "flax", "jax", "mlx", "ndonnx", "torch")))


@pytest.mark.parametrize("name", MODULES)
def test_dir_lists_what_is_public(name: str) -> None:
    """Every name is there and is anglos's own; none is a room of the house."""
    try:
        module = import_module(name)
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")
    for one in dir(module):
        value: Any = getattr(module, one)
        assert one == "__version__" or one[0] != "_"
        if isinstance(value, ModuleType):
            assert value.__name__ in MODULES or value.__name__.startswith("anglos.engines.")  # what a row names
        elif inspect.isroutine(value) or inspect.isclass(value):
            assert value.__module__.startswith("anglos."), one
    assert set(getattr(module, "__all__", ())) <= set(dir(module))


def test_a_star_imports_the_losses_and_what_is_beside_them() -> None:
    names: dict[str, Any] = {}
    exec("from anglos import *", names)
    assert {*anglos.LOSSES, "define", "mining", "degrees", "Loss"} <= names.keys() <= {*dir(anglos), "__builtins__"}
    exec("from anglos.mining import *", names)
    assert names["batch_hard"] is anglos.mining.batch_hard


def test_modules_that_are_imported_later_are_there_when_asked_for() -> None:
    code = ("import anglos, sys; assert 'matplotlib' not in sys.modules\n"
            "print(anglos.plot.plot_target.__name__, anglos.backends.register.__name__)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "plot_target register\n"
    with pytest.raises(AttributeError, match=r"^module 'anglos' has no attribute 'arcfac'"):
        anglos.arcfac  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize(("name", "hint"), [
    ("Head", r"\(it is in anglos\.backends\.torch, .*flax and .*equinox\)"),
    ("verification", r"\(it is in anglos\.evaluate\)"),
    ("ArcFaceLoss", r"\(losses are functions: anglos\.arcface\)"), ("NTXentLoss", r"\(.*: anglos\.nt_xent\)"),
    ("SubCenterArcFaceLoss", r"\(.*: anglos\.subcenter_arcface\)"), ("NPairsLoss", r"\(.*: anglos\.n_pair\)"),
    ("ArcMarginProduct", r"\(.*: anglos\.arcface\)"), ("__path", ""), ("_ArcFac", ""),
])
def test_a_name_of_other_libraries_is_understood(name: str, hint: str) -> None:
    with pytest.raises(AttributeError, match=rf"^module 'anglos' has no attribute '{name}'{' ' * bool(hint)}{hint}$"):
        getattr(anglos, name)


def test_hints_know_where_names_are() -> None:
    for modules, names in guesses._ELSEWHERE.items():
        for module in modules.replace(" and ", ", ").split(", "):
            assert set(names) <= set(dir(import_module(module)))
    assert set(guesses._CLASSES.values()) <= {one.replace("_", "") for one in anglos.LOSSES}


def test_help_shows_arguments_and_defaults(loss: Loss[...]) -> None:
    """In its first line, by the types that users know."""
    heading = pydoc.plain(pydoc.render_doc(loss)).splitlines()[2]
    assert heading == f"{loss.name}{inspect.signature(loss)}"
    for name, parameter in inspect.signature(loss).parameters.items():
        assert str(parameter) in heading
        assert parameter.default is inspect.Parameter.empty or name not in loss.defaults or (
            parameter.default == loss.defaults[name])
    assert not {"Annotated", "typing", "anglos", "Kind", "ArrayOf"} & set(heading.replace(".", " ").split())
    assert "scale: float | Array = 64.0" in str(inspect.signature(anglos.arcface))


def test_a_loss_of_a_class_is_itself() -> None:
    """What makes `help` show a signature binds no instance."""
    class Trainer:
        loss = anglos.arcface

    assert Trainer.loss is Trainer().loss is anglos.arcface
