"use strict";
/* The page: one state; every change draws it anew. */

const at = (id) => document.getElementById(id);
const kept = new Map(); // the options of losses that were looked at
let state,
  controls = [];

const circleFigure = new Circle(at("circle"), (name, degrees) => change({ [name]: degrees }));
const pick = (degrees) => change({ theta: degrees });
const CHARTS = Object.fromEntries(
  [
    ["target", "What replaces cos θ"],
    ["slope", "Its slope in θ"],
    ["logits", "Logits"],
    ["probability", "Probability of the label"],
    ["loss", "Loss"],
    ["gradient", "Slope of the loss along the circle"],
  ].map(([name, title]) => [name, new Chart(at("charts"), title, pick)]),
);

function change(part) {
  Object.assign(state, part);
  schedule();
  later();
}

function changeOption(name, value) {
  state.options = { ...state.options, [name]: value };
  kept.set(state.loss, state.options);
  change({});
}

let frame = 0;
function schedule() {
  frame ||= requestAnimationFrame(() => {
    frame = 0;
    draw();
  });
}

/* What need not follow every movement: the address, and what is read out. */
let timer = 0;
function later() {
  clearTimeout(timer);
  timer = setTimeout(() => {
    history.replaceState(null, "", toHash(state));
    at("said").textContent = at("numbers").dataset.spoken;
  }, 350);
}

function buildControls() {
  const { formula, paper, options } = specOf(state.loss);
  at("loss").value = state.loss;
  at("formula").replaceChildren(
    ...formula
      .split(/_(\{[^}]*\}|\p{L})/u)
      .map((part, i) => (i % 2 ? tag("sub", { textContent: part.replace(/[{}]/g, "") }) : part)),
  );
  const [, before, number, after] = /^(.*?)arXiv:(\d+\.\d+)(.*)$/.exec(paper) ?? [];
  at("paper").replaceChildren(
    ...(number
      ? [before, tag("a", { href: `https://arxiv.org/abs/${number}`, textContent: `arXiv:${number}` }), after]
      : [paper]),
  );
  at("options").replaceChildren();
  controls = options.map((spec) => {
    const inDegrees =
      spec.what === "an angle in radians" ? { say: (value) => `${spec.what}: ${spellDegrees(value)}` } : {};
    const told = { ...spec, ...inDegrees, none: "None: the loss chooses it" };
    return new CONTROLS[spec.type](at("options"), told, (value) => changeOption(spec.name, value));
  });
  if (!options.length) at("options").append(tag("p", { className: "said", textContent: `${state.loss} has none.` }));
}

const sceneControls = SCENE.map(
  (spec) => new NumberControl(at("scene"), { ...spec, id: spec.name }, (value) => change({ [spec.name]: value })),
);

function choose(loss) {
  state = { ...state, loss, options: kept.get(loss) ?? defaultsOf(specOf(loss).options) };
  buildControls();
  change({});
}

function draw() {
  const { loss, options, classes } = state;
  const row = rowOf(loss, options, state.length, classes),
    rival = state.rival * DEGREE;
  const now = scene(row, state.theta * DEGREE, rival, classes);
  const all = THETAS.map((degrees) => scene(row, degrees * DEGREE, rival, classes));
  specOf(loss).options.forEach((spec, i) => controls[i].show(options[spec.name], resolved(spec.name, row)));
  SCENE.forEach((spec, i) => sceneControls[i].show(state[spec.name]));
  sceneControls[SCENE.findIndex(({ name }) => name === "length")].whole.hidden = !row.asksForLength;
  const { intervals } = circleFigure.draw(row, state, now);
  drawNumbers(row, now, intervals);
  drawLogits(now);
  drawCharts(row, now, all);
  at("code").textContent = spellCall(state);
  at("about").textContent =
    `${classes > 2 ? "Label, rival and embedding are in one plane; the other classes are at right angles to it. " : ""}` +
    "At 0° and 180° the embedding has no direction to move in, and the gradient is 0.";
}

