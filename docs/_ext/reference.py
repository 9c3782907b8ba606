"""The reference: every public name that is no loss, a page for each module."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Annotated, Any, get_origin

from docstrings import escape

import anglos
from anglos.call.documentation import type_of
from anglos.call.static_kinds import kind_of

MODULES = {
    "anglos": "Beside the losses",
    "anglos.define": "Losses of your own: `define`",
    "anglos.classes": "Rare classes: `classes`",
    "anglos.memory": "Memories of past batches: `memory`",
    "anglos.mining": "Triplets of a batch: `mining`",
    "anglos.evaluate": "Evaluation: `evaluate`",
    "anglos.plot": "Pictures: `plot`",
    "anglos.backends.torch": "PyTorch",
    "anglos.backends.jax": "JAX",
    "anglos.backends.flax": "Flax",
    "anglos.backends.equinox": "Equinox",
}

def public(module: Any) -> list[str]:
    """The names that a module shows."""
    shown = (name for name in dir(module) if name[0] != "_" and not inspect.ismodule(getattr(module, name)))
    return sorted(shown, key=str.casefold)


def modules() -> dict[str, Any]:
    """By their names."""
    return {name: import_module(name) for name in MODULES}


def pages() -> dict[str, str]:
    """Every page by its name."""
    seen: dict[int, str] = {}
    return {name.rpartition(".")[2]: _page(name, module, seen) for name, module in modules().items()}


def _page(name: str, module: Any, seen: dict[int, str]) -> str:
    text = "" if name == "anglos" else "\n".join(map(escape, inspect.getdoc(module).split("\n")))
    parts = [f"# {MODULES[name]}", f"```{{eval-rst}}\n.. py:module:: {name}\n\n{text}\n```"]
    for each in public(module):
        value = getattr(module, each)
        if callable(value) and each == getattr(value, "__name__", None):
            seen.setdefault(id(value), f"{name}.{each}")
    parts += [f"```{{eval-rst}}\n{entry}\n```" for each in public(module)
              for entry in _entry(f"{name}.{each}", getattr(module, each), seen)]
    return "\n\n".join(parts) + "\n"


def _entry(name: str, value: Any, seen: dict[int, str]) -> Iterator[str]:
    """The directive that documents a name; a second name of the same thing says so."""
    if isinstance(value, anglos.Loss) or inspect.ismodule(value):
        return
    module, _, short = name.rpartition(".")
    kind, options = "class" if inspect.isclass(value) else "function", f"\n   :module: {module}"
    if seen.get(id(value), name) != name:
        yield f".. py:{kind}:: {short}{options}\n\n   The same as ``{seen[id(value)]}``."
    elif get_origin(value) is Annotated:
        told = kind_of(value)
        text = " ".join((getattr(told, "text", "") or "").split())
        yield f".. py:data:: {short}{options}\n\n   {escape(type_of(told))}. {escape(text)}"
    elif inspect.isclass(value):
        yield f".. autoclass:: {name}\n   :members:"
    elif callable(value) and get_origin(value) is None:
        yield f".. autofunction:: {name}"
    else:
        yield f".. autodata:: {name}\n   :no-value:"
