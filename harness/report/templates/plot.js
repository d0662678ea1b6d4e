// Small plots of our own: axes, traces, marks, a cursor; inline SVG that scales with its place.

const Plot = (() => {
  const SIZE = { left: 54, right: 10, top: 25, bottom: 22 };

  /** Round numbers between two ends, about as many as wanted and never fewer than two: one is no scale. */
  function ticks(low, high, most) {
    const raw = (high - low) / most || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = power * [1, 2, 5, 10].find((k) => k * power >= raw);
    const found = [];
    for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step) found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
    if (found.length < 2 && high > low) return ticks(low, high, 2 * most);
    return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  /**
   * Draws into a place. what: {title, unit, x: {from, to, label, text(v)}, y: {from, to}, traces: [{rung, points}],
   * spans: [{from, to, at, title, current, pick}], lines: [{y, title}], cursor, seek(x), overlay: [{kind, points}]}
   */
  function draw(place, what) {
    const width = Math.max(place.clientWidth, 200), height = Math.max(place.clientHeight, 60);
    const [w, h] = [width - SIZE.left - SIZE.right, height - SIZE.top - SIZE.bottom];
    const X = (v) => SIZE.left + (v - what.x.from) / (what.x.to - what.x.from || 1) * w;
    const Y = (v) => SIZE.top + h - (v - what.y.from) / (what.y.to - what.y.from || 1) * h;
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    const inside = make("g");
    svg.append(...axes(what, X, Y, w, h), inside);
    for (const span of what.spans ?? []) inside.append(spanShape(span, X, h));
    for (const line of what.lines ?? []) {
      inside.append(make("line", { class: "limit", x1: SIZE.left, x2: SIZE.left + w, y1: Y(line.y), y2: Y(line.y) }, make("title", {}, line.title)));
    }
    for (const trace of what.traces) inside.append(...traceShapes(trace, X, Y));
    for (const { kind, points } of what.overlay ?? []) {
      inside.append(make("polyline", { class: `over-${kind}`, points: points.map(([x, y]) => `${X(x).toFixed(1)},${Y(y).toFixed(1)}`).join(" ") }));
    }
    if (what.cursor !== undefined) inside.append(make("line", { class: "cursor", x1: X(what.cursor), x2: X(what.cursor), y1: SIZE.top, y2: SIZE.top + h }));
    place.replaceChildren(svg);
    if (what.seek) seeking(svg, (e) => what.x.from + (e.clientX - svg.getBoundingClientRect().left - SIZE.left) / w * (what.x.to - what.x.from), what.seek);
    return { X, Y, svg };
  }

  function axes(what, X, Y, w, h) {
    const shapes = [make("text", { class: "title", x: SIZE.left, y: 13 }, what.title)];
    const ys = ticks(what.y.from, what.y.to, Math.max(2, Math.floor(h / 34)));
    for (const v of ys.values) {
      shapes.push(make("line", { class: v === 0 ? "zero" : "grid", x1: SIZE.left, x2: SIZE.left + w, y1: Y(v), y2: Y(v) }),
        make("text", { class: "tick", x: SIZE.left - 6, y: Y(v) + 4, "text-anchor": "end" }, signed(v, ys.digits)));
    }
    const xs = ticks(Math.min(what.x.from, what.x.to), Math.max(what.x.from, what.x.to), Math.max(2, Math.floor(w / 90)));
    for (const v of xs.values) {
      shapes.push(make("line", { class: "grid", x1: X(v), x2: X(v), y1: SIZE.top, y2: SIZE.top + h }),
        make("text", { class: "tick", x: X(v), y: SIZE.top + h + 15, "text-anchor": "middle" }, what.x.text ? what.x.text(v) : signed(v, xs.digits)));
    }
    return shapes;
  }

  function spanShape(span, X, h) {
    const from = X(span.from) - 1, width = Math.max(3, X(span.to) - X(span.from) + 2);
    const shape = make("g", { class: `span${span.current ? " current" : ""}`, "data-finding": span.finding },
      make("title", {}, span.title),
      make("rect", { x: from, y: SIZE.top, width, height: h }),
      make("path", { d: `M${X(span.at) - 5} ${SIZE.top - 9}h10l-5 9z` }));
    shape.addEventListener("pointerdown", (e) => { e.stopPropagation(); span.pick(); });
    return shape;
  }

  /** One polyline for each stretch without a hole. */
  function traceShapes(trace, X, Y) {
    const runs = [[]];
    for (const [x, y] of trace.points) {
      if (y === null) { if (runs.at(-1).length) runs.push([]); } else runs.at(-1).push(`${X(x).toFixed(1)},${Y(y).toFixed(1)}`);
    }
    const rung = DATA.rungs[trace.rung];
    return runs.filter((run) => run.length).map((run) => make("polyline", {
      class: `trace${trace.strong ? " strong" : ""}`, "data-rung": trace.rung, points: run.length > 1 ? run.join(" ") : `${run[0]} ${run[0]}`,
      stroke: rung.colour === "ink" ? "currentColor" : rung.colour, "stroke-dasharray": rung.stroke || null,
    }));
  }

  function seeking(svg, at, seek) {
    svg.addEventListener("pointerdown", (e) => { svg.setPointerCapture(e.pointerId); seek(at(e)); });
    svg.addEventListener("pointermove", (e) => { if (e.buttons & 1) seek(at(e)); });
  }

  /** The ends of an axis that holds all values, with a little air, and at least so wide. */
  function range(values, least) {
    let low = 0, high = 0;
    for (const v of values) if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
    const air = Math.max(high - low, least) * 0.08;
    return { from: low < 0 ? low - air : low, to: Math.max(high + air, low + least) };
  }

  return { draw, range };
})();
