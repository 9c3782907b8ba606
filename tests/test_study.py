"""`python -m anglos study`: its characters, batches and network, a training compared with the page's, and the page."""

import json
import re
from collections import Counter
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anglos
from anglos import evaluate
from anglos.__main__ import main
from anglos.tools.commands import study as command
from anglos.tools.demo.backends import BACKENDS, Library, by_hand
from anglos.tools.study import run as whole_study
from anglos.tools.study.cells import CURVES, Cell, append, chosen, key_of, make, read, tuning, with_seeds
from anglos.tools.study.glyphs import STYLES, TRAINING, characters, train_and_test
from anglos.tools.study.intervals import SEEDS, Estimate, draws, of_draws, over_seeds
from anglos.tools.study.network import LAYERS, STANDARDISED, embed, outputs, patches
from anglos.tools.study.pictures import PICTURES
from anglos.tools.study.recipes import MAIN, PAIRS, PER_CLASS, PROTOTYPES, RECIPES, SETTINGS
from anglos.tools.study.run import fill, filled
from anglos.tools.study.tables import estimate, tables, whole
from anglos.tools.study.tasks import BATCH, TASKS, TOGETHER, batches, task
from anglos.tools.study.train import STEPS, by_class, initial, train

DOCS = Path(__file__).parents[1] / "docs"
RECORDS = read(DOCS / "study.jsonl")
strict: Any = import_module("array_api_strict")


def test_characters_are_many_and_none_is_learnt_and_verified() -> None:
    learnt, judged = train_and_test()
    assert len(characters()) == len(set(characters())) == 1104
    assert learnt.images.shape == (TRAINING * len(STYLES), 28, 28)
    assert judged.images.shape == (304 * len(STYLES), 28, 28)
    for some in (learnt, judged):
        assert set(Counter(some.labels.tolist()).values()) == {len(STYLES)}
    assert not {image.tobytes() for image in learnt.images} & {image.tobytes() for image in judged.images}
    assert {"A", "ß", "Я", "7"} <= set(characters())
    assert not {"Α", "А"} & set(characters())  # the Greek and the Cyrillic letter, drawn as the Latin one


def test_settings_are_chosen_by_characters_of_their_own() -> None:
    for name in TASKS:
        (tune, held), (learnt, judged) = task(name)
        images = [{image.tobytes() for image in some.images} for some in (tune, held, learnt, judged)]
        assert not images[0] & images[1]
        assert not images[2] & images[3]
        assert not images[1] & images[3]
        assert images[0] <= images[2]


@pytest.mark.parametrize("name", ["characters", "characters-20", "digits"])
def test_a_batch_has_four_images_of_a_character(name: str) -> None:
    some = task(name)[1][0]
    seen: Counter[int] = Counter()
    for images, labels in batches(some, 40, np.random.default_rng(0)):
        assert images.shape == (BATCH, 28, 28)
        assert (labels.reshape(-1, TOGETHER) == labels[::TOGETHER, None]).all()
        seen.update(labels.tolist())
    of_each = np.asarray([*seen.values()])
    assert len(seen) == some.labels.max() + 1 == len(of_each)
    assert of_each.max() - of_each.min() <= len(some.labels) // len(seen)


def test_every_loss_sees_the_same_batches_from_the_same_start() -> None:
    started: dict[str, Any] = {}
    for loss in RECIPES:
        random = np.random.default_rng(3)
        parameters = initial(loss, 5, random)
        assert parameters.keys() - {"weights"} == {f"{part}{i}" for i in range(len(LAYERS))
                                                   for part in ("kernel", "bias")}
        assert ("weights" in parameters) == (loss in PROTOTYPES)
        if loss in PROTOTYPES:
            weights = parameters["weights"].reshape(5, PER_CLASS.get(loss, 1), -1)[:, 0]
            assert np.array_equal(weights, started.setdefault("weights", weights))
        assert np.array_equal(parameters["kernel2"], started.setdefault("kernel2", parameters["kernel2"]))
        drawn = random.integers(10**9)  # as the batches will be
        assert drawn == started.setdefault("next", drawn)


def test_places_that_are_joined_are_neighbours() -> None:
    image = np.zeros((1, 28, 28), np.uint8)
    image[0, :12, :12] = 255  # the upper left, which the last layer sees as its first quarter
    ink = patches(image)[0].max(axis=1) > 0.5
    assert ink[:4].all()
    assert not ink[12:].any()


