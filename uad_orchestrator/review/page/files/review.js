"use strict";
const $ = id => document.getElementById(id);
const QUIET = 1000;
const state = { images: [], at: 0, categories: {}, done: [], busy: false, view: "waiting", loaded: 0, quiet: 0 };

// Everything that comes from records and names goes through textContent: none of it is ever markup.
function made(tag, text = "", names = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (names) element.className = names;
  return element;
}

async function ask(path, body) {
  const options = body === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the review has ended: start `uad review` again");
  }
  const values = await answer.json();
  if (!answer.ok) throw new Error(values.error);
  return values;
}

function say(text) { $("status").textContent = text; $("fault").textContent = ""; }
function complain(error) { $("fault").textContent = error.message; }

const shortened = value => value === null || value === undefined ? "none" : Number(value).toPrecision(4).replace(/\.?0+(e|$)/, "$1");
// In UTC, as records, days of the line and what the server says of judgements have it.
const moment = time => new Date(time).toISOString().slice(0, 19).replace("T", " ") + " UTC";
const SIGNS = { reject: "▲ reject", review: "● review", pass: "✓ pass" };

// The queue: what the two choices leave of what waits.
function shownImages() {
  const category = $("category").value, detector = $("detector").value;
  return state.images.filter(image => (!category || image.category === category) &&
    (!detector || image.records.some(record => record.detector === detector)));
}
const current = () => shownImages()[state.at];

async function load() {
  const key = current()?.digest, place = state.at;
  const number = ++state.loaded;
  const found = await ask(`/api/waiting?order=${$("order").value}`);
  if (number !== state.loaded) return;
  state.images = found.images;
  $("count-waiting").textContent = found.total;
  $("lost").hidden = !found.without_picture;
  $("lost").textContent = `${found.without_picture} more were stopped, but their pictures are not kept any more.`;
  for (const [id, of] of [["category", i => [i.category]], ["detector", i => i.records.map(r => r.detector)]]) {
    const names = [...new Set(state.images.flatMap(of))].sort(), select = $(id), chosen = select.value;
    if (chosen && !names.includes(chosen)) names.push(chosen);
    select.replaceChildren(select.options[0], ...names.map(name => new Option(name, name)));
    select.value = chosen;
    select.closest("label").hidden = names.length < 2 && !chosen;
  }
  const again = shownImages().findIndex(image => image.digest === key);
  state.at = again >= 0 ? again : Math.min(place, Math.max(0, shownImages().length - 1));
  if (key && again < 0 && !state.busy) {
    state.quiet = Date.now() + QUIET; // somebody else judged it: a key that was meant for it must not fall on the next
    say("Somebody else judged that image: here is another one.");
  }
  show();
}

function show() {
  const images = shownImages(), image = images[state.at];
  $("card").hidden = !image;
  $("nothing").hidden = Boolean(image);
  $("previous").disabled = state.at <= 0;
  $("next").disabled = state.at >= images.length - 1;
  const refusals = state.categories[image?.category]?.refusals ?? {};
  for (const [id, verdict] of [["normal", "normal"], ["defect", "defect"], ["unsure-button", "unsure"]]) {
    $(id).disabled = !image || verdict in refusals;
    $(id).title = refusals[verdict] ?? "";
  }
  $("toggle").disabled = !image;
  $("undo").disabled = !state.done.length;
  if (!image) return;
  $("waiting-title").textContent = image.image;
  $("place").textContent = `${state.at + 1} of ${images.length}`;
  $("about").textContent = `· ${image.category} · ${moment(image.time)} · ${image.size[1]} × ${image.size[0]} pixels`;
  $("decisions").replaceChildren(...image.records.flatMap(
    r => [made("span", `${r.detector} ${SIGNS[r.decision]} ${shortened(r.score)}`, `chip ${r.decision}`), " "]));
  const detector = $("detector").value;
  const record = image.records.find(r => r.map && (!detector || r.detector === detector)) ?? image.records.find(r => r.map);
  picture($("picture"), `/pictures/${image.records[0].id}`, `picture of ${image.image}`);
  $("map").closest("figure").hidden = !record;
  if (record) {
    picture($("map"), `/maps/${record.id}`, `${image.image} under the anomaly map of ${record.detector}`);
    $("map-caption").textContent = `anomaly map of ${record.detector}`;
  }
  $("plain").style.display = record ? "" : "block";
  $("records").replaceChildren(...image.records.map(shownRecord), ...Object.values(refusals).slice(0, 1).map(r => made("li", r, "warned")));
  const following = images[state.at + 1];
  if (following) new Image().src = `/pictures/${following.records[0].id}`;
}

