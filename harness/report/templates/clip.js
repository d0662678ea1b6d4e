// The clips of the cases: unpacked when a case is opened (harness/report/packing.py writes them), kept for the last few.

const Clips = (() => {
  const KEPT = 4;
  const opened = new Map();

  /** A promise of the clip of a case; null where this file has none. */
  function open(id) {
    if (!opened.has(id)) opened.set(id, read(id));
    const clip = opened.get(id);
    opened.delete(id);
    opened.set(id, clip); // the last one used stands last
    for (const old of opened.keys()) if (opened.size > KEPT) opened.delete(old);
    return clip;
  }

  async function read(id) {
    if (document.readyState === "loading") await new Promise((go) => document.addEventListener("DOMContentLoaded", go, { once: true }));
    const script = document.querySelector(`script[data-clip="${CSS.escape(id)}"]`);
    if (!script) return null;
    const told = JSON.parse(script.textContent);
    return build(id, told, ...await inflated(told.packed));
  }

  async function inflated(text) {
    const bytes = bytesOf(text);
    const body = new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate")));
    const plain = new Uint8Array(await body.arrayBuffer());
    const size = new DataView(plain.buffer).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(plain.subarray(4, 4 + size)));
    return [head, numbers(plain, 4 + size, head.streams)];
  }

  function bytesOf(text) {
    const raw = atob(text);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  /** Zigzag varints, stream by stream. */
  function numbers(bytes, at, streams) {
    const found = {};
    for (const [name, length] of streams) {
      const values = new Float64Array(length);
      for (let i = 0; i < length; i++) {
        let value = 0, scale = 1, byte;
        do { byte = bytes[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
        values[i] = value % 2 ? -(value + 1) / 2 : value / 2;
      }
      found[name] = values;
    }
    return found;
  }

  function build(id, told, head, streams) {
    const lines = linesOf(streams, "", DATA.reference, head.quantum);
    const truth = linesOf(streams, "truth.", 0, head.truthQuantum);
    const place = new Map(head.frames.map((frame, i) => [String(frame), i]));
    const images = new Map();
    return {
      id, ...told, head, frames: head.frames, seconds: head.seconds,
      lines: (i) => lines[i] ?? [],
      truth: (i) => truth[i] ?? [],
      hasTruth: truth.length > 0,
      place: (frame) => place.get(String(frame)),
      signal: (index, name) => signalOf(streams, index, name, head.quantum / 10),
      picture: (i) => picture(images, told.pictures[String(head.frames[i])], i),
      hasPicture: (i) => String(head.frames[i]) in told.pictures,
    };
  }

  /** Lines by position of their frame: rung, track, score, closed, x, y; the exact inverse of Lines.streams. */
  function linesOf(streams, prefix, reference, quantum) {
    const get = (name) => streams[prefix + name];
    if (!get("count")) return [];
    const byFrame = [], last = new Map();
    let at = 0, frame = 0;
    for (let i = 0; i < get("count").length; i++) {
      frame += get("frame")[i];
      const rung = get("rung")[i], track = get("track")[i], count = get("count")[i];
      const other = track >= 0 ? last.get(track) : undefined;
      const alike = other && other.x.length === count && (rung === reference || other.frame === frame) ? other : null;
      const line = {
        frame, rung, track: track < 0 ? null : track, score: get("score")[i] < 0 ? null : get("score")[i] / 1000,
        closed: get("closed")[i] === 1,
        whole: [undone(get("x"), at, count, alike?.whole[0]), undone(get("y"), at, count, alike?.whole[1])],
      };
      [line.x, line.y] = line.whole.map((values) => values.map((v) => v * quantum));
      at += count;
      if (rung === reference && track >= 0) last.set(track, line);
      (byFrame[frame] ??= []).push(line);
    }
    return byFrame;
  }

  function undone(coded, at, count, other) {
    const values = new Float64Array(count);
    let step = 0, value = 0;
    for (let i = 0; i < count; i++) {
      step = i < 1 ? 0 : step + coded[at + i];
      value = i < 1 ? coded[at] : value + step;
      values[i] = value + (other ? other[i] : 0);
    }
    return values;
  }

  function signalOf(streams, index, name, quantum) {
    const coded = streams[`${index}.${name}`];
    if (!coded) return null;
    let value = 0;
    return Array.from(coded, (d) => { value += d; return value === MISSING ? null : value * quantum; });
  }

  /** A promise of the decoded picture of a frame, null where the file has none. */
  function picture(images, data, i) {
    if (!data) return Promise.resolve(null);
    if (!images.has(i)) {
      const image = new Image();
      image.src = `data:image/webp;base64,${data}`;
      images.set(i, image.decode().then(() => image, () => null));
      for (const old of images.keys()) if (images.size > 60) images.delete(old);
    }
    return images.get(i);
  }

  return { open };
})();
