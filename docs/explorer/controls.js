"use strict";
/* Controls: a number by a box and a slider, a choice by a list; and the state as it stands in an address. */

function tag(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/* What a text is worth as a number of this kind, or why it is refused. */
function readNumber(spec, text) {
  const value = Number(String(text).replace("−", "-")),
    wanted = `${spec.type === "integer" ? "an integer" : "a number"} from ${spec.low} to ${spec.high}`;
  const fits =
    String(text).trim() !== "" &&
    value >= spec.low &&
    value <= spec.high &&
    (spec.type !== "integer" || Number.isInteger(value));
  return fits ? { value } : { refused: `wanted ${wanted}` };
}

class NumberControl {
  constructor(parent, spec, changed) {
    this.spec = spec;
    const id = spec.id ?? `option-${spec.name}`;
    const [first, last] = spec.slider,
      isLog = spec.log || spec.what === "a scale";
    this.toSlider = isLog ? Math.log10 : (value) => value;
    const span = last - first,
      step = spec.type === "integer" && !isLog ? 1 : isLog ? 0.01 : span <= 5 ? 0.01 : span <= 50 ? 0.1 : 1;
    const fromSlider = (at) => {
      const value = isLog ? Number((10 ** at).toPrecision(2)) : Number(Number(at).toFixed(4));
      return Math.min(Math.max(spec.type === "integer" ? Math.round(value) : value, spec.low), spec.high);
    };
    this.box = tag("input", { type: "text", inputMode: "decimal", id, autocomplete: "off", spellcheck: false });
    this.box.setAttribute("aria-describedby", `${id}-said`);
    this.range = tag("input", {
      type: "range",
      id: `${id}-slider`,
      min: this.toSlider(first),
      max: this.toSlider(last),
      step,
    });
    this.range.setAttribute("aria-label", `${spec.label ?? spec.name}, slider`);
    this.said = tag("p", { className: "said", id: `${id}-said` });
    const head = tag(
      "div",
      { className: "head" },
      tag("label", { htmlFor: id, textContent: spec.label ?? spec.name }),
      this.box,
    );
    this.whole = tag("div", { className: "control" }, head, this.range, this.said);
    if (spec.optional) {
      this.none = tag("input", { type: "checkbox", id: `${id}-none` });
      this.none.addEventListener("change", () => {
        const first = this.resolved === null ? fromSlider(this.range.value) : Number(this.resolved.toPrecision(4));
        changed(this.none.checked ? null : (this.last ?? first));
      });
      head.insertBefore(tag("label", { className: "none", htmlFor: this.none.id }, this.none, "None"), this.box);
    }
    this.box.addEventListener("input", () => {
      const { value, refused } = readNumber(spec, this.box.value);
      this.box.setAttribute("aria-invalid", Boolean(refused));
      if (refused) this.said.textContent = refused;
      else changed(value);
    });
    this.box.addEventListener("change", () => this.show(this.value, this.resolved));
    this.box.addEventListener("keydown", (event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way || this.value === null) return;
      event.preventDefault();
      const stepped = Number((this.value + way * (spec.type === "integer" ? 1 : span <= 5 ? 0.01 : 1)).toPrecision(10));
      changed(Math.min(Math.max(stepped, spec.low), spec.high));
    });
    this.range.addEventListener("input", () => changed(fromSlider(Number(this.range.value))));
    parent.append(this.whole);
  }

  /* The value; for none what the loss makes of it. */
  show(value, resolved = null) {
    const { box, range, spec } = this;
    Object.assign(this, { value, resolved, last: value ?? this.last });
    const isNone = value === null,
      shown = value ?? resolved;
    if (this.none) this.none.checked = isNone;
    box.disabled = range.disabled = isNone;
    if (document.activeElement !== box || readNumber(spec, box.value).value !== value) {
      box.value = isNone ? (shown === null ? "" : spell(shown)) : String(value);
    }
    box.setAttribute("aria-invalid", false);
    if (shown !== null) range.value = this.toSlider(Math.max(shown, spec.low));
    range.setAttribute("aria-valuetext", shown === null ? "None" : spell(shown));
    this.said.textContent = isNone
      ? spec.none
      : (spec.say?.(value) ?? (spec.what === "a scale" ? "" : (spec.what ?? "")));
  }
}

/* As Python has it. */
const spellChoice = (value) =>
  value === true ? "True" : value === false ? "False" : value === null ? "None" : String(value);

class ChoiceControl {
  constructor(parent, spec, changed) {
    const id = `option-${spec.name}`;
    this.list = tag(
      "select",
      { id },
      ...spec.choices.map(spellChoice).map((value) => tag("option", { value, textContent: value })),
    );
    this.list.addEventListener("change", () =>
      changed(spec.choices.find((choice) => spellChoice(choice) === this.list.value)),
    );
    parent.append(
      tag(
        "div",
        { className: "control" },
        tag("div", { className: "head" }, tag("label", { htmlFor: id, textContent: spec.name }), this.list),
      ),
    );
  }

  show(value) {
    this.list.value = spellChoice(value);
  }
}

