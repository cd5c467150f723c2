// Inks and shapes: how the buckets that are shown become strokes, bars and areas of a chart.
const PLOTS = document.getElementById("plots");
const LANES = [...PLOTS.querySelectorAll(".lane")];
const probe = PLOTS.appendChild(document.createElement("i"));
const inks = {};

function readInks() {
  const names = ["ink", "ink-2", "ink-3", "accent", "charge", "discharge", "grid", "line-2", "surface"];
  for (const name of names) {
    probe.style.color = `var(--${name})`;
    inks[name] = getComputedStyle(probe).color;
  }
}
readInks();
const faint = (name, share) => inks[name].replace(/^rgb\((.*)\)$/, (_, parts) => `rgba(${parts}, ${share})`);
const FONT = `11px ${getComputedStyle(document.body).fontFamily}`;

const shown = { from: BEGIN, to: END, buckets: [], level: LEVELS[0] };

// ---- geometry: every bucket is drawn from where it begins to where it ends -------------------------------

const across = (u) => (seconds) => u.valToPos(seconds, "x", true);
const upward = (u) => (value) => u.valToPos(value, "y", true);
const touching = (i) => i > 0 && shown.buckets[i - 1].to === shown.buckets[i].from;
const drawn = (stroke, fill) => ({ stroke, fill, clip: null, band: null, gaps: null, flags: 0 });

const steps = (field) => (u) => {
  const [x, y, path] = [across(u), upward(u), new Path2D()];
  let last = null;
  shown.buckets.forEach((one, i) => {
    const value = one[field];
    if (value !== null) {
      if (last === null || !touching(i)) path.moveTo(x(one.from), y(value));
      else path.lineTo(x(one.from), y(value));
      path.lineTo(x(one.to), y(value));
    }
    last = value;
  });
  return drawn(path, null);
};

const spread = (low, high) => (u) => {
  const [x, y, path] = [across(u), upward(u), new Path2D()];
  for (const one of shown.buckets) {
    if (one.slots === 1 || one[low] === null) continue;
    const top = y(one[high]);
    path.rect(x(one.from), top, x(one.to) - x(one.from), Math.max(y(one[low]) - top, 1));
  }
  return drawn(null, path);
};

const bars = (field) => (u) => {
  const [x, y, path] = [across(u), upward(u), new Path2D()];
  const zero = y(0);
  for (const one of shown.buckets) {
    if (!one[field]) continue;
    const width = x(one.to) - x(one.from);
    const gap = width > 8 * devicePixelRatio ? 1.5 * devicePixelRatio : width > 3 ? 1 : 0;
    path.rect(x(one.from) + gap / 2, zero, Math.max(width - gap, 1), y(one[field]) - zero);
  }
  return drawn(null, path);
};

// A value that holds at the end of each bucket, joined by straight lines; the area goes down to the bottom or to zero.
const course = (field) => (u) => {
  const [x, y, line, area] = [across(u), upward(u), new Path2D(), new Path2D()];
  const floor = y(Math.max(0, u.scales.y.min));
  let run = null;
  const close = () => {
    if (run === null) return;
    area.lineTo(run.at, floor);
    area.lineTo(run.begin, floor);
    area.closePath();
  };
  shown.buckets.forEach((one, i) => {
    const value = one[field];
    if (value === null || !touching(i)) {
      close();
      run = null;
    }
    if (value === null) return;
    const earlier = before(slots.from, one.from) - 1;
    const known = earlier >= 0 && slots.to[earlier] === one.from ? slots[field][earlier] : null;
    const opening = known ?? (earlier < 0 ? report.opening[field] : null);
    const start = opening === null ? x(one.to) : x(one.from);
    if (run === null) {
      run = { begin: start };
      line.moveTo(start, y(opening ?? value));
      area.moveTo(start, floor);
      area.lineTo(start, y(opening ?? value));
    }
    line.lineTo(x(one.to), y(value));
    area.lineTo(x(one.to), y(value));
    run.at = x(one.to);
  });
  close();
  return drawn(line, area);
};
