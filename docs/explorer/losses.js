"use strict";
/* The losses as functions of angles. Each is written here a second time, for the browser; check.html compares every
   number with the library's.

   A curve takes an angle {theta, cos, sin} and returns {value, slope}, the slope in cos θ as the gradient has it. */

const LEAST_SINE = Math.sqrt(Number.EPSILON); // below it 1 − cos θ is rounding noise
const SMALLEST = 2 ** -1022;

function angleOf(theta) {
  const cos = Math.cos(theta);
  return { theta, cos, sin: Math.sqrt(Math.max((1 - cos) * (1 + cos), 0)) };
}

function angleOfCos(cos) {
  return { theta: Math.acos(cos), cos, sin: Math.sqrt(Math.max((1 - cos) * (1 + cos), 0)) };
}

const floored = (sin) => Math.max(sin, LEAST_SINE);
const clip = (value, low, high) => Math.min(Math.max(value, low), high);
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));
const sigmoid = (v) => Math.exp(-softplus(-v));

/* Curves. */

const unchanged = ({ cos }) => ({ value: cos, slope: 1 });
const shifted = (curve, by) => (angle) => {
  const { value, slope } = curve(angle);
  return { value: value - by, slope };
};
const additiveCosine = (margin) => shifted(unchanged, margin);

/* cos t with t = m₁θ + m₂ up to π, and beyond it what pastPi names. */
function turned({ factor = 1, shift = 0, pastPi = "smooth" }) {
  return ({ theta, cos, sin }) => {
    const t = factor * theta + shift;
    const cosT = Math.cos(t),
      ratio = (factor * Math.sin(t)) / floored(sin);
    const passes = Math.floor(t / Math.PI);
    if (pastPi === "reflect" || !(pastPi === "easy" ? cos <= 0 : passes > 0)) return { value: cosT, slope: ratio };
    const sign = passes % 2 ? -1 : 1;
    switch (pastPi) {
      case "smooth":
        return { value: sign * cosT - 2 * passes, slope: sign * ratio };
      case "shifted":
        return { value: cos - Math.cos((Math.PI - shift) / factor) - 1, slope: 1 };
      case "linear":
        return { value: cos - shift * Math.sin(shift), slope: 1 };
      case "clamp":
        return { value: -1, slope: 0 };
      case "easy":
        return { value: cos, slope: 1 };
    }
    throw new Error(`past_pi was ${pastPi}`);
  };
}

const additiveAngular = (o) => turned({ shift: o.margin, pastPi: o.past_pi });

function multiplicativeAngular({ margin, annealing }) {
  const psi = turned({ factor: margin });
  return (angle) => {
    const { value, slope } = psi(angle);
    return { value: (annealing * angle.cos + value) / (1 + annealing), slope: (annealing + slope) / (1 + annealing) };
  };
}

const line =
  (margin) =>
  ({ theta, sin }) => ({
    value: 1 - (2 * (theta + margin)) / Math.PI,
    slope: 2 / (Math.PI * floored(sin)),
  });

function adaface({ margin, h, norm_mean, norm_std }, length) {
  const z = clip((h * (clip(length, 0.001, 100) - norm_mean)) / (norm_std + 0.001), -1, 1);
  return ({ theta, sin }) => {
    const turnedBy = theta - margin * z;
    const sine = turnedBy > 0 && turnedBy < Math.PI ? Math.sin(turnedBy) : 0;
    return { value: Math.cos(clip(turnedBy, 0, Math.PI)) - margin * (z + 1), slope: sine / floored(sin) };
  };
}

function magface({ norm_range: [shortest, longest], margin_range: [least, most], past_pi, ...o }, length) {
  const a = clip(length, shortest, longest);
  const margin = least + ((most - least) / (longest - shortest)) * (a - shortest);
  return {
    scale: o.scale,
    target: additiveAngular({ margin, past_pi }),
    regularizer: o.regularizer * (1 / a + a / longest ** 2),
  };
}

function interTopK(penalty) {
  return ({ theta, cos, sin }, { near }) => {
    if (!near) return { value: cos, slope: 1 };
    if (theta < penalty) return { value: 1, slope: 0 };
    return { value: Math.cos(theta - penalty), slope: Math.sin(theta - penalty) / floored(sin) };
  };
}

function circle(margin) {
  const weighted = (error, distance) => ({ value: Math.max(error, 0) * distance, slope: Math.max(error, 0) });
  return {
    target: ({ cos }) => weighted(1 + margin - cos, cos - 1 + margin),
    rest: ({ cos }) => weighted(cos + margin, cos - margin),
  };
}

