// Plots beside the player: the offset along one line at this frame, four measures over time, and the way of a finding.

const Charts = (() => {
  const TITLES = { offset: "mean offset", bend: "bend", swing: "swing: offset at the look-ahead, low-passed", jitter: "jitter: size of the second difference" };
  // what the event of a plot is measured over; a point by itself is none, so that its threshold is no line of the plot
  const OF_A_STRETCH = { swing: "a width", jitter: "a sigma in the worst 2 s" };
  const OF = {
    bend: "bend", bend_rms: "bend", kink: "bend", curvature_gap: "bend", swing: "swing", sway_rms: "swing", jitter: "jitter",
    tremble: "jitter", glitch: "jitter", step: "jitter",
  };

  /** Offset along the line at this frame, over the whole line. */
  function along(scene, track) {
    const place = $("along");
    const lines = scene.clip.lines(scene.at).filter((l) => l.track === track && !l.closed);
    const reference = lines.find((l) => l.rung === DATA.reference);
    const traces = !reference ? [] : lines.filter((l) => l.rung !== DATA.reference && scene.visible(l.rung)).map((l) => {
      const [s, d] = stations(l);
      const points = Array.from(s, (v, i) => { const base = lateralAt(reference, v); return [v, base === null ? null : d[i] - base]; });
      return { rung: l.rung, points, strong: l.rung === scene.rung };
    });
    const ends = Object.values(DATA.edges).flat();
    const x = DATA.kind === "vehicle" ? { from: 0, to: Math.max(...ends) } : { from: Math.max(...ends), to: Math.min(...ends) };
    const over = overlay(scene, reference, track);
    const values = [...traces, ...over].flatMap((t) => t.points.map((p) => p[1]));
    const title = `offset along line ${track ?? "–"} at this frame, ${DATA.unit}, left positive`;
    Plot.draw(place, { title, x, y: Plot.range(values, DATA.unit === "px" ? 1 : 0.05), traces, overlay: over });
  }

  /** Chord and height of the finding that is shown, as offsets. */
  function overlay(scene, reference, track) {
    const f = scene.finding;
    if (!f || !reference || f.track !== track || f.case !== scene.clip.id || String(f.frame) !== String(scene.clip.frames[scene.at])) return [];
    return f.mark.strokes.filter(([kind]) => kind !== "line").map(([kind, points]) => {
      const [s, d] = stations({ x: points.map((p) => p[0]), y: points.map((p) => p[1]) });
      return { kind, points: s.map((v, i) => [v, d[i] - (lateralAt(reference, v) ?? d[i])]) };
    });
  }

  /** Four measures of one line and band over time, with the findings of the case marked; a click goes to the frame. */
  function time(scene, track, band, { seek, pick }) {
    const { clip } = scene;
    const steps = clip.head.steps;
    const length = clip.head.length;
    const here = clip.head.places[scene.at];
    const toKept = (place) => nearestIndex(clip.head.places, place);
    const own = DATA.findings.filter((f) => f.case === clip.id);
    for (const name of ["offset", "bend", "swing", "jitter"]) {
      const traces = [];
      clip.head.traces.forEach(([rung, t, b], i) => {
        if (t !== track || b !== band || !scene.visible(rung)) return;
        const values = clip.signal(i, name);
        if (values) traces.push({ rung, strong: rung === scene.rung, points: values.map((v, k) => [steps.length ? steps[k] : k, v]) });
      });
      const spans = own.filter((f) => (OF[f.kind] ?? "offset") === name).map((f) => ({
        finding: f.index, from: f.places[0], to: f.places[2], at: f.places[1], current: scene.finding?.index === f.index,
        title: `${f.badge}, ${f.rung_name}`, pick: () => pick(f.index),
      }));
      const limit = DATA.limits[name]?.[band];
      const values = traces.flatMap((t) => t.points.map((p) => p[1]));
      const y = Plot.range(limit ? [...values, 0] : values, DATA.unit === "px" ? 1 : 0.05);
      const sized = limit && OF_A_STRETCH[name] ? `; ${OF_A_STRETCH[name]} above ${limit} ${DATA.unit} is a finding` : "";
      const lines = limit && !sized ? (name === "offset" ? [limit, -limit] : [limit]).filter((v) => v < y.to && v > y.from)
        .map((v) => ({ y: v, title: `a finding beyond ${v} ${DATA.unit}` })) : [];
      Plot.draw($(`time-${name}`), {
        title: `${TITLES[name]}, ${DATA.unit}${sized}`, traces, spans, lines, y, x: { from: 0, to: Math.max(1, length - 1), text: (v) => secondsAt(clip, v) },
        cursor: here, seek: (place) => seek(toKept(place)),
      });
    }
  }

  function secondsAt(clip, place) {
    return clip.head.fps ? `${(place / clip.head.fps).toFixed(length > 400 ? 0 : 1)} s` : `${place}`;
  }

  function nearestIndex(places, wanted) {
    let best = 0;
    places.forEach((p, i) => { if (Math.abs(p - wanted) < Math.abs(places[best] - wanted)) best = i; });
    return best;
  }

  return { along, time };
})();

/** The ladder of one finding as a waterfall: its size on each rung of the way, and what each step adds. */
const Waterfall = (() => {
  const place = $("waterfall");
  let shown;

  function show(finding) {
    if (!place || finding === shown) return;
    shown = finding;
    const steps = finding?.steps ?? [];
    $("waterfall-note").textContent = !finding ? "Choose a finding to see how it grows from rung to rung."
      : steps.length ? `${finding.badge} in ${finding.case}: size on each rung of the way, and what each step adds.` : "This finding has no steps.";
    const known = steps.filter((s) => s.value !== null);
    const most = Math.max(...known.map((s) => Math.abs(s.value)), finding?.limit ?? 0, 1e-9);
    place.replaceChildren(...steps.map((s, i) => row(s, i ? steps[i - 1] : null, most, finding)));
  }

  function row(step, before, most, finding) {
    const from = before?.value ?? 0, to = step.value;
    const bar = make("span", { class: `fall${to !== null && to < from ? " less" : ""}${step.rung === finding.first ? " blamed" : ""}` });
    if (to !== null) {
      bar.style.setProperty("--from", Math.min(Math.abs(from), Math.abs(to)) / most);
      bar.style.setProperty("--to", Math.max(Math.abs(from), Math.abs(to)) / most);
      bar.style.setProperty("--limit", Math.min(finding.limit ?? 0, most) / most);
    }
    return make("tr", step.rung === finding.first ? { class: "blamed" } : {}, make("th", { scope: "row" }, step.rung, make("small", { class: "block" }, step.factors)),
      make("td", { class: "falls" }, bar), make("td", { class: "num" }, step.addedText), make("td", { class: "num" }, step.valueText), make("td", { class: "num" }, step.shareText));
  }

  return { show };
})();
