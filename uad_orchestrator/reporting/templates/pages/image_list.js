"use strict";
// Every test image: sorted, filtered, with what each detector decides. The page's own detector decides by the slider.
const AT_ONCE = 120;
const form = document.getElementById("list");
const list = document.getElementById("image-list");
const more = document.getElementById("more");
const cellHere = shownCell();
const tried = { threshold: cellHere.threshold };
const SIGNS = { pass: "✓", review: "?", reject: "✕" };
let places = AT_ONCE;
let shownImages = [];

const decisionAt = (cell, i, threshold) => {
  const score = cell.scores[i];
  if (score === null || threshold === null || cell.undecided) return null;
  if (score > threshold) return "reject";
  return cell.review !== null && score > cell.review ? "review" : "pass";
};
const decisionOf = (cell, i) => decisionAt(cell, i, cell === cellHere ? tried.threshold : cell.threshold);
const outcomeOf = (decision, label) => {
  if (label === 0 && decision === "reject") return "false alarm";
  return label === 1 && decision === "pass" ? "missed" : "";
};
const moved = i => decisionAt(cellHere, i, tried.threshold) !== decisionAt(cellHere, i, cellHere.threshold);
const checksOf = i => [...new Set([...reported.images[i].checks, ...cellHere.checks[i] ?? []])];
const otherCells = () => [...form.querySelectorAll("fieldset input:checked")].map(box => reported.cells.get(box.value));

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const scoreText = score => score === null || score === undefined ? "–" : String(Number(score.toPrecision(4)));
// A path breaks behind its slashes.
const brokenPath = path => path.split("/").flatMap((part, n) => n ? ["/", element("wbr"), part] : [part]);
const verdict = (cell, i) => {
  const decision = decisionOf(cell, i);
  const said = decision === null ? "no decision" : `${SIGNS[decision]} ${decision}`;
  const wrong = outcomeOf(decision, reported.images[i].label);
  return [element("span", { className: `verdict ${decision ?? ""}`, textContent: said }),
    ` ${scoreText(cell.scores[i])}`, ...(wrong ? [" ", element("b", { className: "wrong", textContent: wrong })] : [])];
};

// A picture of the category, and a map laid over it.
const pictureOf = (i, small) => `${imagesPart.dataset.up}${addressed(reported.folder)}_/${reported.images[i].view}${small ? "-small" : ""}.jpg`;
const truthOf = i => reported.images[i].truth && `${imagesPart.dataset.up}${addressed(reported.folder)}_/${reported.images[i].truth}.svg`;
const mapOf = (cell, i) => cell.maps && cell.scores[i] !== null && !cell.unmapped.includes(i)
  ? `${imagesPart.dataset.up}${addressed(cell.maps)}${i}.png` : null;
const addressed = path => path.split("/").map(encodeURIComponent).join("/");

const card = i => {
  const image = reported.images[i];
  const look = element("button", { type: "button", className: "look" });
  look.setAttribute("aria-label", `${image.name}, ${image.type}: show maps and ground truth`);
  look.dataset.image = i;
  if (image.view) {
    look.append(element("img", { src: pictureOf(i, true), alt: "", loading: "lazy" }));
    const map = form.elements.maps.checked && mapOf(cellHere, i);
    if (map) look.append(element("img", { src: map, alt: "", loading: "lazy", className: "over" }));
  } else look.append(element("span", { className: "soft", textContent: "no picture" }));
  const text = element("div", {}, element("p", { className: "names" }, ...brokenPath(image.name)));
  text.append(element("p", { className: "type", textContent: image.type }));
  text.append(element("p", {}, ...verdict(cellHere, i)));
  for (const cell of otherCells()) text.append(element("p", { className: "beside" }, ...verdict(cell, i), ` ${cell.detector}`));
  if (moved(i)) text.append(element("p", { className: "moved", textContent: "changed by the slider" }));
  for (const check of checksOf(i)) text.append(element("span", { className: "chip warning", textContent: `⚠ ${check}` }));
  if (image.fault) text.append(element("p", { className: "soft", textContent: image.fault }));
  return element("li", {}, look, text);
};

const wanted = i => {
  const image = reported.images[i], of = name => form.elements[name].value;
  if (of("type") && image.type !== of("type")) return false;
  if (of("check") && !checksOf(i).includes(of("check"))) return false;
  if (!image.name.toLowerCase().includes(of("name").toLowerCase())) return false;
  const decision = decisionOf(cellHere, i);
  if (of("decision") === "wrong") return outcomeOf(decision, image.label) !== "";
  if (of("decision") === "moved") return moved(i);
  return !of("decision") || decision === of("decision");
};
const sorted = images => {
  const order = form.elements.sort.value, sign = order === "up" ? 1 : -1;
  const text = i => (order === "type" ? `${reported.images[i].type}\n` : "") + reported.images[i].name;
  const score = i => cellHere.scores[i];
  return images.sort((a, b) => {
    if (order === "name" || order === "type") return text(a).localeCompare(text(b), "en", { numeric: true });
    if (score(a) === null || score(b) === null) return (score(a) === null) - (score(b) === null);
    return sign * (score(a) - score(b)) || a - b;
  });
};

const showList = () => {
  shownImages = sorted(reported.images.map((_, i) => i).filter(wanted));
  list.replaceChildren(...shownImages.slice(0, places).map(card));
  document.getElementById("shown").textContent = `${shownImages.length} of ${reported.images.length}`;
  const left = shownImages.length - places;
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(left, AT_ONCE)} more of ${left}`;
};
more.addEventListener("click", () => {
  const next = places;
  places += AT_ONCE;
  showList();
  list.children[next]?.querySelector("button").focus();
});

const fill = (name, options) => {
  const select = form.elements[name];
  select.append(...options.map(option => element("option", { value: option, textContent: option })));
  select.closest("label").hidden = !options.length;
};
fill("type", [...new Set(reported.images.map(image => image.type))].sort());
fill("check", [...new Set(reported.images.flatMap((_, i) => checksOf(i)))].sort());
const rivals = [...reported.cells.values()].filter(cell => cell !== cellHere);
const besides = form.querySelector("fieldset");
besides.hidden = !rivals.length;
besides.append(...rivals.map((cell, n) => element("label", {},
  element("input", { type: "checkbox", value: cell.detector, defaultChecked: n < 3 }), ` ${cell.detector}`)));

form.addEventListener("submit", event => event.preventDefault());
form.addEventListener("input", () => { places = AT_ONCE; showList(); });
document.querySelector(".sliders")?.addEventListener("threshold", event => {
  if (event.detail.of === "image") { tried.threshold = event.detail.threshold; requestAnimationFrame(showList); }
});

// Arrows walk from image to image.
list.addEventListener("keydown", event => {
  const buttons = [...list.querySelectorAll(".look")], at = buttons.indexOf(document.activeElement);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  buttons[Math.max(0, Math.min(to, buttons.length - 1))].focus();
});
list.addEventListener("click", event => {
  const look = event.target.closest(".look");
  if (look) openViewer(Number(look.dataset.image));
});
showList();