/* What the loss makes of None. */
function resolved(name, row) {
  if (name === "scale" && !row.keepsLength) return row.scale;
  if (name === "bias") return state.loss === "uniface" ? -row.bias : row.bias;
  if (name === "margin") return SPHEREFACE2_MARGINS[state.options.variant] ?? null;
  return null;
}

function drawNumbers(row, now, intervals) {
  const atZero = scene(row, 0, state.rival * DEGREE, state.classes),
    most = best(row, state.classes);
  const around = intervals.find(([from, to]) => from <= 0 && to > 0),
    edge = around?.[1];
  const hasBoundary = around && edge < Math.PI - 1e-9;
  const without = `${spellDegrees((state.rival * DEGREE) / 2)} without a margin`;
  const chance = row.reduction === "binary" ? "Probability that it is the label’s class" : "Probability of the label";
  const hasProbability = now.probability !== null;
  const lines = [
    ["φ(θ)", spell(now.target), `cos θ is ${spell(Math.cos(state.theta * DEGREE))}`],
    ["dφ/dθ", spell(now.targetSlope), `−sin θ is ${spell(-Math.sin(state.theta * DEGREE))}`],
    [
      chance,
      hasProbability ? spellProbability(now) : "–",
      hasProbability
        ? `${spellProbability(atZero)} at θ = 0; ${spellProbability(most)} if all prototypes were as far apart as can be`
        : "this loss has none",
    ],
    ["Loss ℓ", spell(now.value), ""],
    ["dℓ/dθ", spell(now.slope), `${spell(now.pull)} by the label, ${spell(now.push)} by the rival`],
    [
      "Boundary",
      hasBoundary ? spellDegrees(edge) : "none",
      hasBoundary
        ? without
        : around
          ? "the label’s logit is the larger everywhere"
          : "the rival’s logit is no smaller even at θ = 0",
    ],
    [
      "suggest_scale",
      spell(suggestScale(state.classes, state.wanted)),
      `the least scale for a mean probability of ${state.wanted}, without a margin`,
    ],
  ];
  at("numbers").replaceChildren(
    ...lines.map(([name, value, more]) =>
      tag(
        "div",
        {},
        tag("dt", { textContent: name }),
        tag("dd", { textContent: value }),
        tag("dd", { className: "more", textContent: more }),
      ),
    ),
  );
  at("numbers").dataset.spoken = `θ ${state.theta}°: ${lines
    .slice(0, 6)
    .map(([name, value]) => `${name} ${value}`)
    .join(", ")}`;
}

function drawLogits(now) {
  const bars = [
    ["label", "label", now.label],
    ["rival", "rival", now.others.find(({ name }) => name === "rival").z],
  ];
  for (const { name, z, count, near } of now.others) {
    if (name === "others")
      bars.push([
        "other",
        `${count.toLocaleString("en")} others${near && state.loss === "inter_topk" ? ", nearest" : ""}`,
        z,
      ]);
  }
  const low = Math.min(0, ...bars.map(([, , z]) => z)),
    high = Math.max(0, ...bars.map(([, , z]) => z)),
    span = high - low || 1;
  at("logits").replaceChildren(
    ...bars.map(([kind, name, z]) => {
      const bar = tag("span", { className: `bar ${kind}` });
      bar.style.left = `${((Math.min(z, 0) - low) / span) * 100}%`;
      bar.style.width = `${(Math.abs(z) / span) * 100}%`;
      const track = tag("span", { className: "track" }, bar);
      track.setAttribute("aria-hidden", "true");
      return tag(
        "p",
        { className: "logit" },
        tag("span", { className: "name", textContent: name }),
        track,
        tag("span", { className: "value", textContent: spell(z) }),
      );
    }),
  );
}

