"use strict";
// Tables sort by the column whose head is pressed; a second press turns the order round.
for (const button of document.querySelectorAll(".sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const body = head.closest("table").tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[head.cellIndex].dataset.sort ?? row.cells[head.cellIndex].textContent;
    const order = (a, b) => (isNaN(a) || isNaN(b) || a === "" || b === "" ? a.localeCompare(b) : a - b);
    const rows = [...body.rows].sort((a, b) => order(value(a), value(b)) * (up ? 1 : -1));
    body.append(...rows);
  });
}
// Pointing at a task shows what it needs and what needs it.
for (const graph of document.querySelectorAll(".graph")) {
  const point = (node) => {
    const near = new Set([node.dataset.id]);
    for (const edge of graph.querySelectorAll(".edge")) {
      const { from, to } = edge.dataset;
      const touches = from === node.dataset.id || to === node.dataset.id;
      edge.classList.toggle("near", touches);
      if (touches) near.add(from).add(to);
    }
    for (const other of graph.querySelectorAll(".node")) other.classList.toggle("near", near.has(other.dataset.id));
    graph.classList.add("pointing");
  };
  const leave = () => graph.classList.remove("pointing");
  for (const node of graph.querySelectorAll(".node")) {
    node.addEventListener("mouseenter", () => point(node));
    node.addEventListener("mouseleave", leave);
    node.addEventListener("focus", () => point(node));
    node.addEventListener("blur", leave);
  }
  // A graph that fits the page after some shrinking is shown whole; a larger one scrolls, at first to its middle.
  const svg = graph.querySelector("svg");
  if (svg.width.baseVal.value < graph.clientWidth * 1.6) graph.classList.add("fit");
  else graph.scrollLeft = (graph.scrollWidth - graph.clientWidth) / 2;
}
