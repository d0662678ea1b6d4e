"use strict";
// The page's data, the theme's colours, and small helpers that the other scripts share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const MISSING = -(2 ** 20); // harness/report/packing.py
const SVG_TAGS = new Set(["svg", "g", "line", "polyline", "polygon", "path", "circle", "image", "rect", "title", "text"]);
const LENGTH_DIGITS = DATA.unit === "px" ? 1 : 3;

const $ = (id) => document.getElementById(id);

/** An HTML or SVG element with attributes and children; text is never read as markup. */
function make(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** What a CSS colour variable is in the theme of the moment, as rgb(). */
function colour(variable) {
  const probe = make("span", { style: `color: var(--${variable})` });
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

/** The colour of a rung: its own, or the text colour for the reference. */
function rungColour(rung) {
  return rung.colour === "ink" ? colour("ink") : rung.colour;
}

/** A short sample of a rung's line. */
function swatch(rung) {
  const stroke = rung.colour === "ink" ? { class: "ink" } : { stroke: rung.colour };
  return make("svg", { class: "swatch", viewBox: "0 0 26 8", width: 26, height: 8, "aria-hidden": "true" },
    make("line", { x1: 1, y1: 4, x2: 25, y2: 4, "stroke-width": 3, "stroke-dasharray": rung.stroke || null, ...stroke }));
}

/** Signed number with a real minus sign. */
function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
}

/** Tooltips for everything with data-tip, by pointer and by keyboard. */
function installTips() {
  const box = make("div", { id: "tip", hidden: "" });
  document.body.append(box);
  const show = (target) => {
    box.textContent = target.dataset.tip;
    box.hidden = false;
    const at = target.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - 8));
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${at.bottom + scrollY + 6}px`;
  };
  for (const [enter, leave] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    document.addEventListener(enter, (e) => {
      const target = e.target.closest?.("[data-tip]");
      if (target && target.dataset.tip) show(target);
    });
    document.addEventListener(leave, (e) => { if (e.target.closest?.("[data-tip]")) box.hidden = true; });
  }
}

/** Cycles system, light, dark; `changed` redraws what has colours of its own. */
function installTheme(changed) {
  const names = ["system", "light", "dark"];
  const schemes = { system: "light dark", light: "light", dark: "dark" };
  let at = 0;
  $("theme").addEventListener("click", () => {
    at = (at + 1) % names.length;
    document.documentElement.style.colorScheme = schemes[names[at]];
    $("theme").textContent = `Theme: ${names[at]}`;
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  return { scheme: () => schemes[names[at]] };
}
