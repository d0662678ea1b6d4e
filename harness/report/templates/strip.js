// The network as a strip of nodes from input to outputs: how far each alone moves the lines, and how the error grows.

const Strip = (() => {
  const place = $("strip");
  if (!place || !DATA.layers) return { redraw() {} };
  const { nodes, order, unit, columns } = DATA.layers;
  const SIDE = 70, LEAST = 5, MOVES = 84, CELLS = 20, GROWS = 120, GAP = 24;
  const most = Math.max(...nodes.map((n) => n.cost), 0) || 1;
  const errors = nodes.flatMap((n) => [n.cumulative, n.injected]).filter((v) => v > 0);
  const ends = errors.length ? [Math.floor(Math.log10(Math.min(...errors))), Math.ceil(Math.log10(Math.max(...errors)))] : [-8, 0];
  if (ends[0] === ends[1]) ends[1] += 1;
  const [low, high] = [Math.max(ends[0], ends[1] - 9), ends[1]];
  let chosen = order[0] ?? 0;

  const shade = (n) => Math.sqrt(n.cost / most);
  const empty = (n) => n.reason.startsWith("not");

  function redraw() {
    const width = Math.max(place.clientWidth - 18 || 640, SIDE + 10 + nodes.length * LEAST);
    const step = (width - SIDE - 10) / nodes.length;
    const X = (i) => SIDE + i * step;
    const cells = GAP + MOVES + 6, top = cells + CELLS + GAP;
    const E = (v) => top + GROWS - (Math.min(Math.max(Math.log10(v), low), high) - low) / (high - low) * GROWS;
    const svg = make("svg", { width, height: top + GROWS + 8, viewBox: `0 0 ${width} ${top + GROWS + 8}`, "aria-hidden": "true" });
    svg.append(...scales(width, cells, top, E));
    nodes.forEach((n, i) => svg.append(...shapes(n, X(i), step, cells, E)));
    svg.append(...grown(X, step, E), ...here(X, step, width, top));
    place.replaceChildren(svg);
    svg.addEventListener("click", (e) => choose(Math.floor((e.clientX - svg.getBoundingClientRect().left - SIDE) / step)));
  }

  function scales(width, cells, top, E) {
    const text = (x, y, words, kind = "tick", anchor = "end") => make("text", { class: kind, x, y, "text-anchor": anchor }, words);
    const found = [
      text(0, 12, `alone it moves the lines, ${unit}`, "title", "start"), text(SIDE - 6, GAP + 4, most.toPrecision(2)), text(SIDE - 6, GAP + MOVES + 4, "0"),
      make("line", { class: "zero", x1: SIDE, x2: width - 10, y1: GAP + MOVES, y2: GAP + MOVES }), text(SIDE - 6, cells + 14, "nodes"),
      text(0, top - 10, "relative error of its tensor", "title", "start"),
    ];
    for (let p = low; p <= high; p += Math.max(1, Math.ceil((high - low) / 5))) {
      found.push(make("line", { class: "grid", x1: SIDE, x2: width - 10, y1: E(10 ** p), y2: E(10 ** p) }), text(SIDE - 6, E(10 ** p) + 4, `1e${p}`));
    }
    return found;
  }

  function shapes(n, x, step, cells, E) {
    const wide = Math.max(step - (step > 7 ? 1 : 0.4), 1), tall = Math.max(n.cost / most * MOVES, n.cost > 0 ? 1 : 0);
    const found = [make("rect", { class: `cell${empty(n) ? " empty" : ""}`, x, y: cells, width: wide, height: CELLS, style: `--shade:${shade(n).toFixed(3)}` })];
    if (tall) found.push(make("rect", { class: "moves", x, y: GAP + MOVES - tall, width: wide, height: tall }));
    if (n.injected > 0) found.push(make("circle", { class: "adds", cx: x + step / 2, cy: E(n.injected), r: Math.min(2.6, step / 2) }));
    if (n.bad) found.push(make("text", { class: "bad", x: x + step / 2, y: cells + CELLS - 5, "text-anchor": "middle" }, "✕"));
    return found;
  }

  /** The error that has come together, node by node; broken where it is zero, at the top where it is not finite. */
  function grown(X, step, E) {
    const runs = [[]];
    nodes.forEach((n, i) => {
      const y = n.cumulative === null ? E(10 ** high) : n.cumulative > 0 ? E(n.cumulative) : null;
      if (y === null) { if (runs.at(-1).length) runs.push([]); } else runs.at(-1).push(`${(X(i) + step / 2).toFixed(1)},${y.toFixed(1)}`);
    });
    return runs.filter((r) => r.length).map((r) => make("polyline", { class: "grows", points: r.length > 1 ? r.join(" ") : `${r[0]} ${r[0]}` }));
  }

  function here(X, step, width, top) {
    const x = X(chosen) + step / 2, right = x > width / 2;
    return [
      make("line", { class: "cursor", x1: x, x2: x, y1: GAP - 4, y2: top + GROWS }),
      make("text", { class: "title", x: x + (right ? -7 : 7), y: GAP + 6, "text-anchor": right ? "end" : "start" }, nodes[chosen].cells[1]),
    ];
  }

  function choose(i) {
    chosen = Math.max(0, Math.min(nodes.length - 1, i));
    redraw();
    tell();
  }

  function tell() {
    const n = nodes[chosen];
    $("node-title").textContent = `#${n.cells[0]} ${n.cells[1]} (${n.cells[2]}): ${n.reason}`;
    const words = { lines: `lines, ${unit} RMS`, max: `lines, ${unit} at most`, changed: "lines missing or extra", "x in": "out per in", room: "room to overflow" };
    const told = columns.map((c, k) => [words[c] ?? c, n.cells[k]]).slice(4).filter(([, v]) => v !== "");
    if (n.nodes.length) told.push(["nodes of the file", n.nodes.join(", ")]);
    if (n.modules.length) told.push(["modules", n.modules.join(", ")]);
    if (n.bad) told.push(["values not finite", n.bad]);
    told.push(...Object.entries(n.outputs).map(([name, v]) => [`output ${name}, relative`, v === null ? "not finite" : String(Number(v.toPrecision(3)))]));
    $("node-numbers").replaceChildren(...told.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))));
    for (const row of document.querySelectorAll("#layers [data-node]")) row.classList.toggle("chosen", Number(row.dataset.node) === chosen);
  }

  place.addEventListener("keydown", (e) => {
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(e.key in moves)) return;
    choose(chosen + moves[e.key] * (e.shiftKey ? 10 : 1));
    const at = SIDE + chosen / nodes.length * (place.scrollWidth - SIDE);
    if (at < place.scrollLeft || at > place.scrollLeft + place.clientWidth) place.scrollLeft = at - place.clientWidth / 2;
    e.preventDefault();
    e.stopPropagation();
  });
  for (const row of document.querySelectorAll("#layers [data-node]")) row.addEventListener("click", () => choose(Number(row.dataset.node)));
  let pending = 0;
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });
  choose(chosen);
  return { redraw, choose, chosen: () => chosen };
})();