@pytest.mark.parametrize("recipe", ["arcface", "supcon", "subcenter_arcface", "linear_cross_entropy"])
def test_the_gradient_of_the_network_is_the_gradient(recipe: str) -> None:
    random = np.random.default_rng(0)
    images, labels = next(batches(task("digits")[1][0], 1, random))
    parameters = initial(recipe, 10, random)
    options = {name: value for name, value in RECIPES[recipe][0].items() if name != "rate"}

    def gradient(library: Library) -> tuple[float, dict[str, Any]]:
        arrays = {part: library.xp.asarray(value.astype(np.float64)) for part, value in parameters.items()}
        value, found = library.gradient(anglos.LOSSES[recipe], arrays, library.xp.asarray(
            patches(images).astype(np.float64)), library.xp.asarray(labels), options)
        return float(value), {part: np.asarray(array) for part, array in found.items()}

    value, expected = gradient(BACKENDS["torch"](STANDARDISED))
    for library in (BACKENDS["numpy"](STANDARDISED),
                    Library(strict, partial(by_hand, strict, network=STANDARDISED), np.asarray)):
        other, found = gradient(library)
        assert other == pytest.approx(value, rel=1e-12)
        assert found.keys() == expected.keys() == parameters.keys()
        largest = max(np.abs(array).max() for array in expected.values())  # of the last bias it is 0, to rounding
        for part in expected:
            np.testing.assert_allclose(found[part], expected[part], rtol=0, atol=1e-12 * largest)


def test_embeddings_are_those_of_training_but_for_what_they_are_standardised_by() -> None:
    images = task("digits")[1][1].images[:50]
    parameters = initial("supcon", 1, np.random.default_rng(0))
    raw = outputs(parameters, images)
    expected = embed(np, parameters, patches(images))[-1]
    np.testing.assert_allclose((raw - raw.mean(axis=0)) / np.sqrt(raw.var(axis=0) + 1e-5), expected, atol=1e-4)


def test_recipes_have_as_many_settings_and_every_loss_can_be_trained() -> None:
    learnt = task("digits")[1][0]
    for loss, settings in RECIPES.items():
        assert len({json.dumps(setting) for setting in settings}) == SETTINGS, loss
        for setting in settings:
            assert np.isfinite(train("numpy", loss, setting, learnt, 0, steps=1).curve).all(), (loss, setting)
    assert set(PROTOTYPES) == {loss for loss in RECIPES if "weights" in anglos.LOSSES[loss].arrays}
    assert set(RECIPES) - set(PROTOTYPES) == set(PAIRS)


