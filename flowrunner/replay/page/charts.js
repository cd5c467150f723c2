// The four charts: one uPlot each, one time axis, one cursor. A point is a bucket of slots, wide enough to be seen.

// ---- what each lane shows ---------------------------------------------------------------------------------

const stroke = (name) => () => inks[name];
const ends = (one) => one.to;
const middle = (one) => (one.from + one.to) / 2;
const padded = (low, high) => {
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return [low < 0 ? low - room : low, high > 0 ? high + room : high];
};
const KINDS = {
  price: {
    height: 172, at: middle,
    range: (u, low, high) => (low === null ? [0, 100] : padded(Math.min(low, 0), Math.max(high, 0))),
    series: [
      { field: "priceMin", paths: () => drawn(null, null) },
      { field: "priceMax", paths: spread("priceMin", "priceMax"), fill: () => faint("ink", 0.14) },
      { field: "price", paths: steps("price"), stroke: stroke("ink"), width: 1.5, point: true },
    ],
  },
  power: {
    height: 120, space: 22, at: middle,
    range: (u, low, high) => {
      const most = Math.max(Math.abs(low ?? 0), Math.abs(high ?? 0)) || report.power_mw || 1;
      return [-most * 1.12, most * 1.12];
    },
    series: [
      { field: "charge", paths: bars("charge"), fill: stroke("charge") },
      { field: "discharge", paths: bars("discharge"), fill: stroke("discharge") },
    ],
  },
  soc: {
    height: 116, at: ends, range: () => [0, 104], splits: () => [0, 25, 50, 75, 100],
    series: [
      { field: "socMin", paths: () => drawn(null, null) },
      { field: "socMax", paths: spread("socMin", "socMax"), fill: () => faint("accent", 0.22) },
      { field: "soc", paths: course("soc"), stroke: stroke("accent"), fill: () => faint("accent", 0.12), width: 1.5,
        point: true },
    ],
  },
  profit: {
    height: 150, at: ends,
    range: (u, low, high) => {
      if (low === null) return [0, 100];
      const opening = shown.from === BEGIN ? [Math.min(low, 0), Math.max(high, 0)] : [low, high];
      const room = (opening[1] - opening[0] || 10) * 0.08;
      return [opening[0] < 0 || shown.from !== BEGIN ? opening[0] - room : 0, opening[1] + room];
    },
    series: [{ field: "profit", paths: course("profit"), stroke: stroke("ink"), fill: () => faint("ink", 0.06),
      width: 1.5, point: true }],
  },
};

// ---- the time axis ------------------------------------------------------------------------------------------

const within = (marks) => marks.filter((at) => at >= shown.from && at <= shown.to);

function hours(each) {
  const found = [];
  for (const day of CALENDAR.day) {
    if (day >= shown.to || day + 90000 <= shown.from) continue;
    const next = CALENDAR.day[CALENDAR.day.indexOf(day) + 1] ?? END;
    for (let at = day; at < next; at += 3600) {
      if (parseInt(CLOCK(at), 10) % each === 0) found.push(at);
    }
  }
  return within(found);
}

// The densest marks that leave each label its room, as [instant, label].
function marks(width) {
  const room = Math.floor(width / 62);
  const span = shown.to - shown.from;
  const byHour = (at) => (isMidnight(at) ? WEEKDAY(at) : CLOCK(at));
  const byMonth = (at) => (MONTH(at) === "Jan" ? `${MONTH(at)} ${YEAR(at)}` : MONTH(at));
  const months = CALENDAR.month.slice(0, -1);
  for (const each of [1, 2, 3, 6, 12]) {
    if (span / 3600 / each <= room) return hours(each).map((at) => [at, byHour(at)]);
  }
  const days = within(CALENDAR.day.slice(0, -1));
  if (days.length <= room) return days.map((at) => [at, WEEKDAY(at)]);
  const weeks = within(CALENDAR.week.slice(0, -1));
  if (weeks.length <= room) return weeks.map((at) => [at, DAY_MONTH(at)]);
  for (const each of [1, 2, 3, 6, 12]) {
    const found = within(months.filter((at) => (parseInt(MONTH_NUMBER(at), 10) - 1) % each === 0));
    if (found.length <= room || each === 12) return found.map((at) => [at, byMonth(at)]);
  }
  return [];
}
const MONTH_NUMBER = written({ month: "numeric" });
const timeline = () => marks(charts[0]?.over.clientWidth || PLOTS.clientWidth - 60);

// ---- the charts themselves ------------------------------------------------------------------------------------

const charts = [];
const axisRoom = (index) => (index === LANES.length - 1 ? 26 : 0); // only the lowest has the hours and days
const watchers = { hover: [], select: [], reset: [], drawn: [] };
const tell = (what, value) => watchers[what].forEach((watcher) => watcher(value));
let chosen = false; // one drag is told by every chart that shows it; the first one counts

