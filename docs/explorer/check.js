"use strict";
/* Compare losses.js with what anglos computed. */

const TOLERANCE = 1e-9,
  FLOOR = 1e-2; // relative; and the magnitude from which on
const QUANTITIES = { target: "φ", target_slope: "dφ/dθ", probability: "probability", value: "loss", slope: "dℓ/dθ" };

const differenceOf = (ours, wanted) =>
  (wanted === null) === (ours === null) ? Math.abs(ours - wanted) / Math.max(Math.abs(wanted), FLOOR) : Infinity;

function compare() {
  const found = [];
  const note = (given, quantity, theta, ours, wanted) => {
    const difference = differenceOf(ours, wanted);
    found.push({
      loss: given.loss,
      options: given.options,
      quantity,
      theta,
      ours,
      wanted,
      difference: Number.isNaN(difference) ? Infinity : difference,
    });
  };
  for (const given of VALUES.scenes) {
    const row = rowOf(given.loss, given.options.complete, given.length, given.classes);
    note(given, "scale", null, row.scale, given.scale);
    note(given, "asks for |x|", null, Number(row.asksForLength), Number(given.asks_for_length));
    note(given, "largest probability", null, best(row, given.classes).probability, given.best);
    VALUES.theta.forEach((degrees, i) => {
      const ours = scene(row, (degrees * Math.PI) / 180, (given.rival * Math.PI) / 180, given.classes);
      const named = { ...ours, target_slope: ours.targetSlope };
      for (const key of Object.keys(QUANTITIES))
        note(given, QUANTITIES[key], degrees, named[key], given[key]?.[i] ?? null);
    });
  }
  for (const [classes, probability, wanted] of VALUES.scales) {
    note(
      { loss: "suggest_scale", options: { classes, probability } },
      "scale",
      null,
      suggestScale(classes, probability),
      wanted,
    );
  }
  return found;
}

function withDefaults(given) {
  const { options } = LOSSES.find(({ name }) => name === given.loss);
  const complete = Object.fromEntries(options.map((option) => [option.name, option.default]));
  return { ...given, options: { ...given.options, complete: { ...complete, ...given.options } } };
}

function element(name, content) {
  const made = document.createElement(name);
  made.textContent = content;
  return made;
}

function report(found) {
  const wrong = found.filter(({ difference }) => difference > TOLERANCE);
  const largest = found.reduce((most, one) => (one.difference > most.difference ? one : most));
  const verdict = document.getElementById("verdict");
  verdict.dataset.wrong = wrong.length;
  verdict.dataset.compared = found.length;
  verdict.dataset.largest = largest.difference;
  verdict.dataset.first = wrong.length ? JSON.stringify(wrong[0]) : "";
  verdict.textContent = wrong.length
    ? `${wrong.length} of ${found.length} numbers differ, the first ${wrong[0].quantity} of ${wrong[0].loss}.`
    : `All ${found.length} numbers agree; the largest relative difference is ${largest.difference.toExponential(1)}.`;
  const table = document.getElementById("table"),
    quantities = [...new Set(found.map(({ quantity }) => quantity))];
  const head = document.createElement("tr");
  head.append(...["largest difference", ...quantities].map((name) => element("th", name)));
  table.append(head);
  for (const loss of new Set(found.map((one) => one.loss))) {
    const line = document.createElement("tr");
    line.append(
      element("th", loss),
      ...quantities.map((quantity) => {
        const those = found.filter((one) => one.loss === loss && one.quantity === quantity);
        return element(
          "td",
          those.length
            ? Math.max(...those.map((one) => one.difference))
                .toExponential(0)
                .replace("0e+0", "0")
            : "–",
        );
      }),
    );
    table.append(line);
  }
}

VALUES.scenes = VALUES.scenes.map(withDefaults);
report(compare());