def test_a_character_that_is_hard_is_seen() -> None:
    """The mean is the EER; resampled, they are what `evaluate` makes of classes drawn anew."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(60), 8)
    found = random.normal(size=(60, 16))[labels] + random.normal(size=(480, 16)) * np.where(labels == 7, 4, 1)[:, None]
    verified = evaluate.verification(found, labels, far=0.01, replicates=1000)
    shares = by_class(found.astype(np.float32), labels, verified.eer_threshold)
    assert shares.mean() == pytest.approx(verified.eer, abs=2e-3)
    assert shares.argmax() == 7
    record = {"classes": (1e5 * shares).tolist()}
    interval = of_draws(verified.eer, draws({"one": [record, record]})["one"])
    assert interval.low == pytest.approx(verified.intervals["eer"].low, abs=0.004)
    assert interval.high == pytest.approx(verified.intervals["eer"].high, abs=0.006)


def test_interval_over_seeds() -> None:
    """Of 1, 2, 3: the mean 2, the deviation 1, 4.303 / √3 on either side."""
    assert over_seeds([1.0, 2.0, 3.0]) == pytest.approx((2.0, 2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5))
    assert over_seeds([1.0, 1.1]).apart(over_seeds([9.0, 9.1]))
    assert not over_seeds([1.0, 2.0]).apart(over_seeds([2.0, 3.0]))
    assert all(np.isfinite(over_seeds([0.0] * seeds)).all() for seeds in SEEDS)


def test_the_setting_of_least_error_is_tested() -> None:
    tune = next(tuning(["characters"], ["arcface"], "numpy"))
    done = {cell.key(): {"eer": error, "map_at_r": 1 - error}
            for cell, error in zip(tune, (0.3, 0.1, 0.1, 0.2), strict=True)}
    assert chosen(tune, done) == RECIPES["arcface"][1]
    cells = with_seeds(tune, done, 5)
    assert [cell.seed for cell in cells] == [0, 1, 2, 3, 4]
    other = done | {tune[3].key(): {"eer": 0.2, "map_at_r": 1.0}}
    assert [(json.dumps(cell.setting), cell.seed) for cell in with_seeds(tune, other, 2)] == [
        (json.dumps(RECIPES["arcface"][place]), seed) for place in (1, 3) for seed in (0, 1)]
    assert {(cell.part, cell.steps, json.dumps(cell.setting)) for cell in cells} == {
        ("test", STEPS, json.dumps(RECIPES["arcface"][1]))}


@pytest.mark.parametrize("backend", ["numpy", "torch", "jax"])
def test_a_training_is_that_of_the_page(backend: str) -> None:
    """The same curve in every library. Rounding grows: it is compared closely at first, and where it leads in sum."""
    expected = next(record for record in RECORDS if (record["part"], record["loss"], record["backend"]) == (
        "curve", "arcface", "numpy"))
    found = make(Cell(**{name: expected[name] for name in Cell._fields} | {"backend": backend}))
    np.testing.assert_allclose(found["curve"][:10], expected["curve"][:10], rtol=1e-4)
    np.testing.assert_allclose(found["curve"], expected["curve"], rtol=0.05)
    assert found["eer"] == pytest.approx(expected["eer"], abs=0.003)
    assert found["map_at_r"] == pytest.approx(expected["map_at_r"], abs=0.02)


def test_nothing_is_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                               ) -> None:
    out, page = tmp_path / "study.jsonl", tmp_path / "page.md"
    page.write_text("as it was")
    again = partial(whole_study.run, ["digits"], ["normface"], 2, "numpy", (), str(out), str(page), steps=10)
    again()
    assert len({key_of(record) for record in read(out)}) == len(read(out)) == SETTINGS + 2
    assert capsys.readouterr().err.count("EER") == len(read(out))
    before = out.read_text()
    monkeypatch.setattr(whole_study, "make", lambda cell: pytest.fail("made again"))
    again()
    assert out.read_text() == before
    assert page.read_text() == "as it was"  # there is no table yet, nor a place for one


@pytest.mark.parametrize(("second", "message"), [
    (b'{"a": 1}\n', "'part' was None, wanted a word"),
    (json.dumps(RECORDS[1] | {"eer": "5 %"}).encode() + b"\n", "'eer' was '5 %', wanted a number"),
    (json.dumps(RECORDS[1] | {"seed": True}).encode() + b"\n", "'seed' was True, wanted an integer"),
    (b"[1, 2]\n", "was [1, 2], wanted a JSON object; wanted a file that anglos study wrote"),
    (b"\xff\xfe\n", "wanted a JSON object; wanted a file that"),
    (b'{"part": "te', """was {"part": "te, wanted a JSON object (an interrupted write: delete this line"""),
])
def test_a_file_that_it_did_not_write_is_refused_before_any_training(
        second: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_study, "make", lambda cell: pytest.fail("made"))
    out = tmp_path / "study.jsonl"
    out.write_bytes(json.dumps(RECORDS[0]).encode() + b"\n" + second)
    with pytest.raises(SystemExit) as refused:
        main(["study", "--task", "digits", "--out", str(out)])
    assert str(refused.value).startswith(f"anglos study: {out}, line 2: ")
    assert message in str(refused.value)


def test_a_last_line_without_an_end_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "study.jsonl"
    for record in RECORDS[:3]:
        append(out, record)
        out.write_bytes(out.read_bytes().rstrip())
    assert read(out) == RECORDS[:3]


def test_the_page_is_made_from_its_records() -> None:
    text, made = (DOCS / "study.md").read_text(), tables(RECORDS)
    assert set(re.findall(r"<!-- study: (\w+) -->", text)) == set(made)
    assert filled(text, made) == text
    for name in PICTURES:
        assert f"(study-{name}.svg)" in text
        assert (DOCS / f"study-{name}.svg").stat().st_size < 400_000
    assert (DOCS / "study.jsonl").stat().st_size < 800_000


def test_the_page_says_what_it_was_made_of() -> None:
    found = whole(RECORDS)
    assert found.keys() >= {*MAIN, *CURVES}
    for many in found.values():
        assert [record["seed"] for record in many] == list(range(5))
        assert {record["steps"] for record in many} == {STEPS}
        for record in many:
            # The EER lies between two thresholds: to half a genuine pair of 20,064.
            assert np.mean(record["classes"]) / 1e5 == pytest.approx(record["eer"], abs=3e-5)


