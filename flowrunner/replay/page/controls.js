// Around the charts: readouts, calendar buttons, the range bar, keys, links of the tables, theme, print.
const $ = (id) => document.getElementById(id);
const readouts = Object.fromEntries(LANES.map((lane) => [lane.dataset.lane, lane.querySelector(".readout")]));
const pill = $("pill");
let pointed = null; // the bucket under the cursor

// ---- readouts -------------------------------------------------------------------------------------------------

const word = (text, kind) => Object.assign(document.createElement("span"), { textContent: text, className: kind ?? "" });
const power = (value) => {
  if (value > 0) return word(`↑ ${figure(value, 2)} discharging`, "di");
  if (value < 0) return word(`↓ ${figure(-value, 2)} charging`, "ch");
  return word("0.00 idle");
};
const WORDS = {
  price(one) {
    if (one.price === null) return [word("not known")];
    if (one.slots === 1) return [word(figure(one.price, 2))];
    return [word(`${figure(one.priceMin, 2)} to ${figure(one.priceMax, 2)}`), word(`mean ${figure(one.price, 2)}`)];
  },
  power(one) {
    if (one.charge === null) return [word("not known")];
    if (one.slots === 1) return [power(one.charge + one.discharge)];
    const [bought, sold] = [figure(one.bought, 2), figure(one.sold, 2)];
    return [word(`↓ ${bought} MWh charged`, "ch"), word(`↑ ${sold} MWh discharged`, "di")];
  },
  soc(one) {
    if (one.soc === null) return [word("not known")];
    if (one.slots === 1) return [word(figure(one.soc, 1))];
    return [word(`${figure(one.socMin, 1)} to ${figure(one.socMax, 1)}`), word(`at the end ${figure(one.soc, 1)}`)];
  },
  profit(one) {
    if (one.profit === null) return [word("not known")];
    return [word(figure(one.profit, 2)), word(`change ${figure(one.earned, 2, "exceptZero")}`)];
  },
};

function read(one) {
  for (const [lane, place] of Object.entries(readouts)) place.replaceChildren(...(one ? WORDS[lane](one) : []));
}

const whole = () => {
  const last = before(slots.from, shown.to - 1);
  return last < 0 ? null : bucket(Math.max(before(slots.from, shown.from), 0), last);
};

function point(one, left) {
  pointed = one;
  read(one ?? whole());
  pill.hidden = !one;
  PLOTS.classList.toggle("hovered", one !== null);
  if (!one) return;
  pill.textContent = stretch(one.from, one.to);
  const axis = charts[0].over.offsetLeft;
  const half = pill.offsetWidth / 2;
  pill.style.left = `${Math.min(Math.max(axis + left, half), PLOTS.clientWidth - half)}px`;
}

watchers.hover.push((cursor) => {
  const found = cursor && shown.buckets.find((one) => one.from <= cursor.at && cursor.at < one.to);
  point(found || null, cursor?.left);
});

// ---- the calendar: all, months, weeks, days, one before and one after -----------------------------------------

const unitOf = () => {
  if (shown.from === BEGIN && shown.to === END) return "all";
  const begins = (marks) => marks.indexOf(shown.from);
  return ["day", "week", "month"].find((unit) => {
    const at = begins(CALENDAR[unit]);
    return at >= 0 && CALENDAR[unit][at + 1] === shown.to;
  });
};

function open(unit, at) {
  if (unit === "all") return show(BEGIN, END);
  const index = Math.min(Math.max(before(CALENDAR[unit], at), 0), CALENDAR[unit].length - 2);
  return show(CALENDAR[unit][index], CALENDAR[unit][index + 1]);
}

function turn(direction) {
  const unit = unitOf();
  if (unit && unit !== "all") return open(unit, direction > 0 ? shown.to : shown.from - 1);
  const span = shown.to - shown.from;
  return show(shown.from + direction * span, shown.to + direction * span);
}

const units = [...document.querySelectorAll("[data-unit]")];
for (const button of units) {
  button.addEventListener("click", () => open(button.dataset.unit, pointed?.from ?? (unitOf() === "all" ? END - 1 : shown.from)));
}
$("earlier").addEventListener("click", () => turn(-1));
$("later").addEventListener("click", () => turn(1));

for (const link of document.querySelectorAll("a[data-from]")) {
  link.addEventListener("click", (event) => {
    event.preventDefault();
    show(Number(link.dataset.from), Number(link.dataset.to));
    $("charts").scrollIntoView();
    PLOTS.focus({ preventScroll: true });
  });
}

watchers.select.push(({ from, to }) => {
  const first = shown.buckets.find((one) => one.to > from);
  const last = shown.buckets.findLast((one) => one.from < to);
  if (first && last) show(first.from, last.to);
});
watchers.reset.push(() => show(BEGIN, END));

// ---- the range bar ----------------------------------------------------------------------------------------------

const bar = $("range");
const frame = $("frame");
const handles = { from: $("frame-from"), to: $("frame-to") };
const share = (seconds) => (seconds - BEGIN) / (END - BEGIN);
const nearestDay = (seconds) => {
  const index = before(CALENDAR.day, seconds);
  const [low, high] = [CALENDAR.day[Math.max(index, 0)], CALENDAR.day[Math.min(index + 1, CALENDAR.day.length - 1)]];
  return seconds - low < high - seconds ? low : high;
};

