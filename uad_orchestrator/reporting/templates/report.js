"use strict";
document.querySelectorAll(".needs-script").forEach(part => { part.hidden = false; });

// Sorting: a second click turns it round; cells without a value stay last.
document.querySelectorAll("table.sortable").forEach(table => {
  const body = table.tBodies[0];
  table.querySelectorAll("thead button").forEach(button => {
    const head = button.closest("th");
    if (!head.hasAttribute("aria-sort")) head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const textual = "text" in button.dataset;
      const first = textual ? "ascending" : "descending";
      const second = textual ? "descending" : "ascending";
      const order = head.getAttribute("aria-sort") === first ? second : first;
      table.querySelectorAll("thead th").forEach(other => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const value = row => row.cells[head.cellIndex]?.dataset.value ?? "";
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        return sign * (textual ? x.localeCompare(y) : Number(x) - Number(y));
      });
      body.append(...rows);
    });
  });
});

document.getElementById("filter")?.addEventListener("input", event => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  document.querySelectorAll("table.sortable tbody tr").forEach(row => {
    const name = row.dataset.name.toLowerCase();
    row.hidden = !words.every(word => name.includes(word));
  });
});

document.getElementById("metric")?.addEventListener("change", event => {
  document.querySelectorAll("[data-metric]").forEach(value => {
    value.hidden = value.dataset.metric !== event.target.value;
  });
  const heading = event.target.selectedOptions[0].textContent;
  document.querySelectorAll(".metric-name").forEach(name => { name.textContent = heading; });
});

// A link to a cell, or into the warnings, opens it.
const openTarget = () => {
  const cell = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = cell?.closest("details");
  if (folded) { folded.open = true; cell.scrollIntoView(); }
};
addEventListener("hashchange", openTarget);
openTarget();

document.getElementById("open-all")?.addEventListener("click", event => {
  const cells = document.querySelectorAll("details.cell");
  const open = [...cells].some(cell => !cell.open);
  cells.forEach(cell => { cell.open = open; });
  event.target.textContent = open ? "Close all" : "Open all";
});
