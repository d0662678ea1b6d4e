// Input tensors of two rungs and their difference, for the frames that have them in this file.

const Tensors = (() => {
  if (!$("tensors")) return { show() {} };
  let now = null;

  const input = (rung) => DATA.rungs[rung]?.input ?? null;

  function show(id, frame, clip, rung, parent) {
    const views = clip.tensors ?? {};
    const given = views[String(frame)];
    const first = now === null || now.id !== id;
    now = { id, frame, clip, given };
    if (first) {
      const of = [parent ?? DATA.reference, rung].map((r) => r ?? 0);
      if (input(of[0]) === input(of[1])) of[0] = DATA.reference;
      ["tensor-a", "tensor-b"].forEach((name, i) => choices($(name), of[i]));
    }
    draw(Object.keys(views));
  }

  function choices(select, wanted) {
    select.replaceChildren(...DATA.rungs.map((r, i) => make("option", { value: i, selected: i === wanted ? "" : null }, r.name)));
  }

  function draw(frames) {
    const rungs = ["tensor-a", "tensor-b"].map((name) => Number($(name).value));
    const [a, b] = rungs.map(input);
    const given = now.given;
    const note = $("tensor-note");
    const pair = given?.pairs[`${a}|${b}`] ?? given?.pairs[`${b}|${a}`];
    for (const [place, data, title] of [["tensor-left", given?.inputs[a], a], ["tensor-right", given?.inputs[b], b], ["tensor-diff", pair?.src, "difference"]]) {
      $(place).replaceChildren(...(data ? [make("img", { src: `data:image/webp;base64,${data}`, alt: `input tensor: ${title}` })] : [make("span", { class: "muted" }, missing(given, title, rungs, a, b))]));
    }
    note.textContent = given ? [given.note, pair ? pair.text : ""].filter(Boolean).join(" · ") : frames.length
      ? `This file has input tensors of frames ${frames.join(", ")} of this case.` : now.clip.tensorNote || "This file has no input tensors of this case.";
    $("tensor-go").hidden = Boolean(given) || !frames.length;
    $("tensor-go").onclick = () => Player.seek(now.clip.place(frames[0]));
  }

  function missing(given, title, rungs, a, b) {
    if (title !== "difference") return DATA.rungs[title === a ? rungs[0] : rungs[1]]?.car ? "not recorded" : "not in this file";
    if (!given) return "not in this file";
    if (a === b) return "the same input: the same tensor";
    if (!given.inputs[a] || !given.inputs[b]) return "nothing to compare with";
    return "not in this file: compare with the reference or with deploy";
  }

  for (const name of ["tensor-a", "tensor-b"]) $(name).addEventListener("change", () => draw(Object.keys(now.clip.tensors ?? {})));
  return { show };
})();
