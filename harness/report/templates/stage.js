// The picture of one frame with its lines, and the same lines from above; both on canvas, in the colours of the rungs.
// A picture and the lines of its own frame are drawn together or not at all.

/** A canvas that shows a box of its world, zooms and pans; `paint(context, box, scale)` draws in world coordinates. */
function stage(canvas, { aspect, flip = false, repaint }) {
  let whole = [0, 0, 1, 1], box = whole, drag = null;

  function setWhole(next, keep) {
    const same = keep && next.every((v, i) => v === whole[i]);
    whole = next;
    if (!same) box = whole;
  }

  /** Shows a box, moved and cut so that it lies within another. */
  function setBox(next, within = whole) {
    const w = Math.min(next[2], within[2]), h = Math.min(next[3], within[3]);
    box = [
      Math.max(within[0], Math.min(next[0], within[0] + within[2] - w)),
      Math.max(within[1], Math.min(next[1], within[1] + within[3] - h)), w, h,
    ];
    repaint();
  }

  function zoom(factor, u = box[0] + box[2] / 2, v = box[1] + box[3] / 2) {
    const w = Math.max(whole[2] / 24, Math.min(whole[2], box[2] / factor)), k = w / box[2];
    setBox([u - (u - box[0]) * k, v - (v - box[1]) * k, w, box[3] * k]);
  }

  /** Zooms to a box of the world, which may lie outside the whole; kept in the canvas's shape where that matters. */
  function zoomTo([left, low, right, high]) {
    let w = Math.max(right - left, whole[2] / 24), h = Math.max(high - low, whole[3] / 24);
    if (aspect) [w, h] = [Math.max(w, h * whole[2] / whole[3]), Math.max(h, w * whole[3] / whole[2])];
    const next = [(left + right) / 2 - w / 2, (low + high) / 2 - h / 2, w, h];
    const outside = right < whole[0] || left > whole[0] + whole[2] || high < whole[1] || low > whole[1] + whole[3];
    setBox(next, outside ? next : whole);
  }

  /** Pixels of the canvas for a point of the world, and back. */
  const across = (u) => (u - box[0]) / box[2] * canvas.width;
  const down = (v) => (flip ? 1 - (v - box[1]) / box[3] : (v - box[1]) / box[3]) * canvas.height;
  function at(event) {
    const area = canvas.getBoundingClientRect();
    const y = (event.clientY - area.top) / area.height;
    return [box[0] + (event.clientX - area.left) / area.width * box[2], box[1] + (flip ? 1 - y : y) * box[3]];
  }

  /** Sizes the canvas to its place; clears it. */
  function begin() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = canvas.clientWidth || 1;
    const height = aspect ? width * whole[3] / whole[2] : canvas.clientHeight || 1;
    if (aspect) canvas.style.aspectRatio = `${whole[2]} / ${whole[3]}`;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.classList.toggle("zoomed", box[2] < whole[2]);
    return { context: canvas.getContext("2d"), ratio };
  }

  canvas.addEventListener("dblclick", (e) => zoom(2, ...at(e)));
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(e.deltaY < 0 ? 1.25 : 0.8, ...at(e));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (e) => {
    if (box[2] >= whole[2]) return;
    drag = at(e);
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (!drag) return;
    const [u, v] = at(e);
    setBox([box[0] + drag[0] - u, box[1] + drag[1] - v, box[2], box[3]]);
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { drag = null; });
  return { setWhole, zoom, zoomTo, reset: () => setBox(whole), begin, across, down, box: () => box, whole: () => whole };
}