/* Two numbers, of which the first stays the smaller. */
class PairControl {
  constructor(parent, spec, changed) {
    const part = (i, label) =>
      new NumberControl(
        parent,
        {
          ...spec,
          id: `option-${spec.name}-${i}`,
          label: `${spec.name}[${i}]`,
          low: spec.low + i * 0.001,
          high: spec.high - (1 - i) * 0.001,
        },
        (value) => {
          const [low, high] = this.value;
          changed(
            i
              ? [Math.min(low, Number((value - 0.001).toFixed(6))), value]
              : [value, Math.max(high, Number((value + 0.001).toFixed(6)))],
          );
        },
      );
    this.parts = [part(0), part(1)];
  }

  show(value) {
    this.value = value;
    this.parts.forEach((part, i) => part.show(value[i]));
  }
}

const CONTROLS = { number: NumberControl, integer: NumberControl, choice: ChoiceControl, pair: PairControl };

/* The state in the address, after a #: all that differs from the defaults. */

const SCENE = [
  {
    name: "theta",
    label: "θ of the embedding",
    type: "number",
    low: 0,
    high: 180,
    slider: [0, 180],
    default: 40,
    what: "degrees from the label’s prototype",
  },
  {
    name: "rival",
    label: "angle of the rival",
    type: "number",
    low: 0,
    high: 180,
    slider: [0, 180],
    default: 90,
    what: "degrees from the label’s prototype",
  },
  {
    name: "classes",
    label: "number of classes C",
    type: "integer",
    low: 2,
    high: 1e7,
    slider: [2, 1e6],
    log: true,
    default: 1000,
    say: (classes) =>
      classes > 2
        ? `the label’s, the rival, and ${(classes - 2).toLocaleString("en")} at right angles`
        : "the label’s and the rival",
  },
  {
    name: "length",
    label: "length |x|",
    type: "number",
    low: 0.001,
    high: 1000,
    slider: [0.5, 150],
    default: 30,
    what: "of the embedding, which matters to this loss",
  },
  {
    name: "wanted",
    label: "probability wanted",
    type: "number",
    low: 0.001,
    high: 0.999999,
    slider: [0.01, 0.9999],
    default: 0.99,
  },
];

const specOf = (loss) => LOSSES.find(({ name }) => name === loss);
const defaultsOf = (specs) => Object.fromEntries(specs.map((spec) => [spec.name, spec.default]));

function toHash(state) {
  const found = [["loss", state.loss]];
  const add = (specs, values) =>
    specs.forEach((spec) => {
      const value = values[spec.name];
      if (JSON.stringify(value) !== JSON.stringify(spec.default)) found.push([spec.name, spellChoice(value)]);
    });
  add(specOf(state.loss).options, state.options);
  add(SCENE, state);
  return `#${found.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&")}`;
}

/* A value in an address, or why it is refused. */
function readValue(spec, text) {
  if (spec.type === "choice") {
    const value = spec.choices.find((choice) => spellChoice(choice) === text);
    return value === undefined ? { refused: `wanted one of ${spec.choices.map(spellChoice).join(", ")}` } : { value };
  }
  if (spec.optional && text === "None") return { value: null };
  if (spec.type !== "pair") return readNumber(spec, text);
  const parts = text.split(",").map((part) => readNumber(spec, part));
  const fits = parts.length === 2 && parts.every(({ refused }) => !refused) && parts[0].value < parts[1].value;
  return fits
    ? { value: parts.map(({ value }) => value) }
    : { refused: `wanted two numbers from ${spec.low} to ${spec.high}, the first the smaller` };
}

function fromHash(hash) {
  const given = new Map(),
    refusals = [];
  for (const part of hash.replace(/^#/, "").split("&").filter(Boolean)) {
    const [name, text = ""] = part.split("=");
    try {
      given.set(name, decodeURIComponent(text));
    } catch {
      refusals.push(`${name} could not be read`);
    }
  }
  let loss = given.get("loss") ?? "arcface";
  given.delete("loss");
  if (!specOf(loss)) {
    refusals.push(`loss was ${loss}; there is no such loss here`);
    loss = "arcface";
  }
  const { options } = specOf(loss),
    state = { loss, options: defaultsOf(options), ...defaultsOf(SCENE) };
  for (const [name, text] of given) {
    const ofLoss = options.find((spec) => spec.name === name),
      spec = ofLoss ?? SCENE.find((one) => one.name === name);
    const { value, refused } = spec ? readValue(spec, text) : { refused: `${loss} has no such option` };
    if (refused) refusals.push(`${name} was ${text}; ${refused}`);
    else if (ofLoss) state.options[name] = value;
    else state[name] = value;
  }
  return { state, refusals };
}

/* The call in Python: numbers in force, and what differs from the library's defaults. */
function spellCall({ loss, options }) {
  const python = (value) =>
    Array.isArray(value) ? `(${value.join(", ")})` : typeof value === "string" ? `"${value}"` : spellChoice(value);
  const named = specOf(loss)
    .options.filter((spec) => {
      const value = options[spec.name];
      return JSON.stringify(value) !== JSON.stringify(spec.library) || (spec.type !== "choice" && value);
    })
    .map((spec) => `${spec.name}=${python(options[spec.name])}`);
  return `anglos.${loss}(${["embeddings", "weights", "labels", ...named].join(", ")})`;
}
