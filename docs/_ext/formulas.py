"""The formulas of the registry, which are Unicode for terminals, as TeX."""

import re

_SYMBOLS = {
    "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "ε": r"\varepsilon ", "η": r"\eta ",
    "θ": r"\theta ", "κ": r"\kappa ", "λ": r"\lambda ", "μ": r"\mu ", "π": r"\pi ", "σ": r"\sigma ",
    "ς": r"\varsigma ", "τ": r"\tau ",
    "φ": r"\varphi ", "ψ": r"\psi ", "ℓ": r"\ell ", "Σ": r"\sum ", "−": "-", "·": r"\cdot ", "±": r"\pm ",
    "≠": r"\ne ", "∈": r"\in ", "∉": r"\notin ", "∝": r"\propto ", "≤": r"\le ", "≥": r"\ge ", "′": "'",
    "½": r"\tfrac{1}{2}", "₁": "_1", "₂": "_2", "₃": "_3", "₊": "_+", "⁺": "^+", "²": "^2", "ᵗ": "^t",
    "ẑ": r"\hat z ", "x̂": r"\hat x ", "ŵ": r"\hat w ",
    "cos": r"\cos ", "log": r"\log ", "exp": r"\exp ", "min": r"\min ", "max": r"\max ", "tan": r"\tan ",
    "mean": r"\operatorname{mean}", "softmax": r"\operatorname{softmax}", "lse": r"\operatorname{lse}",
}
_WORD = r"(?:(?:(?!(?:cos|log|exp|min|max|tan|mean_|softmax|lse)\b|mean_)[A-Za-z][A-Za-z'-]+)|\ba(?= [a-z]{2}))"
_WORDS = re.compile(rf"(?<![\w^\\]){_WORD}(?: {_WORD})*(?![\w(])")
_TOKEN = re.compile(r"\\[lr]vert|\\text\{[^}]*\}|\^\(|_\{|_[a-z]{2}|[a-z]̂|[A-Za-z]{2,}|\s+|.", re.S)


def tex(formula: str) -> str:
    """A formula as TeX: " / " is a fraction, and words that are none of its functions are set as words."""
    found = formula.find(" / ")
    if found >= 0:
        start, end = _operand(formula[:found], -1), found + 3 + _operand(formula[found + 3:], 1)
        fraction = rf" \frac{{{_bare(formula[start:found])}}}{{{_bare(formula[found + 3:end])}}}"
        before, after = formula[:start], formula[end:]
        if before.endswith("(") and after.startswith(")"):
            before, after, fraction = before[:-1], after[1:], rf"\left({fraction}\right)"
        return tex(f"{before}\0{after}").replace("\0", fraction)  # no formula has this mark
    parts, closing = [], []
    formula = re.sub(r"\|([^|]+)\|", r"\\lvert \1\\rvert ", formula)
    for token in _TOKEN.findall(_WORDS.sub(lambda words: rf"\text{{{words[0]}}}", formula)):
        if token in ("(", "[", "^("):
            parts.append({"^(": "^{"}.get(token, token))
            closing.append({"(": ")", "[": "]", "^(": "}"}[token])
        elif token in (")", "]"):
            parts.append(closing.pop())
        elif token == ",":
            parts.append(r",\ " if closing else r",\quad ")
        elif re.fullmatch(r"_[a-z]{2}", token):
            parts.append(f"_{{{token[1:]}}}")
        else:
            parts.append(r"\text{ " + token[6:-1] + " }" if token.startswith(r"\text") else _SYMBOLS.get(token, token))
    return " ".join("".join(parts).split())


def _operand(text: str, way: int) -> int:
    """Where the operand of a fraction begins, before it, or ends, after it: at its brackets, or at what it equals."""
    depth = 0
    for index, character in reversed(list(enumerate(text))) if way < 0 else enumerate(text):
        depth += {"(": way, ")": -way}.get(character, 0)
        if depth < 0 or (depth == 0 and character == "="):
            return index + (1 if way < 0 else 0)
    return 0 if way < 0 else len(text)


def _bare(operand: str) -> str:
    """As TeX, without brackets around the whole."""
    text = operand.strip()
    whole = text.startswith("(") and _operand(text[1:], 1) == len(text) - 2
    return tex(text[1:-1] if whole else text)
