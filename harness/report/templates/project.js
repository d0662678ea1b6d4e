// From points of lines to pixels of the recorded picture: OpenCV's pinhole and fisheye models on flat ground.
// Pixel centres have whole coordinates. Points behind the camera are left out (harness/report/draw.py does the same).

const NEAREST_M = 0.5;

/** [u, v] of each point; how: `projection_of` of harness/report/pictures.py. */
function toPixels(how, x, y) {
  const found = [];
  for (let i = 0; i < x.length; i++) {
    const pixel = how.scale ? [how.scale[0] * x[i] + how.shift[0], how.scale[1] * y[i] + how.shift[1]] : seen(how, x[i], y[i]);
    if (pixel) found.push(pixel);
  }
  return found;
}

function seen(how, x, y) {
  const c = how.camera;
  const row = (i) => c[4 * i] * x + c[4 * i + 1] * y + c[4 * i + 3];
  const z = row(2);
  if (z < NEAREST_M) return null;
  const [a, b] = how.model === "fisheye" ? fisheye(how.D, row(0) / z, row(1) / z) : pinhole(how.D, row(0) / z, row(1) / z);
  const k = how.K;
  return [k[0] * a + (how.model === "fisheye" ? k[1] * b : 0) + k[2], k[4] * b + k[5]];
}

function pinhole(d, a, b) {
  const [k1 = 0, k2 = 0, p1 = 0, p2 = 0, k3 = 0, k4 = 0, k5 = 0, k6 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0] = d;
  const r = a * a + b * b;
  const radial = (1 + r * (k1 + r * (k2 + r * k3))) / (1 + r * (k4 + r * (k5 + r * k6)));
  return [
    a * radial + 2 * p1 * a * b + p2 * (r + 2 * a * a) + r * (s1 + r * s2),
    b * radial + p1 * (r + 2 * b * b) + 2 * p2 * a * b + r * (s3 + r * s4),
  ];
}

function fisheye([k1 = 0, k2 = 0, k3 = 0, k4 = 0], a, b) {
  const r = Math.hypot(a, b), t = Math.atan(r), q = t * t;
  const scale = r > 1e-8 ? t * (1 + q * (k1 + q * (k2 + q * (k3 + q * k4)))) / r : 1;
  return [a * scale, b * scale];
}

/** Lateral position, left positive, and station of a line's points; near to far is not assumed. */
function stations(line) {
  return DATA.kind === "vehicle" ? [line.x, line.y] : [line.y, line.x.map((u) => -u)];
}

/** Lateral position of a line at a station, by linear interpolation; null where it does not reach. */
function lateralAt(line, station) {
  const [s, l] = stations(line);
  for (let i = 1; i < s.length; i++) {
    const [a, b] = [s[i - 1], s[i]];
    if ((station - a) * (station - b) <= 0 && a !== b) return l[i - 1] + (station - a) / (b - a) * (l[i] - l[i - 1]);
  }
  return null;
}

/** Points of a line with its difference from the reference's made `times` as large; those the reference lacks stay. */
function magnified(points, reference, times) {
  if (times === 1 || !reference) return points;
  const [s, l] = stations(points);
  const wide = l.map((value, i) => {
    const base = lateralAt(reference, s[i]);
    return base === null ? value : base + times * (value - base);
  });
  return DATA.kind === "vehicle" ? { x: points.x, y: wide } : { x: wide.map((v) => -v), y: points.y };
}