function picture(element, address, words) {
  if (element.getAttribute("src") === address) return;
  element.alt = words;
  element.src = address;
}
for (const id of ["picture", "map"]) {
  $(id).addEventListener("error", () => { $(id).alt = `${$(id).alt}: cannot be shown`; });
}

function shownRecord(record) {
  const row = made("li"), head = made("div", "", "numbers"), below = made("div", "", "numbers");
  head.append(made("b", record.detector), made("span", SIGNS[record.decision], `chip ${record.decision}`),
    made("span", `score ${shortened(record.score)}`));
  const ends = [record.score, record.threshold, record.review_threshold].filter(v => v !== null);
  const low = Math.min(0, ...ends), high = Math.max(...ends) * 1.08 - low * 0.08 || 1;
  const along = value => `${100 * (value - low) / (high - low)}%`;
  const scale = made("div", "", "scale"), bar = made("b");
  scale.setAttribute("aria-hidden", "true");
  bar.style.width = along(record.score);
  scale.append(bar);
  for (const [value, name, words] of [[record.review_threshold, "from", "review from"], [record.threshold, "to", "rejected above"]]) {
    if (value === null) continue;
    const line = made("i", "", name);
    line.style.left = along(value);
    scale.append(line);
    below.append(made("span", `${words} ${shortened(value)}`));
  }
  row.append(head, scale, below, ...record.warnings.map(text => made("p", `Warning: ${text}`, "warned")));
  return row;
}

function walk(step) {
  const at = state.at + step;
  if (at < 0 || at >= shownImages().length) return;
  state.at = at;
  say("");
  show();
}

// Judging. `seen` is the judgement that this page knew of: where another one stands the server says so. A key that is
// pressed while an answer is under way does nothing: it would judge an image that was not looked at.
async function judge(verdict, type = null, of = current(), seen = null) {
  if (!of || state.busy || Date.now() < state.quiet) return;
  state.busy = true;
  try {
    const judged = await ask("/api/judgements", { category: of.category, digest: of.digest, verdict, defect_type: type, seen });
    state.done.push(judged);
    if (type && !state.categories[of.category].types.includes(type)) state.categories[of.category].types.push(type);
    say(`${judged.image}: ${judged.verdict}${type ? ` (${type})` : ""}${judged.became ? `, ${judged.became}` : ""}. Undo: z`);
    state.images = state.images.filter(image => !(image.digest === of.digest && image.category === of.category));
    state.at = Math.min(state.at, Math.max(0, shownImages().length - 1));
    state.loaded += 1; // what was asked for before still has the image
    show();
  } catch (error) {
    complain(error);
  } finally {
    state.busy = false;
  }
  refresh().catch(() => {});
}

async function undo(judged = state.done.at(-1)) {
  if (!judged || state.busy) return;
  state.busy = true;
  try {
    await ask("/api/undo", { category: judged.category, id: judged.id });
    state.done = state.done.filter(other => other.id !== judged.id);
    say(`${judged.image}: undone, it waits again`);
    await refresh();
    const again = shownImages().findIndex(image => image.digest === judged.digest);
    if (again >= 0) state.at = again;
    show();
  } catch (error) {
    complain(error);
    state.done = state.done.filter(other => other.id !== judged.id);
    show();
  } finally {
    state.busy = false;
  }
}

