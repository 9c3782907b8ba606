"""Characters of the DejaVu fonts that ship inside matplotlib: many classes, a dozen styles of each."""

import unicodedata
from functools import lru_cache
from importlib.resources import as_file, files
from typing import NamedTuple

import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from numpy.typing import NDArray

STYLES = tuple(f"DejaVu{family}{style}" for family, *styles in (
    ("Sans", "", "-Bold", "-Oblique", "-BoldOblique"), ("SansMono", "", "-Bold", "-Oblique", "-BoldOblique"),
    ("Serif", "", "-Bold", "-Italic", "-BoldItalic")) for style in styles)
TRAINING = 800
SIDE = 28
_KINDS = ("Lu", "Ll", "Lt", "Lo", "Nd")  # Unicode's: letters and digits, but no modifiers
_PIXELS = 20
# Two characters whose mean squared difference is less in any style, such as A and the Greek Α, are drawn alike.
_ALIKE = 0.002

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class Glyphs(NamedTuple):
    """Images (N, 28, 28) from 0 to 255, and which character each one shows (N,)."""

    images: Images
    labels: Labels

    def of(self, characters: Labels) -> "Glyphs":
        """Those of some characters, numbered from 0 on in the order given."""
        rows = np.flatnonzero(np.isin(self.labels, characters))
        places = np.full(self.labels.max() + 1, -1)
        places[characters] = np.arange(len(characters))
        return Glyphs(self.images[rows], places[self.labels[rows]])


@lru_cache(1)
def characters() -> str:
    """The letters and digits that every style has, but of those drawn alike in some style only the first."""
    return "".join(_drawn())


@lru_cache(1)
def glyphs() -> Glyphs:
    """Every character in every style, by character."""
    images = np.stack([*_drawn().values()])
    return Glyphs(images.reshape(-1, SIDE, SIDE), np.repeat(np.arange(len(images)), len(STYLES)))


def train_and_test() -> tuple[Glyphs, Glyphs]:
    """800 characters to learn, and the others, none of which is learnt. The same for all seeds."""
    everything = glyphs()
    shuffled = np.random.default_rng(0).permutation(everything.labels.max() + 1)
    return everything.of(shuffled[:TRAINING]), everything.of(shuffled[TRAINING:])


@lru_cache(1)
def _drawn() -> dict[str, Images]:
    folder = files("matplotlib") / "mpl-data" / "fonts" / "ttf"
    fonts = []
    for style in STYLES:
        with as_file(folder / f"{style}.ttf") as path:
            fonts.append(FT2Font(str(path)))
    common = set.intersection(*(set(font.get_charmap()) for font in fonts))
    names = [chr(code) for code in sorted(common) if unicodedata.category(chr(code)) in _KINDS]
    images = np.stack([[_draw(font, name) for font in fonts] for name in names])
    alike, kept = _alike(images), np.ones(len(names), bool)
    for i in range(len(names)):
        kept[i] = not (alike[i, :i] & kept[:i]).any()
    return {name: image for name, image, keep in zip(names, images, kept, strict=True) if keep}


def _alike(images: Images) -> NDArray[np.bool_]:
    """Which of the characters (N, N) are drawn alike in any of their styles, from images (N, 12, 28, 28)."""
    found = np.zeros((len(images), len(images)), bool)
    for style in range(images.shape[1]):
        flat = images[:, style].reshape(len(images), -1) / np.float32(255)
        squares = (flat**2).mean(axis=1)
        found |= squares[:, None] + squares - 2 * (flat @ flat.T) / flat.shape[1] < _ALIKE
    return found


def _draw(font: FT2Font, character: str) -> Images:
    """In the middle of its image, without hints, which would move its lines to pixels."""
    font.clear()
    font.set_size(_PIXELS, 72)
    font.set_text(character, 0, flags=LoadFlags.NO_HINTING)
    font.draw_glyphs_to_bitmap(antialiased=True)
    ink = np.asarray(font.get_image())[:SIDE, :SIDE]
    image = np.zeros((SIDE, SIDE), np.uint8)
    top, left = ((SIDE - size) // 2 for size in ink.shape)
    image[top:top + ink.shape[0], left:left + ink.shape[1]] = ink
    return image