/** Strokes shared by both views. */
const Strokes = (() => {
  function path(context, points, closed) {
    context.beginPath();
    points.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (closed) context.closePath();
  }

  function line(context, points, { stroke, casing, width, dash, closed, dim }) {
    if (points.length < 2) return;
    context.save();
    context.lineJoin = context.lineCap = "round";
    context.globalAlpha = dim ? 0.15 : 1;
    path(context, points, closed);
    if (casing) {
      context.strokeStyle = casing;
      context.lineWidth = width * 1.9;
      context.stroke();
    }
    context.setLineDash((dash ? dash.split(" ").map(Number) : []).map((d) => d * width / 2.6));
    context.strokeStyle = stroke;
    context.lineWidth = width;
    context.stroke();
    context.restore();
  }

  /** The strokes of a finding and its number in a box, where that hides least of the lines `about` it. */
  function mark(context, ratio, strokes, label, size, about = []) {
    const bad = colour("mark"), paper = colour("on-mark");
    for (const { kind, points } of strokes) {
      if (points.length < 2) continue;
      if (kind === "line") line(context, points, { stroke: bad, casing: paper, width: 1.6 * ratio, dash: "2 5" });
      if (kind === "chord") line(context, points, { stroke: paper, casing: bad, width: 2 * ratio, dash: "7 5" });
      if (kind === "gap") {
        line(context, points, { stroke: bad, casing: paper, width: 3.4 * ratio });
        for (const [x, y] of [points[0], points.at(-1)]) disc(context, x, y, 4 * ratio, bad, paper);
      }
    }
    if (!label) return;
    const [x, y] = label.at;
    context.font = `650 ${13 * ratio}px ui-sans-serif, system-ui, sans-serif`;
    const width = context.measureText(label.text).width + 14 * ratio, height = 22 * ratio;
    const corners = [-10 * ratio - height, 10 * ratio, -36 * ratio - height, 36 * ratio].flatMap((v) => [12 * ratio, -12 * ratio - width].map((u) => [
      Math.max(4, Math.min(size[0] - width - 4, x + u)), Math.max(4, Math.min(size[1] - height - 4, y + v)),
    ]));
    const points = about.flatMap(filled);
    const hidden = ([l, t]) => points.filter(([a, b]) => a >= l && a <= l + width && b >= t && b <= t + height).length;
    const [left, top] = corners.reduce((best, next) => (hidden(next) < hidden(best) ? next : best));
    context.fillStyle = bad;
    context.strokeStyle = paper;
    context.lineWidth = 1.5 * ratio;
    context.beginPath();
    context.roundRect(left, top, width, height, 5 * ratio);
    context.fill();
    context.stroke();
    context.fillStyle = paper;
    context.textBaseline = "middle";
    context.fillText(label.text, left + 7 * ratio, top + height / 2 + ratio / 2);
  }

  /** Points of a line with others between them, so that none of its pieces is passed over. */
  function filled(line) {
    return line.flatMap(([x, y], i) => {
      const [a, b] = line[Math.min(i + 1, line.length - 1)];
      return [0, 1, 2, 3, 4, 5].map((k) => [x + k / 6 * (a - x), y + k / 6 * (b - y)]);
    });
  }

  function disc(context, x, y, radius, fill, edge) {
    context.beginPath();
    context.arc(x, y, radius, 0, 7);
    context.fillStyle = fill;
    context.strokeStyle = edge;
    context.lineWidth = radius / 3;
    context.fill();
    context.stroke();
  }

  return { line, mark };
})();

/** What both views draw of a frame: lines of the shown rungs, magnified, below to above; and the finding's strokes. */
function drawn(scene) {
  const own = scene.clip.lines(scene.at);
  const reference = new Map(own.filter((l) => l.rung === DATA.reference && l.track !== null).map((l) => [l.track, l]));
  const depth = (l) => (l.rung === scene.rung ? 2 : l.rung === DATA.reference ? 1 : 0);
  const lines = own.filter((l) => scene.visible(l.rung)).sort((a, b) => depth(a) - depth(b)).map((l) => ({
    ...l, shown: l.rung === DATA.reference ? l : magnified(l, reference.get(l.track), scene.times),
  }));
  const finding = scene.finding;
  const marked = finding && finding.case === scene.clip.id && String(finding.frame) === String(scene.clip.frames[scene.at]);
  const strokes = !marked ? [] : finding.mark.strokes.map(([kind, points]) => ({
    kind, ...magnified({ x: points.map((p) => p[0]), y: points.map((p) => p[1]) }, reference.get(finding.track), scene.times),
  }));
  const at = marked && finding.mark.at
    ? magnified({ x: [finding.mark.at[0]], y: [finding.mark.at[1]] }, reference.get(finding.track), scene.times) : null;
  return { lines, truth: scene.visible("truth") ? scene.clip.truth(scene.at) : [], strokes, at, text: marked ? finding.badge : "" };
}

