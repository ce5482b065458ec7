"use strict";
// One image at a time: the image with its ground truth, and each detector's map over it, side by side.
const viewer = document.getElementById("viewer");
const panels = document.getElementById("panels");
const layers = { map: true, truth: true, full: null };
let viewed = null;

const layer = (src, name) => {
  const over = element("img", { src, alt: "", className: `over ${name}` });
  over.hidden = !layers[name];
  return over;
};
const panel = (i, cell) => {
  const image = reported.images[i], name = cell ? cell.detector : "image";
  const button = element("button", { type: "button", className: "stack" });
  button.dataset.panel = name;
  button.setAttribute("aria-label", `${name}: full size and back`);
  const what = cell ? `anomaly map of ${cell.detector} over ${image.name}` : image.name;
  if (image.view) button.append(element("img", { src: pictureOf(i, false), alt: what }));
  const map = cell && mapOf(cell, i), truth = truthOf(i);
  if (map) button.append(layer(map, "map"));
  if (truth) button.append(layer(truth, "truth"));
  const caption = element("figcaption", {}, element("b", { textContent: name }));
  if (cell) caption.append(" ", ...verdict(cell, i), ...(map ? [] : [" no map"]));
  const figure = element("figure", {}, button, caption);
  figure.hidden = layers.full !== null && layers.full !== name;  // full size: one alone
  return figure;
};

const drawViewer = () => {
  const image = reported.images[viewed], at = shownImages.indexOf(viewed);
  document.getElementById("viewer-title").textContent = image.name;
  const facts = [image.type, `${at + 1} of ${shownImages.length}`, ...checksOf(viewed).map(check => `⚠ ${check}`)];
  document.getElementById("viewer-facts").textContent = facts.join(" · ");
  viewer.classList.toggle("full", layers.full !== null);
  const focused = document.activeElement?.dataset.panel;
  panels.replaceChildren(panel(viewed, null), ...[cellHere, ...otherCells()].map(cell => panel(viewed, cell)));
  if (focused) [...panels.querySelectorAll(".stack")].find(stack => stack.dataset.panel === focused)?.focus();
  for (const name of ["map", "truth", "full"]) {
    viewer.querySelector(`[data-do="${name}"]`).setAttribute("aria-pressed", String(Boolean(layers[name])));
  }
};
const openViewer = i => {
  viewed = i;
  drawViewer();
  if (!viewer.open) viewer.showModal();
};
const walk = to => {
  const last = shownImages.length - 1, next = shownImages[Math.max(0, Math.min(to, last))];
  if (next !== undefined && next !== viewed) openViewer(next);
};
const place = () => shownImages.indexOf(viewed);
// The picture pixel by pixel, or as wide as the page where that is wider.
const toggleFull = name => { layers.full = layers.full === null ? name : null; drawViewer(); };
const actions = {
  previous: () => walk(place() - 1),
  next: () => walk(place() + 1),
  first: () => walk(0),
  last: () => walk(shownImages.length - 1),
  map: () => { layers.map = !layers.map; drawViewer(); },
  truth: () => { layers.truth = !layers.truth; drawViewer(); },
  full: () => toggleFull(imagesPart.dataset.detector),
  close: () => viewer.close(),
};
const KEYS = { ArrowLeft: "previous", ArrowRight: "next", Home: "first", End: "last", m: "map", g: "truth", f: "full" };

viewer.addEventListener("click", event => {
  const button = event.target.closest("[data-do]"), stack = event.target.closest(".stack");
  if (button) actions[button.dataset.do]();
  else if (stack) toggleFull(stack.dataset.panel);
});
viewer.addEventListener("keydown", event => {
  const action = KEYS[event.key];
  if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  actions[action]();
});
// Back to where one walked to, not to where one came from.
viewer.addEventListener("close", () => {
  while (shownImages.indexOf(viewed) >= places && !more.hidden) more.click();
  list.querySelector(`[data-image="${viewed}"]`)?.focus();
});