def test_the_answers_of_the_page_are_in_its_records() -> None:
    found = {(name, figure): whole(RECORDS, name, figure) for name in ("characters", "characters-longer")
             for figure in ("eer", "map_at_r")}

    def apart(name: str, figure: str, loss: str, other: str) -> bool:
        return estimate(found[name, figure][loss], figure).apart(estimate(found[name, figure][other], figure))

    def difference(name: str, figure: str, loss: str, other: str) -> Estimate:
        many = found[name, figure]
        return over_seeds([a[figure] - b[figure] for a, b in zip(many[loss], many[other], strict=True)])

    for loss in ("normface", "cosface", "arcface"):
        assert apart("characters-longer", "eer", loss, "linear_cross_entropy")
        assert difference("characters-longer", "eer", loss, "linear_cross_entropy").high < 0
        for name in ("characters", "characters-longer"):
            assert apart(name, "map_at_r", loss, "linear_cross_entropy")
            assert difference(name, "map_at_r", loss, "linear_cross_entropy").low > 0
    assert not any(apart(name, figure, loss, "normface") for name, figure in found for loss in ("cosface", "arcface"))
    assert difference("characters", "map_at_r", "arcface", "normface").low > 0
    assert difference("characters", "map_at_r", "arcface", "normface").mean == pytest.approx(0.018, abs=5e-4)
    assert difference("characters-longer", "map_at_r", "arcface", "normface").low < 0
    assert apart("characters", "eer", "supcon", "normface")
    assert difference("characters", "eer", "supcon", "normface").high < 0
    assert [estimate(found["characters-longer", by]["normface"], "map_at_r").mean for by in ("eer", "map_at_r")] == (
        pytest.approx([0.733, 0.749], abs=6e-4))


def test_with_ten_classes_the_scale_decides() -> None:
    chosen_of = {(record["loss"], json.dumps(record["setting"])): record["eer"] for record in RECORDS
                 if (record["part"], record["task"]) == ("tune", "digits")}
    for loss in ("cosface", "arcface"):
        assert all(error < chosen_of["normface", '{"scale": 8.0}'] for (name, setting), error in chosen_of.items()
                   if name == loss and '"scale": 8.0' in setting)
    digits = whole(RECORDS, "digits")
    assert digits["normface"][0]["setting"] == {"scale": 4.0}
    for loss in ("cosface", "arcface"):
        assert over_seeds([a["eer"] - b["eer"] for a, b in zip(digits[loss], digits["normface"], strict=True)]).low > 0


def test_a_table_without_records_leaves_the_page() -> None:
    text = "<!-- study: longer -->\n\nas it was\n\n<!-- end -->"
    assert filled(text, {}) == text
    assert tables([]) == {}


def test_what_the_command_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("anglos.tools.study.run.run", lambda *given: asked.append(given))
    out = str(tmp_path / "s.jsonl")
    main(["study", "--loss", "arcface,supcon", "--seeds", "3", "--backend", "jax", "--task", "digits", "--out", out])
    main(["study", "--out", out, "--curves", "numpy,torch"])
    assert asked == [(["digits"], ["arcface", "supcon"], 3, "jax", (), out, None),
                     ([*TASKS], [*RECIPES], 5, "numpy", ("numpy", "torch"), out, None)]
    assert set(command.TASKS) == set(TASKS)


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--seeds", "1", "invalid choice: 1"),
    ("--loss", "cosine", f"was 'cosine'; wanted one of {', '.join(RECIPES)}"),
    ("--task", "faces", f"was 'faces'; wanted one of {', '.join(command.TASKS)}"),
    ("--out", "no/such/folder.jsonl", "was 'no/such/folder.jsonl'; wanted a file ending in .jsonl"),
    ("--page", "page.html", "was 'page.html'; wanted a file ending in .md"),
    ("--page", "missing.md", "was 'missing.md'; wanted a file ending in .md, with tables to be replaced"),
])
def test_bad_options_are_refused(option: str, value: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["study", f"{option}={value}"])
    assert message in capsys.readouterr().err


def test_fill_keeps_the_rest(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- study: a -->\n\n<!-- end --> and <!-- study: b -->\n\nold\n\n<!-- end -->")
    fill(page, {"a": "new"})
    assert page.read_text() == "<!-- study: a -->\n\nnew\n\n<!-- end --> and <!-- study: b -->\n\nold\n\n<!-- end -->"
