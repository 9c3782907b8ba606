"use strict";
/* Numbers as text, and figures as SVG. */

const DEGREE = Math.PI / 180;
const SUPERSCRIPT = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function spell(number, digits = 4) {
  if (number === null) return "–";
  if (number === 0) return "0";
  const size = Math.abs(number);
  if (size >= 1e-3 && size < 1e6) return String(Number(number.toPrecision(digits))).replace("-", "−");
  const [mantissa, exponent] = number.toExponential(Math.max(digits - 3, 1)).split("e");
  return `${mantissa.replace("-", "−")} × 10${[...String(Number(exponent))].map((one) => SUPERSCRIPT[one]).join("")}`;
}

/* One that is nearly 1 by what it lacks. */
function spellProbability({ probability, miss }) {
  return probability > 0.9999 && miss > 0 ? `1 − ${spell(miss, 3)}` : spell(probability);
}

const spellDegrees = (radians) => `${spell(radians / DEGREE, 3)}°`;

function make(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(made, attributes);
  made.append(...children);
  return made;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

/* The circle. */

const RADIUS = 100;
const onCircle = (theta, radius = RADIUS) => [radius * Math.cos(theta), -radius * Math.sin(theta)];

function sector(from, to, radius = RADIUS) {
  if (to - from > 2 * Math.PI - 1e-6)
    return `${sector(from, from + Math.PI, radius)} ${sector(from + Math.PI, from + 2 * Math.PI - 1e-4, radius)}`;
  return `M 0 0 L ${onCircle(from, radius)} A ${radius} ${radius} 0 ${Number(to - from > Math.PI)} 0 ${onCircle(to, radius)} Z`;
}

function handle(name, label, moved) {
  const grip = make(
    "g",
    {
      class: `handle ${name}`,
      role: "slider",
      tabindex: 0,
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 180,
    },
    make("circle", { r: 22, class: "grip" }),
    make("circle", { r: 7.5, class: "dot" }),
  );
  const at = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(
      grip.ownerSVGElement.getScreenCTM().inverse(),
    );
    const degrees = Math.atan2(-point.y, point.x) / DEGREE;
    return degrees >= 0 ? degrees : degrees < -90 ? 180 : 0;
  };
  grip.addEventListener("pointerdown", (event) => {
    grip.setPointerCapture(event.pointerId);
    grip.focus();
    event.preventDefault();
  });
  grip.addEventListener("pointermove", (event) => {
    if (grip.hasPointerCapture(event.pointerId)) moved(Math.round(at(event)));
  });
  grip.addEventListener("keydown", (event) => {
    const now = Number(grip.getAttribute("aria-valuenow"));
    const to = {
      ArrowUp: now + 1,
      ArrowRight: now + 1,
      ArrowDown: now - 1,
      ArrowLeft: now - 1,
      PageUp: now + 10,
      PageDown: now - 10,
      Home: 0,
      End: 180,
    }[event.key];
    if (to === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    moved(Math.min(Math.max(to, 0), 180));
  });
  return grip;
}

class Circle {
  constructor(svg, move) {
    const part = (name, attributes) => svg.appendChild(make(name, attributes));
    this.rivalWins = part("path", { class: "wins rival" });
    this.labelWins = part("path", { class: "wins label" });
    part("circle", { r: RADIUS, class: "rim" });
    this.plain = part("path", { class: "plain" });
    this.edges = part("path", { class: "edges" });
    this.arc = part("path", { class: "arc" });
    this.theta = part("text", { class: "theta", x: 44, y: 15 });
    this.spokes = ["label", "rival", "embedding"].map((name) => part("line", { class: `spoke ${name}`, x1: 0, y1: 0 }));
    this.names = ["label", "rival", "x"].map((name) => {
      const text = part("text", { class: `name ${name}` });
      text.textContent = name;
      return text;
    });
    part("circle", { cx: RADIUS, r: 6, class: "prototype label" });
    this.arrow = part("path", { class: "descent" });
    this.rival = handle("rival", "Angle of the rival’s prototype", (degrees) => move("rival", degrees));
    this.embedding = handle("embedding", "Angle θ of the embedding", (degrees) => move("theta", degrees));
    svg.append(this.rival, this.embedding);
  }

  draw(row, state, now) {
    const theta = state.theta * DEGREE,
      rival = state.rival * DEGREE;
    const intervals = wins(row, rival, state.classes);
    set(this.labelWins, { d: intervals.map(([from, to]) => sector(from, to)).join(" ") });
    set(this.rivalWins, { d: intervals.map(([from, to]) => sector(rival - to, rival - from)).join(" ") });
    const ends = intervals.flat().filter((end) => Math.abs(end) < Math.PI - 1e-9);
    set(this.edges, { d: ends.map((end) => `M 0 0 L ${onCircle(end)}`).join(" ") });
    set(this.plain, { d: `M ${onCircle(rival / 2 + Math.PI, 112)} L ${onCircle(rival / 2, 112)}` });
    set(this.arc, { d: theta > 0.02 ? `M 30 0 A 30 30 0 0 0 ${onCircle(theta, 30)}` : "" });
    this.theta.textContent = `θ ${state.theta}°`;
    [0, rival, theta].forEach((angle, i) => {
      const tip = onCircle(angle),
        name = onCircle(angle, i === 2 ? 80 : 126);
      set(this.spokes[i], { x2: tip[0], y2: tip[1] });
      set(this.names[i], { x: name[0], y: name[1] + 4 });
    });
    set(this.rival, {
      transform: `translate(${onCircle(rival)})`,
      "aria-valuenow": state.rival,
      "aria-valuetext": `${state.rival}°`,
    });
    set(this.embedding, {
      transform: `translate(${onCircle(theta)})`,
      "aria-valuenow": state.theta,
      "aria-valuetext": `${state.theta}°`,
    });
    this.drawArrow(theta, -now.slope / row.factor / (row.positive ?? 1));
    return { intervals };
  }

  /* Along the tangent, as long as the slope is for a scale of 1, but no longer than fits. */
  drawArrow(theta, slope) {
    const length = Math.sign(slope) * Math.min(Math.abs(slope) * 45, 70);
    if (Math.abs(length) < 1) return set(this.arrow, { d: "" });
    const [x, y] = onCircle(theta),
      [dx, dy] = [-Math.sin(theta), -Math.cos(theta)].map((part) => part * Math.sign(length));
    const tip = [x + dx * Math.abs(length), y + dy * Math.abs(length)],
      barb = Math.min(8, Math.abs(length));
    const wing = (side) => [tip[0] - barb * dx - side * barb * 0.55 * dy, tip[1] - barb * dy + side * barb * 0.55 * dx];
    return set(this.arrow, { d: `M ${x} ${y} L ${tip} M ${wing(1)} L ${tip} L ${wing(-1)}` });
  }
}

/* A chart of curves over θ from 0° to 180°. */

const THETAS = [0.05, ...Array.from({ length: 359 }, (_, i) => (i + 1) / 2), 179.95];

function ticksOf(low, high) {
  const rough = (high - low) / 4,
    power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; i++)
    found.push(Number((i * step).toPrecision(12)));
  return found;
}