const parabola =
  ({ a, h, k }) =>
  ({ theta, sin }) => ({ value: a * (theta - h) ** 2 + k, slope: (-2 * a * (theta - h)) / floored(sin) });

function arcnegface(o) {
  const target = additiveAngular(o);
  const rest = ({ cos }, { threshold }) => {
    const factor = o.alpha * Math.exp(-((cos - threshold) ** 2) / o.sigma);
    return { value: factor * (cos + 1) - 1, slope: factor };
  };
  return { scale: o.scale, target, rest, threshold: (own) => target(own).value };
}

function sface({ scale, slope, inner, outer }) {
  const weighted = ({ theta, cos }, sign, end) => {
    const factor = sigmoid(sign * slope * (theta - end));
    return { value: factor * cos, slope: factor };
  };
  return {
    scale,
    target: (angle) => weighted(angle, 1, inner),
    rest: (angle) => weighted(angle, -1, outer),
    reduction: "linear",
  };
}

const SPHEREFACE2_MARGINS = { C: 0.4, A: 0.5, M: 1.7 };

function sphereface2({ variant, scale, balance, t, gradient, ...o }, length, classes) {
  const margin = o.margin ?? SPHEREFACE2_MARGINS[variant];
  const g = ({ cos }) => {
    const half = Math.max((cos + 1) / 2, SMALLEST);
    return { value: 2 * half ** t - 1, slope: t * half ** (t - 1) };
  };
  const turn = turned({ pastPi: "clamp", ...(variant === "A" ? { shift: margin } : { factor: margin }) });
  const ofTurned = (angle) => {
    const inner = turn(angle),
      outer = g({ cos: inner.value });
    return { value: outer.value, slope: gradient === "exact" ? outer.slope * inner.slope : g(angle).slope };
  };
  const target = variant === "C" ? shifted(g, margin) : ofTurned;
  const rest = variant === "C" ? shifted(g, -margin) : g;
  const right = angleOf(Math.PI / 2),
    odds = balance / ((1 - balance) * Math.max(classes - 1, 1));
  return {
    scale,
    target,
    rest,
    bias: o.bias ?? leastBias(scale * target(right).value, scale * rest(right).value, odds),
    reduction: "binary",
    positive: balance / scale,
    negative: (1 - balance) / scale,
  };
}

/* The b at which odds · softplus(−(label + b)) + softplus(other + b) is least. */
function leastBias(label, other, odds) {
  const above = label > other ? (label - other) / 2 : 0;
  const apart = Math.abs(1 - odds) * Math.exp(-above);
  const logSum = above + Math.log(apart + Math.sqrt(apart ** 2 + 4 * odds * Math.exp(label - other - 2 * above)));
  return odds < 1 ? Math.log(2 * odds) - logSum - other : logSum - Math.LN2 - label;
}

function sphereface(o) {
  return { scale: o.scale ?? 1, keepsLength: o.scale === null, target: multiplicativeAngular(o) };
}

function spherefaceR({ variant, margin, scale }) {
  const curves = {
    v0: { target: turned({ factor: margin }) },
    v1: { target: turned({ factor: margin, pastPi: "clamp" }) },
    v2: { target: unchanged, rest: turned({ factor: 1 / margin }) },
  };
  return { scale: scale ?? 1, keepsLength: scale === null, ...curves[variant] };
}

/* Hard other classes: those nearer than a threshold that follows the label's angle. */
const hard =
  (of) =>
  (angle, { threshold }) =>
    angle.cos > threshold ? of(angle) : unchanged(angle);

function curricularface(o) {
  const threshold = turned({ shift: o.margin, pastPi: "reflect" });
  const rest = hard(({ cos }) => ({ value: cos * (o.t + cos), slope: o.t + 2 * cos }));
  return { scale: o.scale, target: additiveAngular(o), rest, threshold: (own) => threshold(own).value };
}

function mvSoftmax(o) {
  const target = o.kind === "arc" ? additiveAngular(o) : additiveCosine(o.margin);
  const rest = hard(({ cos }) => ({ value: (o.t + 1) * cos + o.t, slope: o.t + 1 }));
  return { scale: o.scale, target, rest, threshold: (own) => target(own).value };
}

function suggestScale(classes, probability) {
  return ((classes - 1) / classes) * Math.log(((classes - 1) * probability) / (1 - probability));
}

