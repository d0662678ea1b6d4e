// What the reader does: choosing frames, cases and rungs, switching the metric table, stepping by keyboard.

const Viewer = (() => {
  if (!DATA.frames.length) return { show() {}, redraw() {}, find: () => null };
  const MANY = 6;
  let index = -1;
  let shownRungs = null; // a Set once the reader has chosen; until then what suits the frame

  /** Rungs shown for a frame: all of a few, else the way from the reference to the rung that the frame is about. */
  function suited(frame) {
    if (DATA.rungs.length <= MANY) return new Set(DATA.rungs.keys());
    return new Set([DATA.reference, frame.parent, frame.rung]);
  }

  const chosen = () => shownRungs ?? suited(DATA.frames[index]);
  const visible = (rung) => chosen().has(rung);

  function show(next, { track, band } = {}) {
    index = (next + DATA.frames.length) % DATA.frames.length;
    const frame = DATA.frames[index];
    $("frame-title").textContent = `${frame.label[0].toUpperCase()}${frame.label.slice(1)}${frame.value === "–" ? "" : " " + frame.value}`;
    $("frame-text").textContent = sentence(frame);
    $("position").textContent = `${index + 1} of ${DATA.frames.length}`;
    for (const button of document.querySelectorAll("#frame-list button")) {
      const current = Number(button.dataset.index) === index;
      button.setAttribute("aria-current", current);
      if (current) keepInView(button);
    }
    for (const row of document.querySelectorAll("#case-table .pick")) row.classList.toggle("chosen", row.dataset.case === frame.case);
    fillChoices(frame, track, band);
    redraw();
  }

  /** Scrolls the list itself, never the page. */
  function keepInView(button) {
    const list = $("frame-list");
    const item = button.parentElement;
    if (item.offsetTop - list.offsetTop < list.scrollTop) list.scrollTop = item.offsetTop - list.offsetTop;
    const below = item.offsetTop - list.offsetTop + item.offsetHeight - list.clientHeight;
    if (below > list.scrollTop) list.scrollTop = below;
    list.scrollLeft = Math.max(0, item.offsetLeft - list.offsetLeft - 40);
  }

  function sentence(frame) {
    const parts = [`case ${frame.case}, frame ${frame.frame}` + (frame.seconds === null ? "" : ` (${frame.seconds.toFixed(2)} s)`), frame.rung_name];
    if (frame.band) parts.push(`${frame.band} band`);
    if (frame.track !== null) parts.push(`line ${frame.track}`);
    if (frame.threshold !== "–") parts.push(`threshold ${frame.threshold}`);
    if (frame.end > frame.start) parts.push(`lasts frames ${frame.start} to ${frame.end}`);
    if (frame.also.length) parts.push(`also on ${frame.also.length > 3 ? `${frame.also.length} other rungs` : frame.also.join(", ")}`);
    return parts.join(" · ");
  }

  function fillChoices(frame, track, band) {
    const series = DATA.series[frame.case];
    const traces = series ? series.traces : [];
    const tracks = [...new Set(traces.map((t) => t.track))].sort((a, b) => a - b);
    const bands = ["near", "mid", "far"].filter((b) => traces.some((t) => t.band === b));
    fill($("track"), tracks, track ?? frame.track ?? tracks[0]);
    fill($("band"), bands, band ?? frame.band ?? bands[bands.length - 1]);
    $("time-note").textContent = !series ? "no series of this case: nothing was compared, or it was left out to keep this file small"
      : series.bucketed ? "long clip: smallest and largest value of every interval" : "";
  }

  function fill(select, values, wanted) {
    select.replaceChildren(...values.map((v) => make("option", { value: v, selected: String(v) === String(wanted) ? "" : null }, String(v))));
    select.disabled = values.length < 2;
  }

  function redraw() {
    if (index < 0) return;
    const frame = DATA.frames[index];
    drawChips(frame);
    Picture.draw(frame, visible);
    Plots.above(frame, visible);
    Plots.along(frame, visible);
    drawTime();
  }

  function drawTime() {
    const frame = DATA.frames[index];
    Plots.time(frame, DATA.series[frame.case], Number($("track").value), $("band").value, visible);
  }

  function drawChips(frame) {
    const now = chosen();
    const chips = DATA.rungs.map((rung, i) => {
      const ran = rung.status !== "not_run";
      const chip = make("button", { type: "button", "aria-pressed": now.has(i), class: i === frame.rung ? "culprit" : null, disabled: ran ? null : "", title: chipTitle(rung, i, frame) }, swatch(rung), rung.name);
      chip.addEventListener("click", () => choose(toggled(i)));
      chip.addEventListener("mouseenter", () => highlight(i));
      chip.addEventListener("mouseleave", () => highlight(null));
      return chip;
    });
    const all = make("button", { type: "button", class: "all" }, "all");
    all.addEventListener("click", () => choose(new Set(DATA.rungs.keys())));
    const blamed = make("button", { type: "button", class: "all", title: "the reference, the rung of this frame, and its parent" }, "this step only");
    blamed.addEventListener("click", () => choose(new Set([DATA.reference, frame.parent, frame.rung])));
    $("chips").replaceChildren(...chips, all, blamed);
  }

  function chipTitle(rung, i, frame) {
    const parts = [i === DATA.reference ? "the reference" : rung.factors.join(" + ")];
    if (i === frame.rung) parts.push("the rung of this frame");
    if (rung.reason) parts.push(rung.reason);
    return parts.filter(Boolean).join("; ");
  }

  function toggled(rung) {
    const next = new Set(chosen());
    if (!next.delete(rung)) next.add(rung);
    return next;
  }

  function choose(rungs) {
    shownRungs = rungs;
    redraw();
  }

  function highlight(rung) {
    const shown = rung !== null && visible(rung) ? rung : null;
    Picture.highlight(shown);
    Plots.highlight(shown);
  }

  /** The shown frame of a case nearest to a frame number, else the case's worst. */
  function find(name, number) {
    const own = [...DATA.frames.keys()].filter((i) => DATA.frames[i].case === name);
    if (!own.length) return null;
    if (number === undefined) return own[0];
    return own.reduce((a, b) => (Math.abs(DATA.frames[b].frame - number) < Math.abs(DATA.frames[a].frame - number) ? b : a));
  }

  for (const button of document.querySelectorAll("#frame-list button")) {
    button.addEventListener("click", () => show(Number(button.dataset.index)));
  }
  $("previous").addEventListener("click", () => show(index - 1));
  $("next").addEventListener("click", () => show(index + 1));
  $("track").addEventListener("change", drawTime);
  $("band").addEventListener("change", drawTime);
  document.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.shiftKey || e.target.closest("input, select, textarea, .scroll")) return;
    if (e.key === "ArrowLeft") show(index - 1);
    else if (e.key === "ArrowRight") show(index + 1);
    else return;
    e.preventDefault();
  });
  show(0);
  return { show, redraw, find };
})();