/* Points with gaps where a curve jumps. */
function pathOf(values, x, y) {
  const steps = values.map((value, i) => (i ? Math.abs(value - values[i - 1]) : 0));
  const span = Math.max(...values) - Math.min(...values);
  return values
    .map((value, i) => {
      const jumps = i > 1 && i < values.length - 1 && steps[i] > 5 * (steps[i - 1] + steps[i + 1]) + 0.005 * span;
      return `${i === 0 || jumps ? "M" : "L"} ${x(THETAS[i]).toFixed(2)} ${y(value).toFixed(2)}`;
    })
    .join(" ");
}

class Chart {
  constructor(parent, title, pick) {
    const figure = document.createElement("figure");
    this.caption = document.createElement("figcaption");
    this.title = document.createElement("h3");
    this.title.textContent = title;
    this.legend = document.createElement("p");
    this.legend.className = "legend";
    this.caption.append(this.title, this.legend);
    this.svg = make("svg", { role: "img" });
    figure.append(this.caption, this.svg);
    parent.append(figure);
    const picked = (event) => {
      if (event.buttons !== 1) return;
      const { left } = this.svg.getBoundingClientRect();
      pick(Math.min(Math.max(Math.round(((event.clientX - left - this.left) / this.width) * 180), 0), 180));
    };
    this.svg.addEventListener("pointerdown", picked);
    this.svg.addEventListener("pointermove", picked);
  }

