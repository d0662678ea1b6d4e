// The picture of one frame with the lines of every rung on it: drawing, zooming, panning.
// Pixel centres have whole coordinates, so the picture begins at -0.5.

const Picture = (() => {
  const svg = $("picture");
  if (!svg) return { draw() {}, highlight() {} };
  let whole = [0, 0, 1, 1];
  let box = whole;
  let drag = null;

  function setBox(next) {
    const [, , width, height] = whole;
    const w = Math.min(next[2], width), h = Math.min(next[3], height);
    box = [Math.max(0, Math.min(next[0], width - w)), Math.max(0, Math.min(next[1], height - h)), w, h];
    svg.setAttribute("viewBox", box.join(" "));
    svg.classList.toggle("zoomed", w < width);
  }

  function zoom(factor, u = box[0] + box[2] / 2, v = box[1] + box[3] / 2) {
    const w = Math.max(whole[2] / 16, Math.min(whole[2], box[2] / factor));
    const k = w / box[2];
    setBox([u - (u - box[0]) * k, v - (v - box[1]) * k, w, box[3] * k]);
  }

  /** Picture coordinates of a pointer event. */
  function at(event) {
    const area = svg.getBoundingClientRect();
    return [box[0] + (event.clientX - area.left) / area.width * box[2], box[1] + (event.clientY - area.top) / area.height * box[3]];
  }

  function points(line) {
    const u = line.u ? unpack(line.u) : DATA.kind === "image" ? unpack(line.x) : [];
    const v = line.u ? unpack(line.v) : DATA.kind === "image" ? unpack(line.y) : [];
    return u.map((value, i) => `${value.toFixed(1)},${v[i].toFixed(1)}`);
  }

  /** Draws a frame; `visible(rung)` says which rungs to show. The zoom is kept where the size stays the same. */
  function draw(frame, visible) {
    const picture = frame.picture;
    const bare = !picture;
    const size = picture ? [picture.width, picture.height] : DATA.kind === "image" && DATA.size[0] ? DATA.size : null;
    svg.closest("figure").hidden = !size && !frame.note;
    svg.closest(".views").classList.toggle("unpictured", !size);
    svg.style.display = size ? "block" : "none";
    document.querySelector(".picture .zoom").hidden = !size;
    $("picture-note").textContent = note(frame);
    svg.replaceChildren();
    if (!size) return;
    svg.classList.toggle("bare", bare);
    if (whole[2] !== size[0] || whole[3] !== size[1]) {
      whole = [0, 0, size[0], size[1]];
      setBox(whole);
    }
    if (picture) svg.append(make("image", { href: picture.src, x: -0.5, y: -0.5, width: size[0], height: size[1] }));
    const order = [...frame.lines].sort((a, b) => depth(a, frame) - depth(b, frame));
    for (const line of order) if (visible(line.rung)) svg.append(shape(line));
    const spot = visible(frame.rung) ? worstSpot(frame) : null;
    if (spot) svg.append(make("circle", { class: "spot", cx: spot[0], cy: spot[1], r: size[0] / 42 }, make("title", {}, "largest difference from the reference")));
  }

  /** Pixel where the frame's own line departs most from the reference inside its band (from its chord, for bends). */
  function worstSpot(frame) {
    const edge = DATA.edges[frame.band];
    let best = null;
    for (const line of frame.lines) {
      if (line.rung !== frame.rung || line.track !== frame.track || !line.o || !edge) continue;
      const offset = unpack(line.o);
      const inside = offset.map((d, i) => ({ d, at: line.from + (line.to - line.from) * i / (offset.length - 1) }))
        .filter(({ at }) => at >= Math.min(...edge) && at <= Math.max(...edge));
      if (inside.length < 3) continue;
      const [first, last] = [inside[0], inside[inside.length - 1]];
      const slope = frame.kind.endsWith("bend") ? (last.d - first.d) / (last.at - first.at) : 0;
      const base = frame.kind.endsWith("bend") ? first.d : 0;
      for (const { d, at } of inside) {
        const size = Math.abs(d - base - slope * (at - first.at));
        if (!best || size > best.size) best = { size, at, line };
      }
    }
    return best && pixelAt(best.line, best.at);
  }

  /** Pixel of a line at a station; points too near for the camera are missing among the pixels. */
  function pixelAt(line, station) {
    const along = unpack(DATA.kind === "vehicle" ? line.x : line.y);
    const u = unpack(line.u ?? line.x), v = unpack(line.v ?? line.y);
    if (DATA.kind === "vehicle" && (!line.u || along[0] > along[along.length - 1])) return null;
    const skipped = along.length - u.length;
    let nearest = 0;
    for (const i of along.keys()) if (Math.abs(along[i] - station) < Math.abs(along[nearest] - station)) nearest = i;
    return nearest < skipped ? null : [u[nearest - skipped], v[nearest - skipped]];
  }

  /** The reference lies on top of the others, under the rung that the frame is about. */
  function depth(line, frame) {
    return line.rung === frame.rung ? 2 : line.rung === DATA.reference ? 1 : 0;
  }

  function shape(line) {
    const rung = DATA.rungs[line.rung];
    const reference = line.rung === DATA.reference;
    const tag = line.closed ? "polygon" : "polyline";
    const path = points(line).join(" ");
    return make("g", { "data-rung": line.rung },
      make("title", {}, describe(line, rung)),
      make(tag, { class: reference ? "casing reference" : "casing", points: path, fill: "none" }),
      make(tag, {
        class: reference ? "line reference" : "line", points: path, fill: "none",
        stroke: reference ? null : rung.colour, "stroke-dasharray": rung.stroke || null, "vector-effect": "non-scaling-stroke",
      }));
  }

  function describe(line, rung) {
    const parts = [rung.name];
    if (line.track !== null) parts.push(`line ${line.track}`);
    if (line.score !== null) parts.push(`score ${line.score.toFixed(2)}`);
    return parts.join(", ");
  }

  function note(frame) {
    const parts = [];
    if (frame.note) parts.push(frame.note);
    if (frame.picture) parts.push(`camera ${frame.picture.camera}, ${frame.picture.width} × ${frame.picture.height} px` + (frame.picture.lossy ? ", from a lossy recording" : ""));
    return parts.join(" · ");
  }

  /** Dims every line but those of one rung; null shows all again. */
  function highlight(rung) {
    for (const group of svg.querySelectorAll("g[data-rung]")) {
      group.classList.toggle("dim", rung !== null && Number(group.dataset.rung) !== rung);
    }
  }

  $("zoom-in").addEventListener("click", () => zoom(1.6));
  $("zoom-out").addEventListener("click", () => zoom(1 / 1.6));
  $("zoom-reset").addEventListener("click", () => setBox(whole));
  svg.addEventListener("dblclick", (e) => zoom(2, ...at(e)));
  svg.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    zoom(e.deltaY < 0 ? 1.25 : 0.8, ...at(e));
  }, { passive: false });
  svg.addEventListener("pointerdown", (e) => {
    if (box[2] >= whole[2]) return;
    drag = { from: at(e), id: e.pointerId };
    svg.setPointerCapture(e.pointerId);
  });
  svg.addEventListener("pointermove", (e) => {
    if (!drag) return;
    const [u, v] = at(e);
    setBox([box[0] + drag.from[0] - u, box[1] + drag.from[1] - v, box[2], box[3]]);
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { drag = null; });

  return { draw, highlight };
})();