/* (options, |x|, number of classes) -> what the loss puts into the scheme. */
const ROWS = {
  normface: ({ scale }) => ({ scale }),
  l2_softmax: ({ scale }, length, classes) => ({
    scale: scale ?? Math.max(16, Math.log(Math.max(9 * (classes - 2), 1))),
  }),
  vmf: ({ concentration }) => ({ scale: concentration }),
  coco: ({ scale }, length, classes) => ({ scale: scale ?? Math.max(1, suggestScale(Math.max(classes, 2), 0.9999)) }),
  adacos: ({ scale }, length, classes) => ({ scale: scale ?? Math.SQRT2 * Math.log(Math.max(classes - 1, 2)) }),
  sphereface,
  large_margin_softmax: (o) => sphereface({ ...o, scale: null }),
  sphereface_r: spherefaceR,
  cosface: (o) => ({ scale: o.scale, target: additiveCosine(o.margin) }),
  am_softmax: (o) => ({ scale: o.scale, target: additiveCosine(o.margin) }),
  arcface: (o) => ({ scale: o.scale, target: additiveAngular(o) }),
  combined_margin: (o) => ({
    scale: o.scale,
    target: shifted(turned({ factor: o.m1, shift: o.m2, pastPi: o.past_pi }), o.m3),
  }),
  airface: (o) => ({ scale: o.scale, target: line(o.margin), rest: line(0) }),
  x2_softmax: (o) => ({ scale: o.scale, target: parabola(o) }),
  adaface: (o, length) => ({ scale: o.scale, target: adaface(o, length), asksForLength: true }),
  magface: (o, length) => ({ ...magface(o, length), asksForLength: true }),
  curricularface,
  subcenter_arcface: (o) => ({ scale: o.scale, target: additiveAngular(o) }),
  mv_softmax: mvSoftmax,
  arcnegface,
  inter_topk: (o) => ({ scale: o.scale, target: additiveAngular(o), rest: interTopK(o.penalty), nearest: o.k }),
  circle_softmax: (o) => ({ scale: o.scale, ...circle(o.margin) }),
  sphereface2,
  uniface: (o, length, classes) => ({
    scale: o.scale,
    target: additiveCosine(o.margin),
    bias: -(o.bias ?? Math.log(10 * classes)),
    reduction: "binary",
    positive: 1,
    negative: o.negative_weight,
  }),
  p2sgrad: () => ({ scale: 1, reduction: "squares" }),
  sface,
  proxy_nca: (o) => ({ scale: o.scale, reduction: o.exclude_positive ? "excluded" : "softmax" }),
};

function rowOf(name, options, length, classes) {
  const row = {
    target: unchanged,
    rest: unchanged,
    bias: 0,
    reduction: "softmax",
    smoothing: options.label_smoothing ?? 0,
    threshold: () => null,
    nearest: 0,
    regularizer: 0,
    keepsLength: false,
    ...ROWS[name](options, length, classes),
  };
  const straight =
    (curve) =>
    (...given) => ({ value: curve(...given).value, slope: 1 });
  if (options.gradient === "straight_through")
    Object.assign(row, { target: straight(row.target), rest: straight(row.rest) });
  return {
    ...row,
    asksForLength: Boolean(row.asksForLength || row.keepsLength),
    factor: row.scale * (row.keepsLength ? length : 1),
  };
}

/* From logits to the loss: of the label's class, and of the others in groups {z, count} of equal ones. */

function logSumExp(others) {
  const largest = Math.max(...others.map(({ z }) => z));
  return largest + Math.log(others.reduce((sum, { z, count }) => sum + count * Math.exp(z - largest), 0));
}