/** Shows the frame of a case and brings the viewer into view. */
function goTo(name, number) {
  const index = Viewer.find(name, number);
  if (index === null) return;
  Viewer.show(index);
  $("frames").scrollIntoView();
}

for (const row of document.querySelectorAll("#case-table .pick")) row.addEventListener("click", () => goTo(row.dataset.case));
for (const link of document.querySelectorAll("[data-go-case]")) {
  link.addEventListener("click", () => goTo(link.dataset.goCase, link.dataset.goFrame === undefined ? undefined : Number(link.dataset.goFrame)));
}

/** The metric table: statistic and band. */
(() => {
  const table = $("heat");
  if (!table) return;
  const now = { statistic: "worst", band: "all" };
  const draw = () => {
    for (const row of table.querySelectorAll("tbody tr")) {
      for (const td of row.querySelectorAll("td")) {
        const cell = DATA.heat[row.dataset.rung]?.[td.dataset.metric]?.[`${now.statistic}.${now.band}`];
        td.textContent = cell ? cell.text : "–";
        td.title = cell ? cell.note : "";
        td.style.setProperty("--shade", cell ? cell.shade : 0);
        td.className = cell ? `num tone-${cell.tone}${cell.over ? " over" : ""}${cell.worst ? " worst" : ""}` : "num";
      }
    }
  };
  for (const key of ["statistic", "band"]) {
    const buttons = document.querySelectorAll(`#metrics [data-${key}]`);
    for (const button of buttons) {
      button.addEventListener("click", () => {
        now[key] = button.dataset[key];
        for (const b of buttons) b.setAttribute("aria-pressed", b === button);
        draw();
      });
    }
  }
})();

installTips();
const Theme = installTheme(() => Viewer.redraw());

/** On paper tooltips are gone, so definitions are folded out; plots are drawn light and keep their proportions. */
addEventListener("beforeprint", () => {
  $("definitions").open = true;
  document.documentElement.style.colorScheme = "light";
  Viewer.redraw();
  for (const container of document.querySelectorAll(".plot .svg-container")) {
    const { width, height } = container.querySelector(".main-svg").getBoundingClientRect();
    container.style.setProperty("--aspect", `${width} / ${height}`);
    for (const svg of container.querySelectorAll(".main-svg")) svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }
});
addEventListener("afterprint", () => {
  for (const svg of document.querySelectorAll(".plot .main-svg")) svg.removeAttribute("viewBox");
  document.documentElement.style.colorScheme = Theme.scheme();
  Viewer.redraw();
});