  /* To be called when its size may have changed: reading it makes the browser lay out the page. */
  measure() {
    this.outer = Math.max(this.svg.clientWidth, 200);
  }

  /* Lines {name, kind, values over THETAS, now}, and levels {name, value}. */
  draw(lines, theta, { low, high, levels = [] } = {}) {
    const { outer } = this,
      height = 190,
      left = 46,
      right = 10,
      top = 8,
      bottom = 24;
    Object.assign(this, { left, width: outer - left - right });
    const all = [...lines.flatMap(({ values }) => values), ...levels.map(({ value }) => value)];
    let from = low ?? Math.min(...all),
      to = high ?? Math.max(...all);
    if (to - from < 1e-9 * Math.max(Math.abs(to), 1)) [from, to] = [from - 0.5, to + 0.5];
    const room = 0.04 * (to - from);
    [from, to] = [low ?? from - room, high ?? to + room];
    const x = (degrees) => left + (degrees / 180) * this.width;
    const y = (value) => height - bottom - ((value - from) / (to - from)) * (height - top - bottom);
    const text = (at, down, anchor, content) => {
      const made = make("text", { x: at, y: down, "text-anchor": anchor });
      made.textContent = content;
      return made;
    };
    const parts = [];
    for (const tick of ticksOf(from, to)) {
      parts.push(
        make("line", {
          class: tick === 0 ? "grid zero" : "grid",
          x1: left,
          x2: outer - right,
          y1: y(tick),
          y2: y(tick),
        }),
        text(left - 7, y(tick) + 4, "end", spell(tick, 3)),
      );
    }
    for (const degrees of [0, 45, 90, 135, 180])
      parts.push(text(x(degrees), height - 6, degrees === 180 ? "end" : degrees ? "middle" : "start", `${degrees}°`));
    for (const { value } of levels)
      parts.push(make("line", { class: "level", x1: left, x2: outer - right, y1: y(value), y2: y(value) }));
    parts.push(make("line", { class: "cursor", x1: x(theta), x2: x(theta), y1: top, y2: height - bottom }));
    for (const { kind, values } of lines) parts.push(make("path", { class: `curve ${kind}`, d: pathOf(values, x, y) }));
    for (const { kind, now } of lines)
      if (kind !== "plain") parts.push(make("circle", { class: `point ${kind}`, cx: x(theta), cy: y(now), r: 4 }));
    const here = lines.map(({ name, now }) => `${name} ${spell(now)}`).join(", ");
    const told = `${this.title.textContent} over θ from 0° to 180°; at ${theta}°: ${here}`;
    set(this.svg, { viewBox: `0 0 ${outer} ${height}`, height, "aria-label": told });
    this.svg.replaceChildren(...parts);
    this.legend.replaceChildren(
      ...[...lines, ...levels.map((one) => ({ ...one, kind: "level" }))].map(({ name, kind }) => {
        const item = document.createElement("span"),
          chip = document.createElement("span");
        chip.className = `chip line ${kind}`;
        item.append(chip, name);
        return item;
      }),
    );
  }
}
