// Deep links, the tables of cases, findings and measures, and what happens when the page is opened or printed.

const Links = (() => {
  let told = "";

  /** What a link of the form #case=...&frame=...&rung=... names; null where it is another. */
  function read() {
    const given = new URLSearchParams(location.hash.slice(1));
    return given.has("case") ? { id: given.get("case"), frame: given.get("frame") ?? undefined, rung: given.get("rung") } : null;
  }

  /** Writes where the reader is into the address, without a step in its history. */
  function tell(id, frame, rung) {
    const parts = new URLSearchParams({ case: id, frame, ...(rung ? { rung } : {}) });
    told = `#${parts}`;
    try { history.replaceState(null, "", told); } catch { /* a page that may not say where it is shows the same */ }
  }

  function follow() {
    const link = read();
    if (!link || location.hash === told) return false;
    const index = DATA.rungs.findIndex((r) => r.name === link.rung);
    const same = (f) => f.case === link.id && (link.frame === undefined || String(f.frame) === link.frame) && (index < 0 || f.rung === index);
    const finding = DATA.findings.find(same);
    goTo({ id: link.id, frame: link.frame, rung: index < 0 ? null : index, finding: finding ? finding.index : null });
    return true;
  }

  addEventListener("hashchange", follow);
  return { tell, follow };
})();

/** Opens a case in the player and brings the player into view. */
function goTo(place) {
  const page = DATA.pages[place.id];
  if (page && !document.querySelector(`script[data-clip="${CSS.escape(place.id)}"]`)) {
    location.href = `${page}#${new URLSearchParams({ case: place.id, ...(place.frame === undefined ? {} : { frame: place.frame }) })}`;
    return;
  }
  Player.go(place);
  $("frames").scrollIntoView();
}

/** The worst finding of a case nearest to a frame and band that a rule or a table names. */
function findingOf(id, frame, band, rung) {
  const own = DATA.findings.filter((f) => f.case === id);
  const far = (f) => (rung && f.rung_name !== rung && !f.also.includes(rung) ? 1e9 : 0) + (band && f.band !== band ? 1e8 : 0)
    + (frame === undefined ? 0 : Math.abs(Number(f.frame) - Number(frame)));
  const best = own.reduce((a, b) => (a === null || far(b) < far(a) ? b : a), null);
  return best && (frame === undefined || far(best) === 0) ? best.index : null;
}

for (const row of document.querySelectorAll("#case-table .pick")) {
  row.addEventListener("click", (e) => {
    if (e.target.closest("a")) return;
    const id = row.dataset.case;
    goTo({ id, finding: findingOf(id), ...DATA.firsts[id] });
  });
}
for (const link of document.querySelectorAll("[data-go-case]")) {
  link.addEventListener("click", () => {
    const { goCase: id, goFrame: frame, goBand: band, goRung: rung } = link.dataset;
    const index = DATA.rungs.findIndex((r) => r.name === rung);
    goTo({ id, frame, band: band ?? null, rung: index < 0 ? null : index, finding: findingOf(id, frame, band, rung) });
  });
}
for (const button of document.querySelectorAll("#finding-list button")) {
  button.addEventListener("click", () => {
    const finding = DATA.findings[Number(button.dataset.finding)];
    if (DATA.pages[finding.case]) goTo({ id: finding.case, frame: finding.frame, finding: finding.index });
    else Player.choose(finding.index);
  });
}
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const text = $(button.dataset.copy).textContent;
    try { await navigator.clipboard.writeText(text); button.textContent = "copied"; } catch {
      getSelection().selectAllChildren($(button.dataset.copy));
      button.textContent = "selected";
    }
  });
}

/** The table of cases: sorted by its headings, filtered by words, tag, finding and verdict; the findings follow. */
(() => {
  const table = $("case-table");
  if (!table) return;
  const rows = [...table.tBodies[0].rows];
  const controls = { words: $("case-words"), tag: $("case-tag"), kind: $("case-kind") };

  function filter() {
    const words = controls.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const fits = words.every((w) => text.includes(w)) && has(row.dataset.tags, controls.tag.value) && has(row.dataset.kinds, controls.kind.value);
      row.hidden = !fits;
      shown += fits;
    }
    const open = new Set(rows.filter((r) => !r.hidden).map((r) => r.dataset.case));
    for (const item of document.querySelectorAll("#finding-list li:not(.none)")) {
      const f = DATA.findings[Number(item.firstElementChild.dataset.finding)];
      item.hidden = !open.has(f.case) || (controls.kind.value !== "" && f.label !== controls.kind.value);
    }
    $("case-count").textContent = shown === rows.length ? `${shown} case${shown === 1 ? "" : "s"}` : `${shown} of ${rows.length} cases`;
  }

  const has = (list, wanted) => wanted === "" || JSON.parse(list).includes(wanted);

  function sortBy(button) {
    const column = button.closest("th").cellIndex;
    const down = button.getAttribute("aria-sort") !== "descending";
    for (const b of table.querySelectorAll("[data-sort]")) b.removeAttribute("aria-sort");
    button.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => { const v = row.cells[column].dataset.value; return v === undefined || v === "" ? null : Number.isNaN(Number(v)) ? v : Number(v); };
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    };
    table.tBodies[0].append(...[...rows].sort(order));
  }

  for (const control of Object.values(controls)) control.addEventListener("input", filter);
  for (const button of table.querySelectorAll("[data-sort]")) button.addEventListener("click", () => sortBy(button));
  filter();
})();

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
        td.className = cell ? `num tone-${cell.tone}${cell.over ? " over" : ""}${cell.worst ? " worst" : ""}${cell.judged ? ` judged ${cell.judged}` : ""}` : "num";
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
const Theme = installTheme(() => Player.redraw());

/** On paper tooltips are gone, so definitions are folded out, and everything is light. */
addEventListener("beforeprint", () => {
  if ($("definitions")) $("definitions").open = true;
  document.documentElement.style.colorScheme = "light";
  Player.redraw();
});
addEventListener("afterprint", () => {
  document.documentElement.style.colorScheme = Theme.scheme();
  Player.redraw();
});

/** The player opens once the first view is painted: its case is unpacked only then. */
requestAnimationFrame(() => setTimeout(() => {
  if (Links.follow() || !DATA.opens) return;
  Player.go({ id: DATA.opens.case, ...DATA.opens }, { quiet: true });
}));
if (DATA.omissions && $("omissions")) {
  $("omissions").textContent = DATA.omissions;
  $("omissions").hidden = false;
}
