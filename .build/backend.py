"""setuptools, and in an editable install a sight of the package for tools that run no code.

An editable install finds `anglos.backends` beside `anglos` by an import hook, which type checkers and editors do not
run. For them a folder of links, `anglos-stubs`, which nothing imports: they look there for the types of `anglos`.
"""

import base64
import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403

_HERE = Path(__file__).parents[1]


def build_editable(wheel_directory: str, config_settings: object = None, metadata_directory: str | None = None) -> str:
    """An editable wheel, with the path of the folder of links."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    try:
        folder = _linked(_HERE / "build" / "types")
    except OSError:  # on a system without links
        return name
    _add(Path(wheel_directory) / name, "__types__anglos.pth", f"{folder}\n")
    return name


def _linked(folder: Path) -> Path:
    """A folder in which the package is as it is when it is installed; mypy knows stubs by their first file's ending."""
    package = folder / "anglos-stubs"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for path in (*(_HERE / "anglos").iterdir(), _HERE / "backends"):
        if path.name != "__pycache__":
            name = "__init__.pyi" if path.name == "__init__.py" else path.name
            (package / name).symlink_to(os.path.relpath(path, package), target_is_directory=path.is_dir())
    return folder


def _add(wheel: Path, name: str, text: str) -> None:
    """A file in a wheel, and in its record."""
    with zipfile.ZipFile(wheel) as old:
        files = {one: old.read(one) for one in old.namelist()}
    record = next(one for one in files if one.endswith(".dist-info/RECORD"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    files[record] = f"{name},sha256={digest},{len(text.encode())}\n".encode() + files[record]
    files[name] = text.encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as new:
        for one, content in files.items():
            new.writestr(one, content)