function styleOf(line, scene, ratio, onPicture) {
  const rung = DATA.rungs[line.rung];
  const reference = line.rung === DATA.reference;
  const casing = !onPicture ? null : reference ? colour("reference-casing") : "rgba(0, 0, 0, .6)";
  return {
    stroke: reference && onPicture ? colour("reference-line") : rungColour(rung), casing, dash: rung.stroke, closed: line.closed,
    width: (line.rung === scene.rung ? 3 : 2.2) * ratio, dim: scene.dim !== null && scene.dim !== line.rung,
  };
}

const Camera = (() => {
  const canvas = $("picture");
  if (!canvas) return { draw: async () => {}, view: null };
  let scene = null, token = 0;
  const view = stage(canvas, { aspect: true, repaint: () => scene && paint(scene) });

  /** Draws a frame when its own picture is there; a later call wins. Resolves once it is drawn, or overtaken. */
  async function draw(next) {
    const mine = ++token;
    const image = await next.clip.picture(next.at);
    if (mine !== token) return;
    scene = { ...next, image };
    const size = next.clip.size;
    const bare = DATA.kind === "image" && DATA.size[0] ? DATA.size : [16, 9];
    view.setWhole(size[0] ? [-0.5, -0.5, size[0], size[1]] : [-0.5, -0.5, ...bare], true);
    paint(scene);
  }

  function how(of) {
    if (of.clip.projection) return of.clip.projection;
    return DATA.kind === "image" ? { scale: [1, 1], shift: [0, 0] } : null;
  }

  function paint(of) {
    const { context, ratio } = view.begin();
    const place = ([u, v]) => [view.across(u), view.down(v)];
    context.fillStyle = colour("panel");
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (of.image) {
      const [w, h] = of.clip.size;
      context.drawImage(of.image, ...place([-0.5, -0.5]), view.across(w - 0.5) - view.across(-0.5), view.down(h - 0.5) - view.down(-0.5));
    }
    const projection = how(of), all = drawn(of);
    if (projection) {
      for (const line of all.truth) {
        const way = of.clip.truthProjection;
        if (way) Strokes.line(context, toPixels(way, line.x, line.y).map(place), { stroke: colour("truth"), casing: "rgba(0, 0, 0, .5)", width: 2 * ratio, dash: "2 4", closed: line.closed });
      }
      const own = all.lines.map((line) => toPixels(projection, line.shown.x, line.shown.y).map(place));
      all.lines.forEach((line, i) => Strokes.line(context, own[i], styleOf(line, of, ratio, Boolean(of.image))));
      const strokes = all.strokes.map((s) => ({ kind: s.kind, points: toPixels(projection, s.x, s.y).map(place) }));
      const at = all.at && toPixels(projection, all.at.x, all.at.y)[0];
      Strokes.mark(context, ratio, strokes, at ? { at: place(at), text: all.text } : null, [canvas.width, canvas.height], own);
    }
    $("picture-note").textContent = note(of);
    canvas.dataset.frame = of.clip.frames[of.at];
    canvas.dataset.pictured = Boolean(of.image);
  }

  /** Where what a finding measures lies, if no point of it is on the picture. */
  function unseen(of) {
    const strokes = drawn(of).strokes, projection = how(of), size = of.clip.size;
    if (!strokes.length || !projection || !size[0]) return "";
    const gaps = strokes.filter((s) => s.kind === "gap");
    const points = (gaps.length ? gaps : strokes).flatMap((s) => toPixels(projection, s.x, s.y));
    if (!points.length) return "what is measured lies behind the camera";
    const [l, t, r, b] = around(points, 0);
    const sides = [r < 0 ? "left" : l > size[0] - 1 ? "right" : "", b < 0 ? "above" : t > size[1] - 1 ? "below" : ""].filter(Boolean);
    return sides.length ? `what is measured lies outside the picture (${sides.join(" and ")}): zoom to the error shows it` : "";
  }

  function note(of) {
    const parts = [of.clip.note, unseen(of)];
    if (!of.image && !of.clip.note) parts.push("the picture of this frame is not in this file; its lines are");
    if (of.image) parts.push(`camera ${of.clip.camera}, ${of.clip.size[0]} × ${of.clip.size[1]} px${of.clip.lossy ? ", from a lossy recording" : ""}`);
    if (of.times > 1) parts.push(`differences from ${DATA.rungs[DATA.reference]?.name} × ${of.times}`);
    return parts.filter(Boolean).join(" · ");
  }

  /** Zooms to the strokes of a finding. */
  function zoomToMark(of) {
    const projection = how(of);
    const points = projection ? drawn(of).strokes.flatMap((s) => toPixels(projection, s.x, s.y)) : [];
    if (points.length) view.zoomTo(around(points, 0.5));
  }

  return { draw, view, zoomToMark, redraw: () => scene && paint(scene) };
})();