function frameIt() {
  frame.style.left = `${share(shown.from) * 100}%`;
  frame.style.width = `${(share(shown.to) - share(shown.from)) * 100}%`;
  for (const [end, handle] of Object.entries(handles)) {
    const at = CALENDAR.day.length - 1 ? before(CALENDAR.day, shown[end]) : 0;
    handle.setAttribute("aria-valuemax", String(CALENDAR.day.length - 1));
    handle.setAttribute("aria-valuenow", String(at));
    handle.setAttribute("aria-valuetext", DAY(end === "to" ? shown.to - 1 : shown.from));
  }
}

bar.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  const box = bar.getBoundingClientRect();
  const at = (move) => BEGIN + Math.min(Math.max((move.clientX - box.left) / box.width, 0), 1) * (END - BEGIN);
  const begin = { at: at(event), ...shown };
  const grip = Object.keys(handles).find((end) => handles[end].contains(event.target));
  if (!grip && !frame.contains(event.target)) {
    const span = Math.min(shown.to - shown.from, (END - BEGIN) / 12);
    show(begin.at - span / 2, begin.at + span / 2);
    Object.assign(begin, shown);
  }
  bar.setPointerCapture(event.pointerId);
  const move = (moved) => {
    const there = at(moved);
    if (grip === "from") show(Math.min(nearestDay(there), begin.to - 3600), begin.to);
    else if (grip === "to") show(begin.from, Math.max(nearestDay(there), begin.from + 3600));
    else show(begin.from + there - begin.at, begin.to + there - begin.at);
  };
  bar.addEventListener("pointermove", move);
  const release = () => bar.removeEventListener("pointermove", move);
  bar.addEventListener("pointerup", release, { once: true });
  bar.addEventListener("pointercancel", release, { once: true });
});
bar.addEventListener("dblclick", () => show(BEGIN, END));

for (const [end, handle] of Object.entries(handles)) {
  handle.addEventListener("keydown", (event) => {
    const days = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -7, PageUp: 7 }[event.key];
    const edge = { Home: end === "from" ? BEGIN : shown.from + 86400, End: end === "to" ? END : shown.to - 86400 };
    if (days === undefined && !(event.key in edge)) return;
    event.preventDefault();
    event.stopPropagation();
    const index = before(CALENDAR.day, shown[end]) + (days ?? 0);
    const there = edge[event.key] ?? CALENDAR.day[Math.min(Math.max(index, 0), CALENDAR.day.length - 1)];
    if (end === "from") show(Math.min(there, shown.to - 3600), shown.to);
    else show(shown.from, Math.max(there, shown.from + 3600));
  });
}

// ---- keys on the charts -------------------------------------------------------------------------------------------

function walk(by) {
  const at = pointed ? shown.buckets.findIndex((one) => one.from === pointed.from) : by > 0 ? -1 : shown.buckets.length;
  const next = shown.buckets[Math.min(Math.max(at + by, 0), shown.buckets.length - 1)];
  const seconds = (Math.max(next.from, shown.from) + Math.min(next.to, shown.to)) / 2;
  charts[0].setCursor({ left: charts[0].valToPos(seconds, "x"), top: 10 }, true, true);
  const parts = LANES.map((lane) => `${lane.dataset.said} ${readouts[lane.dataset.lane].textContent}`);
  $("said").textContent = `${pill.textContent}: ${parts.join(", ")}`;
}

function zoom(factor) {
  const center = pointed ? (pointed.from + pointed.to) / 2 : (shown.from + shown.to) / 2;
  const span = (shown.to - shown.from) * factor;
  show(center - span / 2, center + span / 2);
}

const KEYS = {
  ArrowLeft: (event) => (event.shiftKey ? turn(-1) : walk(-1)),
  ArrowRight: (event) => (event.shiftKey ? turn(1) : walk(1)),
  "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
  0: () => show(BEGIN, END), Escape: () => show(BEGIN, END), Home: () => show(BEGIN, END),
  d: () => open("day", pointed?.from ?? shown.from), w: () => open("week", pointed?.from ?? shown.from),
  m: () => open("month", pointed?.from ?? shown.from),
};
PLOTS.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key](event);
});

// ---- after every drawing ----------------------------------------------------------------------------------------

watchers.drawn.push(() => {
  $("window").textContent = stretch(shown.from, shown.to);
  const isAll = shown.from === BEGIN && shown.to === END;
  $("each").textContent = shown.level.name === "slot" ? "" : `mean power per ${shown.level.name}`;
  $("earlier").disabled = isAll || shown.from <= BEGIN;
  $("later").disabled = isAll || shown.to >= END;
  const unit = unitOf();
  for (const button of units) button.setAttribute("aria-pressed", String(button.dataset.unit === unit));
  frameIt();
  charts[0].setCursor({ left: -10, top: -10 }, true, true);
  point(null);
});

document.addEventListener("themed", repaint);
const PAPER = 690; // what A4 leaves between its margins; type on the axes stays as large as that of the tables
addEventListener("beforeprint", () => fit(() => PAPER, 0.66));
addEventListener("afterprint", () => fit((lane) => lane.clientWidth));
root.classList.add("live"); // from here on the drawn overview gives way to the charts
start();
draw();