function askForType(of = current(), seen = null) {
  if (!of) return;
  const dialog = $("types"), types = state.categories[of.category]?.types ?? [];
  const chosen = type => { dialog.close(); judge("defect", type, of, seen); };
  $("known").replaceChildren(...types.map((type, place) => {
    const button = made("button", type);
    button.type = "button";
    if (place < 9) {
      button.append(" ", made("kbd", String(place + 1)));
      button.setAttribute("aria-keyshortcuts", String(place + 1));
    }
    button.addEventListener("click", () => chosen(type));
    return button;
  }));
  $("new-type").value = "";
  $("add-type").onclick = event => {
    event.preventDefault();
    const type = $("new-type").value.trim();
    if (type) chosen(type); else $("new-type").focus();
  };
  dialog.onkeydown = event => {
    if (event.target === $("new-type") || !/^[1-9]$/.test(event.key)) return;
    event.preventDefault();
    if (types[event.key - 1]) chosen(types[event.key - 1]);
  };
  dialog.showModal();
  (types.length ? $("known").firstChild : $("new-type")).focus();
}
$("cancel").addEventListener("click", () => $("types").close());

// The lists of what was judged.
async function list(view) {
  const { judged } = await ask("/api/judged");
  const unsure = judged.filter(one => one.stands && one.verdict === "unsure" && isLast(one, judged));
  $("count-unsure").textContent = unsure.length;
  if (view === "waiting" || view === "since") return;
  const rows = view === "unsure" ? unsure : judged;
  $("list-title").textContent = view === "unsure" ? `Unsure (${rows.length})` : `Judged (${rows.length})`;
  $("rows").replaceChildren(...rows.map(one => shownJudgement(one, view)));
  if (!rows.length) $("rows").replaceChildren(made("li", "None."));
}
const isLast = (one, judged) => judged.find(other => other.stands && other.digest === one.digest && other.category === one.category) === one;

function shownJudgement(one, view) {
  const row = made("li"), words = made("div"), buttons = made("p", "", "bar");
  if (one.record) {
    const image = made("img");
    image.loading = "lazy";
    image.alt = `picture of ${one.image}`;
    image.src = `/pictures/${one.record}`;
    row.append(image);
  } else row.append(made("span", "no picture any more", "soft"));
  words.append(made("b", one.image), " ", made("span", one.verdict + (one.defect_type ? `: ${one.defect_type}` : ""), `chip ${one.verdict}`),
    made("p", `${one.category}, ${one.told}`, "soft"), made("p", one.became, "soft"));
  const action = (text, does) => {
    const button = made("button", text);
    button.type = "button";
    button.setAttribute("aria-label", `${text}: ${one.image}`);
    button.addEventListener("click", does);
    buttons.append(button);
  };
  if (view === "unsure") {
    action("Normal", () => judge("normal", null, one, one.id));
    action("Defect", () => askForType(one, one.id));
  }
  if (one.stands && !one.taken) action("Undo", () => undo(one));
  if (buttons.children.length) words.append(buttons);
  row.append(words);
  return row;
}

// What the cells make of the judged images now.
$("compute").addEventListener("click", async () => {
  $("compute").disabled = true;
  say("scoring the judged images ...");
  try {
    const { cells } = await ask("/api/since");
    $("cells").replaceChildren(...cells.map(shownCell));
    say("");
  } catch (error) { complain(error); } finally { $("compute").disabled = false; }
});

