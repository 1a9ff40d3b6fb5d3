"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const made = (tag, parent, className = "") => Object.assign(parent.appendChild(document.createElement(tag)), { className });
document.documentElement.classList.add("js");
addEventListener("beforeprint", () => { document.getElementById("how").open = true; });

// Lists: a click on a head sorts, words leave the rows that have them all.
const { compare } = new Intl.Collator("en", { numeric: true });
const size = (text) => parseFloat(text.replace("\u2212", "-").replace("\u00b1", "").replace("inf", "Infinity"));
function sort(head) {
  const heads = [...head.parentElement.cells], column = heads.indexOf(head), body = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const number = "number" in head.dataset, text = (row) => row.cells[column].textContent;
  const places = new Map([...new Set([...body.rows].map(text))].sort(compare).map((found, i) => [found, i]));
  const rows = [...body.rows].map((row) => [number ? size(text(row)) : places.get(text(row)), row]);
  rows.sort(([a], [b]) => isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : a === b ? 0 : a < b ? -sign : sign); // no number: last
  body.append(...rows.map(([, row]) => row));
}
for (const table of all(".list")) {
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
  }
  const rows = [...table.tBodies[0].rows], texts = rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
  const box = table.closest("details"), search = box.querySelector("[type=search]");
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    rows.forEach((row, i) => { left += !(row.hidden = !words.every((word) => texts[i].includes(word))); });
    box.querySelector("output").value = words.length ? left + " of " + rows.length : "";
  });
}

// Pictures: two with a movable border between them, and a lens over the same place of all.
const CROP = 48, LENS = 192; // pixels of the picture that a lens shows, and of the lens
function look(item) {
  const view = item.querySelector(".pictures"), range = item.querySelector("[type=range]");
  const figures = all("figure", view), pictures = figures.map((figure) => figure.querySelector("img"));
  const border = made("div", view, "border"), frame = made("div", view, "frame");
  const lenses = figures.map((figure) => {
    const box = made("figure", item.querySelector(".lenses")), canvas = made("canvas", box);
    canvas.width = canvas.height = LENS;
    canvas.setAttribute("aria-hidden", "true");
    made("figcaption", box).textContent = figure.textContent;
    return canvas.getContext("2d");
  });
  const place = { x: +item.dataset.x, y: +item.dataset.y };
  function magnify(x, y) {
    const { naturalWidth: width, naturalHeight: height } = pictures[0], side = Math.min(CROP, width, height);
    const inside = (part, length) => Math.min(Math.max(Math.round(part * length - side / 2), 0), length - side);
    const left = inside(x, width), top = inside(y, height);
    Object.assign(place, { x: (left + side / 2) / width, y: (top + side / 2) / height });
    frame.style.cssText = "left: " + 100 * place.x + "%; top: " + 100 * place.y + "%; width: " + 100 * side / width + "%; height: " + 100 * side / height + "%";
    lenses.forEach((lens, i) => {
      lens.imageSmoothingEnabled = false;
      lens.drawImage(pictures[i], left, top, side, side, 0, 0, LENS, LENS);
    });
  }
  function cut(percent) {
    range.value = percent;
    view.style.setProperty("--cut", range.value + "%");
  }
  function pair() {
    const chosen = item.querySelector("[type=radio]:checked"), [before, after] = chosen ? chosen.value.split(" ").map(Number) : [0, 1];
    figures.forEach((figure, i) => { figure.className = i === before ? "before" : i === after ? "after" : ""; });
  }
  function follow(event) {
    const box = view.getBoundingClientRect(), x = (event.clientX - box.left) / box.width;
    magnify(x, (event.clientY - box.top) / box.height);
    if (event.buttons) cut(100 * x);
  }
  view.addEventListener("pointerdown", follow);
  view.addEventListener("pointermove", follow);
  range.addEventListener("input", () => cut(range.value));
  for (const choice of all("[type=radio]", item)) choice.addEventListener("change", pair);
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  view.tabIndex = 0;
  view.setAttribute("role", "group");
  view.setAttribute("aria-label", "Pictures; arrow keys move the lens");
  view.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    magnify(place.x + steps[event.key][0] / 40, place.y + steps[event.key][1] / 40);
  });
  pair();
  cut(50);
  return () => Promise.all(pictures.map((picture) => picture.decode())).then(() => magnify(place.x, place.y));
}
const begin = new Map(all(".item").map((item) => [item, look(item)])); // the lens, when the item comes into sight
const sight = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    sight.unobserve(target);
    begin.get(target)();
  }
}, { rootMargin: "300px" });
for (const item of begin.keys()) sight.observe(item);
