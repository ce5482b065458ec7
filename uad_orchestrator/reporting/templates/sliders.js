// Sliders over the thresholds. A position is a value of a test image, so that a step moves one image (or those that tie);
// the first lies below all. Counts are taken here, intervals are looked up: the figures are those of the Python package.
const intervals = JSON.parse(document.getElementById("rate-intervals")?.textContent ?? "{}");
const line = document.getElementById("line");
const percent = rate => `${(100 * rate).toFixed(1)} %`;
const short = number => Number.isFinite(number) ? String(Number(number.toPrecision(6))) : "below all";

const lineNow = () => {
  const of = name => {
    const input = line?.elements.namedItem(name);
    return input && input.value !== "" && input.checkValidity() ? Number(input.value) : NaN;
  };
  return { defectRate: of("defect_rate"), miss: of("miss"), falseAlarm: of("false_alarm") };
};

const outcome = (data, of, threshold) => {
  const found = { false_alarms: 0, normals: 0, misses: 0, defects: 0, good_in_review: 0, defects_in_review: 0 };
  data.images.forEach(([, , label], i) => {
    const value = data[of].values[i], above = value > threshold;
    const inReview = data[of].review !== null && value > data[of].review && !above;
    if (label) { found.defects += 1; found.misses += !above; found.defects_in_review += inReview; }
    else { found.normals += 1; found.false_alarms += above; found.good_in_review += inReview; }
  });
  return found;
};

document.querySelectorAll(".sliders").forEach(box => {
  const data = sliderData(box);
  box.querySelectorAll(".slider").forEach(part => {
    const of = part.dataset.of, { values, threshold: used, review } = data[of];
    const range = part.querySelector("input"), output = part.querySelector("output");
    const back = part.querySelector("button"), pin = part.querySelector(".pin");
    const known = used === null ? values : [...values, used];
    const positions = [-Infinity, ...new Set([...known].sort((a, b) => a - b))];
    const start = used === null ? positions.length - 1 : positions.indexOf(used);
    range.max = positions.length - 1;
    range.value = start;
    part.querySelectorAll("[data-review]").forEach(figure => { figure.hidden = review === null; });

    const show = (name, value, text) => {
      const place = part.querySelector(`[data-figure="${name}"]`);
      const known = value !== null && !Number.isNaN(value);
      place.textContent = known ? text : "–";
      if (known) place.dataset.value = String(value); else delete place.dataset.value;
      return place;
    };
    const showCount = (name, count, images) => {
      const place = show(name, images ? count : null, `${count} of ${images}`);
      if (!images) return;
      const [low, high] = intervals[images][count], small = document.createElement("small");
      small.className = "interval";
      small.textContent = `${percent(low)} to ${percent(high)}`;
      small.title = "95 % interval, Clopper-Pearson";
      small.dataset.low = String(low);
      small.dataset.high = String(high);
      place.append(" ", small);
    };
    const showSide = (side, word, names) => {
      const place = part.querySelector(`[data-side="${side}"]`);
      place.hidden = !names.length;
      place.querySelector("b").textContent = `${names.length} ${word}:`;
      place.querySelector("span").textContent = names.join(", ");
    };
    const draw = () => {
      const threshold = positions[range.value], found = outcome(data, of, threshold), now = lineNow();
      const alarmRate = found.normals ? found.false_alarms / found.normals : NaN;
      const missRate = found.defects ? found.misses / found.defects : NaN;
      const inUse = Number(range.value) === start && used !== null;
      output.textContent = short(threshold) + (inUse ? " (in use)" : "");
      output.dataset.value = String(threshold);
      box.dispatchEvent(new CustomEvent("threshold", { detail: { of, threshold, inUse } }));
      range.setAttribute("aria-valuetext", output.textContent);
      back.toggleAttribute("data-idle", inUse || used === null);
      showCount("false_alarms", found.false_alarms, found.normals);
      showCount("misses", found.misses, found.defects);
      showCount("share_in_review", found.good_in_review, found.normals);
      showCount("defects_in_review", found.defects_in_review, found.defects);
      const alarms = 1000 * (1 - now.defectRate) * alarmRate, misses = 1000 * now.defectRate * missRate;
      show("false_alarms_per_1000", alarms, alarms.toPrecision(3));
      show("misses_per_1000", misses, misses.toPrecision(3));
      const cost = now.defectRate * now.miss * missRate + (1 - now.defectRate) * now.falseAlarm * alarmRate;
      show("expected_cost", cost, cost.toPrecision(4));
      const changed = above => data.images.filter((_, i) => used !== null
        && (values[i] > threshold) !== (values[i] > used) && (values[i] > threshold) === above)
        .map(([name, kind]) => `${name} (${kind})`);
      showSide("above", "now above", changed(true));
      showSide("below", "not above any more", changed(false));
      pin.hidden = inUse || !Number.isFinite(threshold);
      pin.querySelector("code").textContent = `uad threshold '${data.category}' '${data.detector}' `
        + `--value=${threshold} --test-labels${of === "pixel" ? " --pixel" : ""}`;
    };
    range.addEventListener("input", draw);
    back.addEventListener("click", () => { range.value = start; draw(); range.focus(); });
    line?.addEventListener("input", draw);
    draw();
  });
});