function options(lane, index) {
  const kind = KINDS[lane.dataset.lane];
  const isLast = axisRoom(index) > 0;
  const axis = { stroke: stroke("ink-3"), font: FONT, ticks: { show: false } };
  const grid = { stroke: stroke("grid"), width: 1 };
  return {
    width: lane.clientWidth, height: kind.height + axisRoom(index), padding: [8, 8, isLast ? 0 : 6, 0],
    legend: { show: false },
    scales: { x: { time: true, auto: false, range: () => [shown.from, shown.to] }, y: { range: kind.range } },
    axes: [
      { ...axis, grid, size: axisRoom(index), gap: 8, splits: () => timeline().map(([at]) => at),
        values: () => timeline().map(([, label]) => (isLast ? label : null)) },
      { ...axis, grid, size: 56, gap: 8, space: kind.space ?? 30, ...(kind.splits ? { splits: kind.splits } : {}),
        values: (u, found) => found.map((value) => tick(value, found)) },
    ],
    series: [{}, ...kind.series.map((one) => ({ paths: one.paths, stroke: one.stroke, fill: one.fill, width: one.width,
      points: { show: false } }))],
    cursor: {
      y: false,
      points: { stroke: () => inks.surface, fill: (u, i) => u.series[i].stroke(u, i),
        show: (u, i) => (kind.series[i - 1].point ? document.createElement("i") : null) },
      dataIdx: (u, i, closest, at) => {
        const found = shown.buckets.findIndex((one) => one.from <= at && at < one.to);
        return found < 0 ? null : found;
      },
      drag: { x: true, y: false, setScale: false, dist: 4 },
      sync: { key: "replay", setSeries: false, scales: ["x", null] },
      bind: { dblclick: () => () => tell("reset") },
    },
    hooks: {
      drawAxes: [(u) => {
        const zero = Math.round(u.valToPos(0, "y", true)) + 0.5;
        if (u.scales.y.min > 0 || u.scales.y.max < 0) return;
        u.ctx.save();
        u.ctx.strokeStyle = inks["line-2"];
        u.ctx.lineWidth = Math.max(1, devicePixelRatio);
        u.ctx.beginPath();
        u.ctx.moveTo(u.bbox.left, zero);
        u.ctx.lineTo(u.bbox.left + u.bbox.width, zero);
        u.ctx.stroke();
        u.ctx.restore();
      }],
      setCursor: [(u) => {
        const at = u.cursor.left < 0 ? null : u.posToVal(u.cursor.left, "x");
        if (u === charts[0]) tell("hover", at === null ? null : { at, left: u.cursor.left });
      }],
      setSelect: [(u) => {
        if (chosen || u.select.width < 4) return;
        chosen = true;
        const from = u.posToVal(u.select.left, "x");
        const to = u.posToVal(u.select.left + u.select.width, "x");
        queueMicrotask(() => {
          chosen = false;
          for (const chart of charts) chart.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          tell("select", { from, to });
        });
      }],
    },
  };
}

// As many digits as all marks of the axis need.
function tick(value, found) {
  const exact = (digits) => found.every((one) => Math.abs(one * 10 ** digits - Math.round(one * 10 ** digits)) < 1e-6);
  return figure(value, [0, 1, 2].find(exact) ?? 3);
}

function columns(lane) {
  const kind = KINDS[lane.dataset.lane];
  const columns = kind.series.map(({ field }) => shown.buckets.map((one) => one[field]));
  return [shown.buckets.map(kind.at), ...columns];
}

function draw() {
  const room = (charts[0]?.over.clientWidth || LANES[0].clientWidth - 64) / 2.4;
  shown.level = level(shown.from, shown.to, room);
  shown.buckets = buckets(shown.from, shown.to, shown.level);
  LANES.forEach((lane, index) => {
    const chart = charts[index];
    chart.batch(() => {
      chart.setData(columns(lane), false);
      chart.setScale("x", { min: shown.from, max: shown.to });
    });
  });
  tell("drawn");
}

// From where to where the charts show; bounded by the replay, at least four slots wide.
function show(from, to) {
  const finest = report.runs.length ? Math.min(...report.runs.map((run) => run[1])) : 3600;
  const span = Math.min(Math.max(to - from, 4 * finest), END - BEGIN);
  shown.from = Math.min(Math.max(from, BEGIN), END - span);
  shown.to = shown.from + span;
  draw();
}

function repaint() {
  readInks();
  draw();
}

function fit(widthOf, share = 1) {
  LANES.forEach((lane, index) => {
    const chart = charts[index];
    const height = KINDS[lane.dataset.lane].height * share + axisRoom(index);
    chart.batch(() => chart.setSize({ width: widthOf(lane), height }));
  });
  draw();
}

function start() {
  shown.level = LEVELS[LEVELS.length - 1];
  shown.buckets = buckets(BEGIN, END, shown.level);
  LANES.forEach((lane, index) => {
    charts.push(new uPlot(options(lane, index), columns(lane), lane.querySelector(".plot")));
  });
  uPlot.sync("replay");
  let width = PLOTS.clientWidth;
  new ResizeObserver(() => {
    if (PLOTS.clientWidth === width || matchMedia("print").matches) return;
    width = PLOTS.clientWidth;
    fit((lane) => lane.clientWidth);
  }).observe(PLOTS);
}