function shownCell(cell) {
  const box = made("div", "", "cell");
  box.append(made("h3", `${cell.category} · ${cell.detector}`));
  if (cell.reason) { box.append(made("p", cell.reason, "warned")); return box; }
  const gone = cell.false_alarms_passed, missed = cell.defects_missed, counts = made("p");
  counts.append("false alarms now passed: ", made("b", `${gone.count} of ${gone.of}`), " · defects now missed: ", made("b", `${missed.count} of ${missed.of}`));
  const from = cell.review_threshold === null ? "" : `, review from ${shortened(cell.review_threshold)}`;
  box.append(counts, made("p", `rejected above ${shortened(cell.threshold)}${from}`, "soft"));
  if (cell.held) box.append(made("p", `${cell.held} of them are in the memory bank, and scored with it: low by themselves`, "warned"));
  if (cell.undecided) box.append(made("p", `${cell.undecided} could not be decided again`, "warned"));
  if (!cell.images.length) { box.append(made("p", "None of its images is judged.", "soft")); return box; }
  const scroll = made("div", "", "scroll"), table = made("table"), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of ["image", "judged", "change", "now", "on the line"]) {
    const cellHead = made("th", name);
    cellHead.scope = "col";
    head.append(cellHead);
  }
  for (const image of cell.images) {
    const row = body.insertRow(), normal = image.verdict === "normal";
    const verdict = image.defect_type ? `defect: ${image.defect_type}` : image.verdict;
    const now = image.fault || `${shortened(image.score_now)} ${SIGNS[image.decision_now] ?? "no decision"}`;
    const change = image.decision_now !== "pass" ? "" : normal ? "✓ alarm gone" : "▲ missed";
    const marked = made("td");
    if (change) marked.append(made("span", change, `chip ${normal ? "gone" : "missed"}`));
    row.append(made("td", image.image), made("td", verdict), marked, made("td", now),
      made("td", `${shortened(image.score_before)} ${SIGNS[image.decision_before]}`));
  }
  scroll.tabIndex = 0;
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `images of ${cell.category}, ${cell.detector}`);
  scroll.append(table);
  box.append(scroll);
  return box;
}

// Views, keys, and looking again now and then.
function view(name) {
  state.view = name;
  document.querySelectorAll("nav button").forEach(button => {
    if (button.dataset.view === name) button.setAttribute("aria-current", "page"); else button.removeAttribute("aria-current");
  });
  $("waiting").hidden = name !== "waiting";
  $("list").hidden = name !== "unsure" && name !== "judged";
  $("since").hidden = name !== "since";
  say("");
  refresh().catch(complain);
}
async function refresh() { await Promise.all([load(), list(state.view)]); }
async function types() {
  const found = await ask("/api/categories");
  $("by").textContent = found.by;
  state.categories = Object.fromEntries(found.categories.map(category => [category.category, category]));
  show();
}
function toggleMap() {
  $("toggle").setAttribute("aria-pressed", String(document.body.classList.toggle("with-map")));
}

document.querySelectorAll("nav button").forEach(button => button.addEventListener("click", () => view(button.dataset.view)));
for (const id of ["category", "detector"]) $(id).addEventListener("change", () => { state.at = 0; show(); });
$("order").addEventListener("change", () => { state.at = 0; state.images = []; load().catch(complain); });
$("previous").addEventListener("click", () => walk(-1));
$("next").addEventListener("click", () => walk(1));
$("normal").addEventListener("click", () => judge("normal"));
$("defect").addEventListener("click", () => askForType());
$("unsure-button").addEventListener("click", () => judge("unsure"));
$("undo").addEventListener("click", () => undo());
$("toggle").addEventListener("click", toggleMap);

const KEYS = {
  n: "normal", d: "defect", u: "unsure-button", z: "undo", m: "toggle", ArrowLeft: "previous", ArrowRight: "next",
};
document.addEventListener("keydown", event => {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (event.ctrlKey || event.metaKey || event.altKey || typing || state.view !== "waiting" || event.repeat) return;
  const id = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!id) return;
  event.preventDefault();
  if (!$(id).disabled) $(id).click();
});

document.body.classList.add("with-map");
Promise.all([types(), refresh()]).catch(complain);
setInterval(() => {
  if (!document.hidden && !state.busy && !$("types").open && state.view === "waiting") load().catch(complain);
}, 15000);