function drawCharts(row, now, all) {
  const theta = state.theta,
    cosines = THETAS.map((degrees) => Math.cos(degrees * DEGREE)),
    sines = THETAS.map((degrees) => -Math.sin(degrees * DEGREE));
  const line = (name, kind, values, value) => ({ name, kind, values, now: value });
  const target = [
    line("cos θ", "plain", cosines, Math.cos(theta * DEGREE)),
    line(
      "φ",
      "label",
      all.map((one) => one.target),
      now.target,
    ),
  ];
  const slope = [
    line("−sin θ", "plain", sines, -Math.sin(theta * DEGREE)),
    line(
      "dφ/dθ",
      "label",
      all.map((one) => one.targetSlope),
      now.targetSlope,
    ),
  ];
  if (row.rest !== unchanged && state.options.gradient !== "straight_through") {
    const given = { threshold: row.threshold(angleOf(theta * DEGREE)), near: true };
    const rest = (degrees) => row.rest(angleOf(degrees * DEGREE), given),
      sine = (degrees) => -angleOf(degrees * DEGREE).sin;
    target.push(
      line(
        row.nearest ? "η, nearest classes" : "η, other classes",
        "rival",
        THETAS.map((one) => rest(one).value),
        rest(theta).value,
      ),
    );
    slope.push(
      line(
        "dη/dθ",
        "rival",
        THETAS.map((one) => rest(one).slope * sine(one)),
        rest(theta).slope * sine(theta),
      ),
    );
  }
  CHARTS.target.draw(target, theta);
  CHARTS.slope.draw(slope, theta);
  const ofRival = ({ others }) => others.find(({ name }) => name === "rival").z;
  CHARTS.logits.draw(
    [
      line(
        "label",
        "label",
        all.map((one) => one.label),
        now.label,
      ),
      line("rival", "rival", all.map(ofRival), ofRival(now)),
    ],
    theta,
  );
  const hasProbability = now.probability !== null,
    most = best(row, state.classes).probability;
  CHARTS.probability.svg.parentElement.hidden = !hasProbability;
  if (hasProbability) {
    CHARTS.probability.draw(
      [
        line(
          "here",
          "label",
          all.map((one) => one.probability),
          now.probability,
        ),
      ],
      theta,
      { low: 0, high: 1, levels: [{ name: "at most", value: most }] },
    );
  }
  CHARTS.loss.draw(
    [
      line(
        "ℓ",
        "label",
        all.map((one) => one.value),
        now.value,
      ),
    ],
    theta,
  );
  CHARTS.gradient.draw(
    [
      line(
        "dℓ/dθ",
        "label",
        all.map((one) => one.slope),
        now.slope,
      ),
    ],
    theta,
  );
}

async function copy(button, text) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // not allowed to: the text is shown, and selected
    Object.assign(at("notice"), { hidden: false, textContent: text });
    getSelection().selectAllChildren(at("notice"));
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => {
    button.textContent = before;
  }, 1500);
}

function open() {
  const { state: read, refusals } = fromHash(location.hash);
  state = read;
  at("notice").hidden = !refusals.length;
  at("notice").textContent = refusals.length ? `Of the address, not used: ${refusals.join("; ")}.` : "";
  buildControls();
  draw();
}

for (const group of new Set(LOSSES.map((loss) => loss.group))) {
  at("loss").append(
    tag(
      "optgroup",
      { label: group },
      ...LOSSES.filter((loss) => loss.group === group).map(({ name }) =>
        tag("option", { value: name, textContent: name }),
      ),
    ),
  );
}
at("loss").addEventListener("change", () => choose(at("loss").value));
at("reset").addEventListener("click", () => {
  kept.delete(state.loss);
  choose(state.loss);
});
at("link").addEventListener("click", () => copy(at("link"), location.href.replace(/#.*/, "") + toHash(state)));
at("copy").addEventListener("click", () => copy(at("copy"), at("code").textContent));
addEventListener("hashchange", open);
const measure = () => Object.values(CHARTS).forEach((chart) => chart.measure());
new ResizeObserver(() => {
  measure();
  schedule();
}).observe(at("charts"));
measure();
open();