const REDUCTIONS = {
  softmax({ smoothing }, label, others, classes) {
    const rest = logSumExp(others),
      surprise = softplus(rest - label),
      total = Math.max(rest, label) + Math.log1p(Math.exp(-Math.abs(rest - label)));
    const mean = others.reduce((sum, { z, count }) => sum + count * z, label) / classes;
    return {
      value: surprise + smoothing * (label - mean),
      probability: Math.exp(-surprise),
      miss: -Math.expm1(-surprise),
      labelSlope: Math.expm1(-surprise) + smoothing * (1 - 1 / classes),
      restSlope: (z) => Math.exp(z - total) - smoothing / classes,
    };
  },
  excluded(row, label, others) {
    const rest = logSumExp(others);
    return {
      value: rest - label,
      probability: sigmoid(label - rest),
      miss: sigmoid(rest - label),
      labelSlope: -1,
      restSlope: (z) => Math.exp(z - rest),
    };
  },
  binary({ positive, negative }, label, others) {
    return {
      value:
        positive * softplus(-label) + negative * others.reduce((sum, { z, count }) => sum + count * softplus(z), 0),
      probability: sigmoid(label),
      miss: sigmoid(-label),
      labelSlope: -positive * sigmoid(-label),
      restSlope: (z) => negative * sigmoid(z),
    };
  },
  squares(row, label, others) {
    return {
      value: 0.5 * (label - 1) ** 2 + 0.5 * others.reduce((sum, { z, count }) => sum + count * z * z, 0),
      probability: null,
      miss: null,
      labelSlope: label - 1,
      restSlope: (z) => z,
    };
  },
  linear(row, label, others) {
    return {
      value: others.reduce((sum, { z, count }) => sum + count * z, 0) - label,
      probability: null,
      miss: null,
      labelSlope: -1,
      restSlope: () => 1,
    };
  },
};

/* Other classes in groups {angle, towards, count}: `towards` is the slope of the cosine in θ. */
function evaluate(row, own, groups, classes) {
  const target = row.target(own),
    threshold = row.threshold(own);
  let left = row.nearest;
  const others = [...groups]
    .sort((a, b) => b.angle.cos - a.angle.cos)
    .flatMap((group) => {
      const near = Math.min(left, group.count);
      left -= near;
      return [
        { ...group, near: true, count: near },
        { ...group, near: false, count: group.count - near },
      ];
    })
    .filter(({ count }) => count > 0)
    .map((group) => {
      const curve = row.rest(group.angle, { threshold, near: group.near });
      return { ...group, curve, z: row.factor * curve.value + row.bias };
    });
  const label = row.factor * target.value + row.bias;
  const reduced = REDUCTIONS[row.reduction](row, label, others, classes);
  const pull = reduced.labelSlope * row.factor * target.slope * -own.sin;
  const push = others.reduce(
    (sum, { count, curve, z, towards }) =>
      towards === 0 ? sum : sum + count * reduced.restSlope(z) * row.factor * curve.slope * towards,
    0,
  );
  return {
    target: target.value,
    targetSlope: -own.sin * target.slope,
    label,
    others,
    probability: reduced.probability,
    miss: reduced.miss,
    value: reduced.value + row.regularizer,
    pull,
    push,
    slope: pull + push,
  };
}

/* The scene of the page: the label's prototype at 0, its rival at `rival`, an embedding at θ in their plane, and C − 2
   other classes at right angles to it. Angles in radians. */
function scene(row, theta, rival, classes) {
  const between = Math.atan2(Math.sin(rival - theta), Math.cos(rival - theta));
  const angle = angleOf(Math.abs(between));
  const groups = [{ name: "rival", angle, towards: Math.sign(between) * angle.sin, count: 1 }];
  if (classes > 2)
    groups.push({ name: "others", angle: { theta: Math.PI / 2, cos: 0, sin: 1 }, towards: 0, count: classes - 2 });
  return evaluate(row, angleOf(Math.abs(theta)), groups, classes);
}

/* Where the label's logit is the larger of the two: intervals of θ over the circle. */
function wins(row, rival, classes) {
  const lead = (theta) => {
    const { label, others } = scene(row, theta, rival, classes);
    return label - others.find(({ name }) => name === "rival").z;
  };
  const steps = 720,
    found = [];
  let before = { theta: -Math.PI, ahead: lead(-Math.PI) > 0 },
    start = before.ahead ? before.theta : null;
  for (let i = 1; i <= steps; i++) {
    const theta = -Math.PI + (2 * Math.PI * i) / steps,
      ahead = lead(theta) > 0;
    if (ahead !== before.ahead) {
      let low = before.theta,
        high = theta;
      for (let halved = 0; halved < 40; halved++) {
        const middle = (low + high) / 2;
        if (lead(middle) > 0 === before.ahead) low = middle;
        else high = middle;
      }
      if (ahead) start = high;
      else found.push([start, low]);
    }
    before = { theta, ahead };
  }
  if (before.ahead) found.push([start, Math.PI]);
  return found;
}

/* θ = 0, and all prototypes as far from each other as they can be. */
function best(row, classes) {
  return evaluate(
    row,
    angleOf(0),
    [{ angle: angleOfCos(-1 / (classes - 1)), towards: 0, count: classes - 1 }],
    classes,
  );
}
