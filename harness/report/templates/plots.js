// Three plots: the lines from above, the offset along the line, the offset over time. Colours are those of the picture.

const Plots = (() => {
  const CONFIG = { displaylogo: false, responsive: true, displayModeBar: false };
  const BANDS = Object.entries(DATA.edges);

  function layout(more) {
    const ink = colour("ink"), muted = colour("muted"), rule = colour("rule");
    const axis = { gridcolor: rule, zerolinecolor: colour("strong-rule"), linecolor: rule, tickcolor: rule, tickfont: { color: muted, size: 11 }, automargin: true };
    const titled = (text, extra = {}) => ({ ...axis, title: { text, font: { color: muted, size: 12 }, standoff: 6 }, ...extra });
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "closest",
      font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
      margin: { l: 54, r: 14, t: 30, b: 42 },
      hoverlabel: { bgcolor: colour("raised"), bordercolor: colour("strong-rule"), font: { color: ink } },
      ...more(titled),
    };
  }

  function heading(text) {
    return { title: { text, font: { size: 13, color: colour("muted") }, x: 0, xanchor: "left", xref: "paper", y: 1, yref: "container", yanchor: "top", pad: { t: 9 } } };
  }

  function stroke(rungIndex, width = 2) {
    const rung = DATA.rungs[rungIndex];
    const reference = rungIndex === DATA.reference;
    return { color: rungColour(rung), dash: rung.dash, width: reference ? 2.6 : width };
  }

  /** Band edges as thin lines across the station axis. */
  function bandShapes(axis, names) {
    const line = { color: colour("strong-rule"), width: 1, dash: "dot" };
    const other = axis === "x" ? "y" : "x";
    const edges = BANDS.map(([, edge]) => edge[1]).slice(0, -1);
    const shapes = edges.map((at) => ({ type: "line", [`${axis}0`]: at, [`${axis}1`]: at, [`${other}0`]: 0, [`${other}1`]: 1, [`${other}ref`]: "paper", line, layer: "below" }));
    const annotations = !names ? [] : BANDS.map(([name, [a, b]]) => ({ text: name, [axis]: (a + b) / 2, [other]: axis === "x" ? 1 : 1, [`${other}ref`]: "paper", [`${other}anchor`]: axis === "x" ? "top" : "right", showarrow: false, font: { size: 11, color: colour("muted") } }));
    return { shapes, annotations };
  }

  function above(frame, visible) {
    if (!$("above")) return;
    const far = BANDS.length ? Math.max(...BANDS.map(([, edge]) => edge[1])) : 80;
    const traces = frame.lines.filter((line) => visible(line.rung)).map((line) => ({
      x: unpack(line.y), y: unpack(line.x), mode: "lines", line: stroke(line.rung), meta: line.rung, type: "scatter",
      hovertemplate: `${escape(DATA.rungs[line.rung].name)}<br>%{y:.1f} m ahead, %{x:.3f} m left<extra></extra>`,
    }));
    traces.push({ x: [0], y: [0], mode: "markers", marker: { symbol: "triangle-up", size: 12, color: colour("muted") }, hovertemplate: "the vehicle<extra></extra>", type: "scatter" });
    const lateral = traces.flatMap((t) => t.x).filter((v) => v !== null);
    const span = [Math.max(2, ...lateral) + 0.8, Math.min(-2, ...lateral) - 0.8];
    const bands = bandShapes("y", true);
    Plotly.react("above", traces, layout((titled) => ({
      ...heading("From above"), ...bands,
      xaxis: titled("lateral, m (left positive)", { range: span }),
      yaxis: titled("ahead, m", { range: [-2, far + 2] }),
    })), CONFIG);
  }

  function along(frame, visible) {
    const vehicle = DATA.kind === "vehicle";
    const traces = [];
    for (const line of frame.lines) {
      if (!visible(line.rung) || !line.o) continue;
      const offset = unpack(line.o);
      const station = offset.map((_, i) => line.from + (line.to - line.from) * i / (offset.length - 1));
      const own = line.track === frame.track || frame.track === null;
      const unit = DATA.unit, digits = LENGTH_DIGITS;
      traces.push({
        x: vehicle ? station : offset, y: vehicle ? offset : station, mode: "lines", type: "scatter", meta: line.rung,
        line: stroke(line.rung, own ? 2.4 : 1.2), opacity: own ? 1 : 0.45,
        hovertemplate: `${escape(DATA.rungs[line.rung].name)}, line ${line.track}<br>` + (vehicle ? `%{y:.${digits}f} ${unit} at %{x:.1f} m` : `%{x:.${digits}f} ${unit} at row %{y:.0f}`) + "<extra></extra>",
      });
    }
    const which = frame.track === null ? "" : ` (line ${frame.track} strong)`;
    const bands = bandShapes(vehicle ? "x" : "y", true);
    const zero = { zeroline: true, zerolinewidth: 2, zerolinecolor: rungColour(DATA.rungs[DATA.reference]) };
    const span = BANDS.flatMap(([, edge]) => edge);
    Plotly.react("along", traces, layout((titled) => ({
      ...heading(`${vehicle ? "Lateral offset along the line" : "Offset by row"}${which}`), ...bands,
      xaxis: vehicle ? titled("ahead, m", span.length ? { range: [Math.min(...span), Math.max(...span)] } : {}) : titled(`offset, ${DATA.unit} (left positive)`, { ...zero, autorange: "reversed" }),
      yaxis: vehicle ? titled(`offset, ${DATA.unit} (left positive)`, zero) : titled("row, px", span.length ? { range: [Math.max(...span), Math.min(...span)] } : { autorange: "reversed" }),
    })), CONFIG);
  }

  function time(frame, series, track, band, visible) {
    const traces = [];
    for (const trace of series ? series.traces : []) {
      if (trace.track !== track || trace.band !== band || !visible(trace.rung)) continue;
      traces.push({
        x: series.t, y: unpack(trace.d), mode: series.t.length > 1 ? "lines" : "markers", type: "scatter", meta: trace.rung, connectgaps: false,
        line: stroke(trace.rung, trace.rung === frame.rung ? 2.4 : 1.5), marker: { color: rungColour(DATA.rungs[trace.rung]), size: 8 },
        hovertemplate: `${escape(DATA.rungs[trace.rung].name)}<br>%{y:.${LENGTH_DIGITS}f} ${DATA.unit} at %{x:.2f} s<extra></extra>`,
      });
    }
    const fps = DATA.cases[frame.case].fps || 1;
    const shapes = [];
    if (frame.end > frame.start) shapes.push({ type: "rect", x0: frame.start / fps, x1: frame.end / fps, y0: 0, y1: 1, yref: "paper", fillcolor: colour("muted"), opacity: 0.12, line: { width: 0 }, layer: "below" });
    shapes.push({ type: "line", x0: frame.frame / fps, x1: frame.frame / fps, y0: 0, y1: 1, yref: "paper", line: { color: colour("accent"), width: 1.5 } });
    const last = DATA.cases[frame.case].frames / fps;
    Plotly.react("time", traces, layout((titled) => ({
      ...heading(`Lateral offset from the reference over time, mean of the band: ${escape(frame.case)}`), shapes,
      xaxis: titled("time, s", { range: last > 1 / fps ? [0, last] : [-1, 1] }),
      yaxis: titled(`offset, ${DATA.unit} (left positive)`, { zeroline: true, zerolinewidth: 2, zerolinecolor: rungColour(DATA.rungs[DATA.reference]) }),
    })), CONFIG);
  }

  /** Text for plotly, which reads a few tags of HTML. */
  function escape(text) {
    return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  /** Dims every trace but those of one rung; null shows all again. */
  function highlight(rung) {
    for (const id of ["above", "along", "time"]) {
      const plot = $(id);
      if (!plot?.data?.length) continue;
      for (const [i, group] of [...plot.querySelectorAll(".scatterlayer .trace")].entries()) {
        const meta = plot.data[i]?.meta;
        group.style.opacity = rung === null || meta === undefined || meta === rung ? "" : "0.12";
      }
    }
  }

  return { above, along, time, highlight };
})();
