// What the reader plays: a case frame by frame, its rungs, its findings, and how large differences are drawn.

const Player = (() => {
  if (!$("player")) return { go: async () => {}, redraw() {} };
  const MANY = 6;
  const BANDS = ["near", "mid", "far"];
  const state = { clip: null, at: 0, finding: null, rungs: null, times: 1, track: null, band: null, timer: 0, speed: 1, dim: null };
  let settled = Promise.resolve();

  const rungOf = () => state.finding?.rung ?? state.rung ?? DATA.reference;

  /** Rungs shown until the reader chooses: all of a few, else the way from the reference to the rung that is meant. */
  function suited() {
    const own = DATA.rungs.length <= MANY ? [...DATA.rungs.keys()] : [DATA.reference, state.finding?.parent ?? DATA.reference, rungOf()];
    return new Set([...own, "truth"]);
  }

  const chosen = () => state.rungs ?? suited();

  function scene() {
    return {
      clip: state.clip, at: state.at, rung: rungOf(), times: state.times, finding: state.finding, dim: state.dim,
      visible: (rung) => chosen().has(rung),
    };
  }

  /** Opens a case at a frame; finding: position in DATA.findings, or null for none. */
  async function go({ id, frame, finding = null, rung = null, track = null, band = null }, { quiet = false } = {}) {
    stop();
    const clip = await Clips.open(id);
    state.clip = clip;
    state.id = id;
    state.finding = finding === null ? null : DATA.findings[finding];
    state.rung = rung ?? state.finding?.rung ?? null;
    state.track = track ?? state.finding?.track ?? null;
    state.band = band ?? state.finding?.band ?? null;
    $("no-clip").hidden = Boolean(clip);
    $("player").classList.toggle("empty", !clip);
    if (!clip) {
      $("no-clip").textContent = `The frames of ${id} are not in this file: it holds those of the worst findings first.`;
      return;
    }
    prepare();
    seek(nearest(frame ?? state.finding?.frame ?? clip.frames[0]), quiet);
    await settled;
  }

  /** The frame in the file nearest to a number. */
  function nearest(frame) {
    const exact = state.clip.place(frame);
    if (exact !== undefined) return exact;
    const wanted = Number(frame);
    let best = 0;
    state.clip.frames.forEach((f, i) => { if (Math.abs(Number(f) - wanted) < Math.abs(Number(state.clip.frames[best]) - wanted)) best = i; });
    return best;
  }

  function prepare() {
    const { clip } = state;
    $("slider").max = clip.frames.length - 1;
    $("clip-note").textContent = clip.head.told;
    const tracks = [...new Set(clip.head.traces.map((t) => t[1]))].sort((a, b) => a - b);
    const bands = BANDS.filter((b) => clip.head.traces.some((t) => t[2] === b));
    if (!tracks.includes(state.track)) state.track = tracks[0] ?? null;
    if (!bands.includes(state.band)) state.band = bands.at(-1) ?? null;
    fill($("track"), tracks, state.track);
    fill($("band"), bands, state.band);
    for (const row of document.querySelectorAll("#case-table .pick")) row.classList.toggle("chosen", row.dataset.case === clip.id);
    for (const b of document.querySelectorAll("#finding-list button")) {
      const current = state.finding !== null && Number(b.dataset.finding) === state.finding.index;
      b.setAttribute("aria-current", current);
      if (current) keepInView(b);
    }
    drawChips();
  }

  function fill(select, values, wanted) {
    select.replaceChildren(...values.map((v) => make("option", { value: v, selected: String(v) === String(wanted) ? "" : null }, String(v))));
    select.disabled = values.length < 2;
  }

  /** Scrolls the list itself, never the page. */
  function keepInView(button) {
    const list = $("finding-list"), item = button.parentElement;
    const from = item.offsetTop - list.offsetTop;
    if (from < list.scrollTop) list.scrollTop = from;
    if (from + item.offsetHeight - list.clientHeight > list.scrollTop) list.scrollTop = from + item.offsetHeight - list.clientHeight;
    list.scrollLeft = Math.max(0, item.offsetLeft - list.offsetLeft - 40);
  }

  /** Shows the frame at a position; the deep link follows unless `quiet`. */
  function seek(at, quiet = false) {
    const { clip } = state;
    state.at = Math.max(0, Math.min(clip.frames.length - 1, Math.round(at)));
    $("slider").value = state.at;
    const seconds = clip.seconds[state.at];
    $("where").textContent = `frame ${clip.frames[state.at]}${seconds === null ? "" : `, ${seconds.toFixed(2)} s`}`;
    title();
    redraw();
    for (let i = 1; i < 9; i++) clip.picture(Math.min(state.at + i, clip.frames.length - 1));
    if (!quiet) Links.tell(clip.id, clip.frames[state.at], DATA.rungs[rungOf()]?.name);
  }

  function title() {
    const f = state.finding;
    const here = f && String(f.frame) === String(state.clip.frames[state.at]);
    $("frame-title").textContent = f ? `${f.badge}${here ? "" : ` (at frame ${f.frame})`}` : state.clip.id;
    $("frame-text").textContent = f ? sentence(f) : `case ${state.clip.id}, no finding chosen`;
    $("frame-inputs").textContent = (f?.inputs ?? []).map((text) => `input tensors: ${text}`).join(" · ");
    $("frame-inputs").hidden = !f?.inputs.length;
    $("to-finding").hidden = !f || here;
  }

  function sentence(f) {
    const parts = [`case ${f.case}`, f.rung_name];
    if (f.band) parts.push(`${f.band} band`);
    if (f.track !== null) parts.push(`line ${f.track}`);
    if (f.threshold !== "–") parts.push(`threshold ${f.threshold}`);
    if (f.end > f.start) parts.push(`lasts frames ${f.start} to ${f.end}`);
    if (f.first) parts.push(`begins at ${f.first}`);
    if (f.also.length) parts.push(`also on ${f.also.length > 3 ? `${f.also.length} other rungs` : f.also.join(", ")}`);
    return parts.join(" · ");
  }

  function redraw() {
    if (!state.clip) return;
    const now = scene();
    settled = Camera.draw(now);
    Above.draw(now);
    Charts.along(now, state.track, state.band);
    Charts.time(now, state.track, state.band, { seek: (i) => { stop(); seek(i); }, pick: (i) => choose(i) });
    Tensors.show(state.clip.id, state.clip.frames[state.at], state.clip, rungOf(), state.finding?.parent);
    Waterfall.show(state.finding);
  }

  /** Shows a finding of DATA.findings. */
  function choose(index) {
    const f = DATA.findings[index];
    return go({ id: f.case, frame: f.frame, finding: index });
  }

  function drawChips() {
    const now = chosen();
    const truth = { name: "ground truth", colour: "truth", stroke: "2 3", status: "ok", factors: [] };
    const rungs = [...DATA.rungs.entries(), ...(state.clip.hasTruth ? [["truth", truth]] : [])];
    const chips = rungs.map(([i, rung]) => {
      const look = i === "truth" ? { ...rung, colour: colour("truth") } : rung;
      const chip = make("button", {
        type: "button", "aria-pressed": now.has(i), class: i === rungOf() ? "culprit" : null, "data-rung": i,
        disabled: rung.status === "not_run" ? "" : null, title: chipTitle(rung, i),
      }, swatch(look), rung.name);
      chip.addEventListener("click", () => toggle(i));
      chip.addEventListener("mouseenter", () => highlight(now.has(i) ? i : null));
      chip.addEventListener("mouseleave", () => highlight(null));
      return chip;
    });
    const all = make("button", { type: "button", class: "all" }, "all");
    all.addEventListener("click", () => show(new Set([...DATA.rungs.keys(), "truth"])));
    const step = make("button", { type: "button", class: "all", title: "the reference, the rung that is meant, and its parent" }, "this step only");
    step.addEventListener("click", () => show(new Set([DATA.reference, state.finding?.parent ?? DATA.reference, rungOf()])));
    $("chips").replaceChildren(...chips, all, step);
  }

  function chipTitle(rung, i) {
    const parts = [i === DATA.reference ? "the reference" : i === "truth" ? "what the case says is there" : rung.factors.join(" + ")];
    if (i === rungOf()) parts.push("the rung that is meant");
    if (rung.reason) parts.push(rung.reason);
    return parts.filter(Boolean).join("; ");
  }

  function toggle(rung) {
    const next = new Set(chosen());
    if (!next.delete(rung)) next.add(rung);
    show(next);
  }

  function show(rungs) {
    state.rungs = rungs;
    drawChips();
    redraw();
  }

  function highlight(rung) {
    state.dim = rung;
    redraw();
  }

  function play() {
    if (state.timer) return stop();
    if (state.at >= state.clip.frames.length - 1) seek(0, true);
    $("play").textContent = "❚❚";
    $("play").setAttribute("aria-label", "Pause");
    step();
  }

  function step() {
    const a = state.clip.seconds[state.at], b = state.clip.seconds[state.at + 1];
    const wait = a === null || b === undefined || b === null ? 0.05 : Math.min(Math.max(b - a, 0.01), 1);
    state.timer = setTimeout(async () => {
      seek(state.at + 1, true);
      await settled;
      if (!state.timer) return;
      if (state.at >= state.clip.frames.length - 1) stop();
      else step();
    }, wait * 1000 / state.speed);
  }

  function stop() {
    if (!state.timer) return;
    clearTimeout(state.timer);
    state.timer = 0;
    $("play").textContent = "▶";
    $("play").setAttribute("aria-label", "Play");
    Links.tell(state.clip.id, state.clip.frames[state.at], DATA.rungs[rungOf()]?.name);
  }

  function zoomToError() {
    Camera.zoomToMark?.(scene());
    Above.zoomToMark?.(scene());
  }

  $("play").addEventListener("click", play);
  $("slider").addEventListener("input", () => { stop(); seek(Number($("slider").value)); });
  $("speed").addEventListener("change", () => { state.speed = Number($("speed").value); });
  $("previous").addEventListener("click", () => { stop(); seek(state.at - 1); });
  $("next").addEventListener("click", () => { stop(); seek(state.at + 1); });
  $("to-finding").addEventListener("click", () => choose(state.finding.index));
  $("track").addEventListener("change", () => { state.track = Number($("track").value); redraw(); });
  $("band").addEventListener("change", () => { state.band = $("band").value; redraw(); });
  $("zoom-in").addEventListener("click", () => Camera.view.zoom(1.6));
  $("zoom-out").addEventListener("click", () => Camera.view.zoom(1 / 1.6));
  $("zoom-reset").addEventListener("click", () => { Camera.view.reset(); Above.view?.reset(); });
  $("zoom-error").addEventListener("click", zoomToError);
  for (const button of document.querySelectorAll("#times button")) {
    button.addEventListener("click", () => {
      state.times = Number(button.dataset.times);
      for (const b of document.querySelectorAll("#times button")) b.setAttribute("aria-pressed", b === button);
      redraw();
    });
  }
  document.addEventListener("keydown", (e) => {
    if (e.altKey || e.ctrlKey || e.metaKey || e.target.closest("input:not([type=range]), select, textarea, .scroll") || !state.clip) return;
    const stride = e.shiftKey ? 10 : 1;
    const moves = { ArrowLeft: -stride, ArrowRight: stride, Home: -Infinity, End: Infinity };
    if (e.key in moves) { stop(); seek(Math.max(0, Math.min(state.clip.frames.length - 1, state.at + moves[e.key]))); }
    else if (e.key === " " && !e.target.closest("button, summary, a")) play();
    else return;
    e.preventDefault();
  });
  let pending = 0;
  addEventListener("resize", () => { cancelAnimationFrame(pending); pending = requestAnimationFrame(redraw); });

  return { go, choose, redraw, seek, show, state, settled: () => settled, sceneNow: scene };
})();