/** Left, low, right, high end of points, with so much of their size around. */
function around(points, air) {
  const [u, v] = [points.map((p) => p[0]), points.map((p) => p[1])];
  const [l, r, b, t] = [Math.min(...u), Math.max(...u), Math.min(...v), Math.max(...v)];
  const x = Math.max(r - l, 1e-3) * air, y = Math.max(t - b, 1e-3) * air;
  return [l - x, b - y, r + x, t + y];
}

/** From above: left is left, ahead is up; metres, not to one scale. */
const Above = (() => {
  const canvas = $("above");
  if (!canvas) return { draw() {}, view: null };
  let scene = null;
  const view = stage(canvas, { aspect: false, flip: true, repaint: () => scene && paint(scene) });
  const world = (x, y) => Array.from(x, (value, i) => [-y[i], value]);

  function draw(next) {
    scene = next;
    const all = drawn({ ...next, times: 1 });
    let wide = 4, far = Math.max(...Object.values(DATA.edges).flat());
    for (const line of all.lines) for (const v of line.y) wide = Math.max(wide, Math.abs(v));
    for (const line of all.lines) for (const v of line.x) far = Math.max(far, v);
    wide = Math.ceil(wide / 4) * 4;
    view.setWhole([-wide, 0, 2 * wide, Math.ceil(far / 10) * 10], true);
    paint(next);
  }

  function paint(of) {
    const { context, ratio } = view.begin();
    const place = ([u, v]) => [view.across(u), view.down(v)];
    grid(context, ratio);
    const all = drawn(of);
    for (const line of all.truth) Strokes.line(context, world(line.x, line.y).map(place), { stroke: colour("truth"), width: 2 * ratio, dash: "2 4" });
    const own = all.lines.map((line) => world(line.shown.x, line.shown.y).map(place));
    all.lines.forEach((line, i) => Strokes.line(context, own[i], styleOf(line, of, ratio, false)));
    const strokes = all.strokes.map((s) => ({ kind: s.kind, points: world(s.x, s.y).map(place) }));
    const at = all.at && world(all.at.x, all.at.y)[0];
    Strokes.mark(context, ratio, strokes, at ? { at: place(at), text: all.text } : null, [canvas.width, canvas.height], own);
  }

  function grid(context, ratio) {
    const [left, low, w, h] = view.box();
    context.fillStyle = colour("panel");
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.font = `${11 * ratio}px ui-sans-serif, system-ui, sans-serif`;
    context.lineWidth = ratio;
    const step = [1, 2, 5, 10, 20, 50].find((s) => h / s <= 9) ?? 100;
    context.strokeStyle = colour("rule");
    context.fillStyle = colour("muted");
    for (let x = Math.ceil(low / step) * step; x <= low + h; x += step) {
      const y = view.down(x);
      context.beginPath();
      context.moveTo(0, y);
      context.lineTo(canvas.width, y);
      context.stroke();
      if (y < canvas.height - 16 * ratio) context.fillText(`${x} m`, 4 * ratio, y - 3 * ratio);
    }
    const across = [0.05, 0.1, 0.2, 0.5, 1, 2, 4].find((s) => w / s <= 8) ?? 8;
    for (let u = Math.ceil(left / across) * across; u <= left + w; u += across) {
      const text = signed(-u, across < 0.1 ? 2 : across < 1 ? 1 : 0), at = view.across(u) - context.measureText(text).width / 2;
      if (at > 2 * ratio && at < canvas.width - 22 * ratio) context.fillText(text, at, canvas.height - 4 * ratio);
    }
  }

  function zoomToMark(of) {
    const points = drawn(of).strokes.flatMap((s) => world(s.x, s.y));
    if (points.length) view.zoomTo(around(points, 0.35));
  }

  return { draw, view, zoomToMark };
})();
