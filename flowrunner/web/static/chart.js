// Lanes of one time axis, drawn as SVG: steps, bars and lines, gaps as gaps, what is planned dashed, a line at now.
//
// draw(host, chart) with chart = {from, to, now, zone, lang, locale, number, words, lanes, live, title}; instants are
// milliseconds. A lane: {title, unit, decimals, kind: "step" | "bars" | "line", series: [{title, tone, points, ahead}],
// marks, min, max}. points: [ms, value | null, least, most]; the last two only where they are others; where the value
// is null a gap begins, and the next point ends it. ahead: [from ms, to ms, value].

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44, RIGHT = 34, TOP = 26, FOOT = 24, LANE_HEAD = 24, LANE_GAP = 14;
const HEIGHTS = {step: 136, bars: 76, line: 84};
const TONES = {step: ["price", "tone-1", "tone-2", "tone-3"], line: ["soc", "tone-1", "tone-2", "tone-3"], bars: ["bars"]};
const HOUR = 3600e3, QUARTER = HOUR / 4;
const MOST_GROWN = 1.8;
const clocks = new Map();

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function parts(zone) {
  if (!clocks.has(zone)) {
    clocks.set(zone, new Intl.DateTimeFormat("en-GB", {timeZone: zone, year: "numeric", month: "2-digit",
      day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23"}));
  }
  return clocks.get(zone);
}

/** The wall clock of a zone: {year, month, day, hour, minute} as numbers. */
export function wall(ms, zone) {
  const found = {};
  for (const {type, value} of parts(zone).formatToParts(ms)) found[type] = Number(value);
  return found;
}

const two = (number) => String(number).padStart(2, "0");
export const clock = (ms, zone) => { const at = wall(ms, zone); return `${two(at.hour)}:${two(at.minute)}`; };

/** The instants of an axis with what to write there: whole hours of the wall clock, or its midnights. */
export function ticks(from, to, zone, width, locale) {
  const hours = (to - from) / HOUR, most = Math.max(2, Math.floor(width / (hours > 40 ? 76 : 60)));
  const step = [1, 2, 3, 6, 12, 24, 48, 120, 240].find((one) => hours / one <= most) ?? 240;
  const days = new Intl.DateTimeFormat(locale, {timeZone: zone, day: "numeric", month: "short"});
  const found = [];
  let midnights = 0;
  for (let at = Math.ceil(from / QUARTER) * QUARTER; at <= to; ) {
    const {hour, minute} = wall(at, zone);
    if (minute !== 0) { at += QUARTER; continue; } // some zones are a quarter of an hour beside the others
    if (step < 24 && hour % step === 0) {
      found.push([at, hour === 0 && at > to - HOUR && at > from + 12 * HOUR ? "24:00" : `${two(hour)}:00`]);
    } else if (step >= 24 && hour === 0 && midnights++ % (step / 24) === 0) {
      found.push([at, days.format(at)]);
    }
    at += step >= 24 && hour === 0 ? 22 * HOUR : HOUR; // 22: a day may have 23 hours
  }
  return found;
}

/** Round figures for a vertical axis, low to high. */
export function scale(low, high, most) {
  if (!(high > low)) [low, high] = [low - 1, high + 1];
  const raw = (high - low) / most, ten = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((times) => times * ten).find((one) => one >= raw * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({length: last - first + 1}, (_, index) => (first + index) * step);
}

function bounds(lane, from, to) {
  let low = Infinity, high = -Infinity;
  for (const one of lane.series) {
    for (const [at, value, least = value, most = value] of one.points) if (value !== null && at >= from && at <= to) { low = Math.min(low, least); high = Math.max(high, most); }
    for (const [begin, end, value] of one.ahead ?? []) if (end > from && begin < to) { low = Math.min(low, value); high = Math.max(high, value); }
  }
  if (lane.min !== null && lane.min !== undefined && lane.kind === "line") low = Math.min(low, lane.min);
  if (lane.max !== null && lane.max !== undefined && lane.kind === "line") high = Math.max(high, lane.max);
  if (lane.kind === "bars") {
    if (low > high) return [-1, 1];
    const reach = scale(0, Math.max(Math.abs(low), Math.abs(high), 1e-9), 2).at(-1);
    return low < 0 ? [-reach, reach] : [0, reach];
  }
  return low > high ? null : [low, high];
}

/** Runs without a gap, and the gaps between them; the last run may go on to now. */
export function runs(points) {
  const found = [], gaps = [];
  let run = [], lost = null;
  for (const point of points) {
    const [at, value] = point;
    if (value === null) {
      if (run.length) { found.push(run); run = []; }
      lost ??= at;
      continue;
    }
    if (lost !== null) { gaps.push([lost, at]); lost = null; }
    run.push(point);
  }
  if (run.length) found.push(run);
  if (lost !== null) gaps.push([lost, null]);
  return {found, gaps};
}

const fixed = (number) => Math.round(number * 10) / 10;

function stepPath(run, x, y, end) {
  let path = `M${fixed(x(run[0][0]))} ${fixed(y(run[0][1]))}`;
  for (const [at, value] of run.slice(1)) path += `H${fixed(x(at))}V${fixed(y(value))}`;
  return end === undefined ? path : `${path}H${fixed(x(end))}`;
}

const linePath = (run, x, y) => run.map(([at, value], index) => `${index ? "L" : "M"}${fixed(x(at))} ${fixed(y(value))}`).join("");

function aheadPath(ahead, x, y, from, to) {
  let path = "", last = null;
  for (const [begin, end, value] of ahead) {
    if (end <= from || begin >= to) continue;
    const left = x(Math.max(begin, from)), right = x(Math.min(end, to)), height = fixed(y(value));
    path += last === begin ? `V${height}` : `M${fixed(left)} ${height}`;
    path += `H${fixed(right)}`;
    last = end;
  }
  return path;
}

/** From nothing to the most, and to the least: what was in between is behind them. */
function barsOf(run, x, y, whole, group, now) {
  for (const [at, value, least = value, most = value] of run) {
    const width = at < now ? Math.max(1, Math.min(whole, x(now) - x(at))) : whole;
    for (const end of [Math.min(least, 0), Math.max(most, 0)]) {
      const height = Math.abs(y(end) - y(0));
      if (height >= 0.4) group.append(svg("rect", {class: end < 0 ? "bc" : "bd", x: fixed(x(at)), width: fixed(width), y: fixed(y(Math.max(end, 0))), height: fixed(height), rx: width > 6 ? 2 : undefined}));
    }
  }
}

/** Between least and most, where they are apart. */
function bandPath(run, x, y) {
  if (!run.some((point) => point.length > 2)) return "";
  const top = run.map(([at, value, , most = value]) => `${fixed(x(at))} ${fixed(y(most))}`);
  const bottom = run.map(([at, value, least = value]) => `${fixed(x(at))} ${fixed(y(least))}`).reverse();
  return `M${top.join("L")}L${bottom.join("L")}Z`;
}

/** Draw the chart into ``host``; returns a function that tells what is known at an x of the host, for a pointer. */
export function draw(host, chart) {
  const width = Math.max(280, Math.round(host.clientWidth)), {from, to, now, zone} = chart;
  const right = chart.lanes.some((lane) => lane.marks?.length) ? RIGHT : 10;
  const inner = width - LEFT - right;
  const x = (at) => LEFT + ((Math.min(Math.max(at, from), to) - from) / (to - from)) * inner;
  const lanes = chart.lanes.map((lane) => ({...lane, bounds: bounds(lane, from, to)}));
  const named = new Map(); // the lowest lane that has a gap says how long it is
  for (const lane of lanes) for (const one of lane.series) for (const [begin] of runs(one.points).gaps) named.set(begin, lane);
  const own = lanes.reduce((sum, lane) => sum + HEIGHTS[lane.kind], 0), rest = TOP + lanes.length * (LANE_HEAD + LANE_GAP) - LANE_GAP + FOOT;
  host.style.minHeight = `${own + rest}px`;
  const grown = Math.min(Math.max((host.clientHeight - rest) / own, 1), MOST_GROWN); // the card may be higher than that
  let y0 = TOP;
  for (const lane of lanes) {
    lane.top = y0 + LANE_HEAD;
    lane.height = Math.floor(HEIGHTS[lane.kind] * grown);
    y0 = lane.top + lane.height + LANE_GAP;
  }
  const bottom = y0 - LANE_GAP, height = bottom + FOOT;
  const root = svg("svg", {class: "chart", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": chart.title});
  const inside = now > from && to - now > (to - from) / 250; // where it ends now, there is nothing to part
  if (inside) root.append(svg("rect", {class: "later", x: fixed(x(now)), y: TOP, width: fixed(x(to) - x(now)), height: bottom - TOP}));
  for (const [at, text] of ticks(from, to, zone, inner, chart.locale)) {
    root.append(svg("path", {class: "gl tick", d: `M${fixed(x(at))} ${bottom}v4`}));
    root.append(svg("text", {x: fixed(x(at)), y: bottom + 18, "text-anchor": "middle"}, text));
  }
  for (const lane of lanes) drawLane(root, lane, {x, from, to, now, width, right, inner, chart, inside, named});
  if (inside) {
    const at = x(now), label = clock(now, zone);
    root.append(svg("path", {class: "now", d: `M${fixed(at)} ${TOP - 4}V${bottom}`}));
    root.append(svg("rect", {class: "now-label", x: fixed(at - 22), y: 4, width: 44, height: 17, rx: 8.5}));
    root.append(svg("text", {class: "now-text", x: fixed(at), y: 16, "text-anchor": "middle"}, label));
    for (const lane of lanes) for (const dot of lane.dots ?? []) root.append(dot);
  }
  const guide = svg("path", {class: "guide", d: ""});
  root.append(guide);
  host.replaceChildren(root);
  return {
    x, from, to, lanes,
    at: (px) => from + ((Math.min(Math.max(px, LEFT), width - right) - LEFT) / inner) * (to - from),
    guide: (at) => guide.setAttribute("d", at === null ? "" : `M${fixed(x(at))} ${TOP}V${bottom}`),
  };
}

function drawLane(root, lane, {x, from, to, now, width, right, inner, chart, inside, named}) {
  const {top, height} = lane, base = top + height;
  const name = svg("text", {class: "lane", x: 0, y: top - 10}, lane.unit ? `${lane.title} ${lane.unit}` : lane.title);
  root.append(name);
  if (lane.bounds === null) {
    root.append(svg("path", {class: "gl", d: `M${LEFT} ${base}H${width - right}`}));
    root.append(svg("text", {x: LEFT + 8, y: top + height / 2}, chart.words.nothing));
    return;
  }
  const marks = lane.kind === "bars" && lane.bounds[0] < 0 ? [-lane.bounds[1], 0, lane.bounds[1]] : scale(...lane.bounds, Math.max(2, Math.round(height / 34)));
  const [low, high] = lane.kind === "bars" ? lane.bounds : [marks[0], marks.at(-1)];
  const y = (value) => base - ((value - low) / (high - low || 1)) * height;
  for (const mark of marks) {
    const at = fixed(y(mark));
    root.append(svg("path", {class: mark === 0 && low < 0 ? "gl z" : "gl", d: `M${LEFT} ${at}H${width - right}`}));
    root.append(svg("text", {x: LEFT - 8, y: at + 3.5, "text-anchor": "end"}, chart.number(mark)));
  }
  for (const mark of lane.marks ?? []) {
    if (mark < low || mark > high) continue;
    root.append(svg("path", {class: "lim", d: `M${LEFT} ${fixed(y(mark))}H${width - right}`}));
    root.append(svg("text", {x: width - right + 6, y: fixed(y(mark)) + 3.5}, chart.number(mark)));
  }
  lane.dots = [];
  const taken = []; // by what is written there already
  lane.series.forEach((one, index) => {
    const tones = TONES[lane.kind] ?? TONES.line, tone = tones[index % tones.length];
    const {found, gaps} = runs(one.points);
    const long = ([begin, end]) => (end ?? Math.min(now, to)) - begin;
    for (const [begin, end] of [...gaps].sort((one, other) => long(other) - long(one))) gap(root, begin, end ?? Math.min(now, to), {x, top, height, from, to, chart, width, right, said: named.get(begin) === lane && index === 0, taken});
    if (lane.kind === "bars") {
      const step = one.every || 15 * 60e3;
      const bar = Math.max(1, (step / (to - from)) * inner - (step / (to - from) * inner > 6 ? 2.5 : 0.3));
      for (const run of found) barsOf(run.filter(([at]) => at >= from - step && at <= to), x, y, bar, root, now);
    }
    for (const run of found) {
      const own = within(run, from, to);
      if (!own.length || lane.kind === "bars") continue;
      const last = run === found.at(-1) && inside && now - own.at(-1)[0] < 2 * HOUR && !gaps.some(([begin]) => begin > own.at(-1)[0]);
      const d = lane.kind === "step" ? stepPath(own, x, y, last ? Math.min(now, to) : own.at(-1)[0]) : linePath(own, x, y) + (last ? `H${fixed(x(Math.min(now, to)))}` : "");
      const band = lane.kind === "line" ? bandPath(own, x, y) : "";
      if (band) root.append(svg("path", {class: `band ${tone}-band`, d: band}));
      root.append(svg("path", {class: tone, d}));
      if (last) lane.dots.push(svg("circle", {class: `dot-${tone}`, cx: fixed(x(Math.min(now, to))), cy: fixed(y(own.at(-1)[1])), r: 3.5}));
    }
    if (one.ahead?.length) root.append(svg("path", {class: `${tone} f`, d: aheadPath(one.ahead, x, y, Math.max(from, now), to)}));
  });
}

/** What of a run lies in the period; the point before it too, moved to its begin. */
function within(run, from, to) {
  const own = run.filter(([at]) => at >= from && at <= to);
  const before = run.findLast?.(([at]) => at < from);
  return before && own.length && own[0][0] > from && own[0][0] - before[0] < 2 * HOUR ? [[from, before[1]], ...own] : own;
}

function gap(root, begin, end, {x, top, height, from, to, chart, width, right, said, taken}) {
  if (end <= from || begin >= to || end <= begin) return;
  const left = x(begin), wide = x(end) - left;
  if (wide < 1) return;
  const hatch = svg("g", {class: "gap"}, svg("rect", {class: "gap-ground", x: fixed(left), y: top, width: fixed(wide), height}));
  let lines = "";
  for (let along = 7; along < wide + height; along += 7) { // 45°, cut by the box
    const x1 = Math.min(along, wide), y1 = Math.max(along - wide, 0), x2 = Math.max(along - height, 0), y2 = Math.min(along, height);
    lines += `M${fixed(left + x1)} ${fixed(top + y1)}L${fixed(left + x2)} ${fixed(top + y2)}`;
  }
  hatch.append(svg("path", {class: "gap-line", d: lines}));
  root.append(hatch);
  if (!said || (wide < 5 && end - begin < HOUR)) return;
  const text = chart.words.gap(end - begin), long = text.length * 6.2, room = width - right - x(end);
  const outside = wide < long, after = room > long;
  const at = outside ? (after ? x(end) + 4 : left - 4 - long) : left + wide / 2 - long / 2; // where the text begins
  if (taken.some(([from, to]) => at < to && at + long > from)) return; // two that would stand in each other
  taken.push([at, at + long]);
  root.append(svg("text", {
    class: "gap-text", x: fixed(outside ? (after ? at : left - 4) : left + wide / 2), y: top + height - 6,
    "text-anchor": outside ? (after ? "start" : "end") : "middle",
  }, text));
}

/** A small curve without axes for a tile; ``box`` is {width, height}. */
export function spark(points, kind, {width, height}) {
  const values = points.filter(([, value]) => value !== null);
  if (values.length < 2) return null;
  const from = points[0][0], to = points.at(-1)[0];
  const low = Math.min(...values.map(([, value]) => value)), high = Math.max(...values.map(([, value]) => value));
  const x = (at) => ((at - from) / (to - from || 1)) * width;
  const y = (value) => (high > low ? height - 2 - ((value - low) / (high - low)) * (height - 4) : height / 2);
  const {found} = runs(points);
  return found.map((run) => (kind === "step" ? stepPath(run, x, y) : linePath(run, x, y))).join("");
}
