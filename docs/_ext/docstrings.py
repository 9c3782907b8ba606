"""Docstrings of anglos, which are plain text with Unicode formulas, as reStructuredText that shows them as they are."""

import re
from typing import Any

_LINKS = (
    (re.compile(r"arXiv:(\d{4}\.\d{4,5})"), r"`arXiv:\1 <https://arxiv.org/abs/\1>`__"),
    (re.compile(r"doi:(10\.\S*[\w)])"), r"`doi:\1 <https://doi.org/\1>`__"),
)
_MARKS = re.compile(r"([\\|*`])|(?<=\w)_(?!\w)")


def as_rst(lines: list[str]) -> list[str]:
    """Every line with its marks escaped and its papers linked, except in examples."""
    done, example = [], False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        done.append(line if example or not line.strip("- ") else escape(line))
    return done


def escape(line: str) -> str:
    """`name` becomes a literal; every other mark is what it looks like."""
    parts = re.split(r"`([^`]+)`", line)
    parts[1::2] = [f"``{literal}``" for literal in parts[1::2]]
    parts[::2] = [_MARKS.sub(lambda mark: "\\" + mark[0], text) for text in parts[::2]]
    text = "".join(parts)
    for pattern, link in _LINKS:
        text = pattern.sub(link, text)
    return re.sub(r"^(\s*)(\w\. )", r"\1\\\2", text)  # "s. An array" is no item of a list


def as_markdown(text: str) -> str:
    """A line for a page of Markdown: marks as they are, and papers linked."""
    text = re.sub(r"([\\|*_<\[\]])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", text)
    text = _LINKS[0][0].sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return _LINKS[1][0].sub(r"[doi:\1](https://doi.org/\1)", text)


def _process(app: Any, what: str, name: str, target: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rst(lines)


def setup(app: Any) -> dict[str, bool]:
    """Before numpydoc, which makes sections of the lines."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
