// The slots of the replay: how they are unpacked, and how a stretch of them becomes one bucket of a chart.
const report = JSON.parse(document.getElementById("series").textContent);

// "12,-3,,x": differences from the last known value, in units of 1/scale; empty is "the same", x is "not known".
function unpack(text, scale) {
  const values = [];
  if (text === "") return values;
  let last = 0;
  for (const token of text.split(",")) {
    if (token === "x") {
      values.push(null);
    } else {
      last += token === "" ? 0 : parseInt(token, 10);
      values.push(last / scale);
    }
  }
  return values;
}

const slots = { from: [], to: [] };
for (const [start, step, count] of report.runs) {
  for (let i = 0; i < count; i++) {
    slots.from.push(start + i * step);
    slots.to.push(start + (i + 1) * step);
  }
}
for (const [name, scale] of Object.entries(report.scales)) slots[name] = unpack(report[name], scale);

const COUNT = slots.from.length;
const BEGIN = COUNT ? slots.from[0] : 0;
const END = COUNT ? slots.to[COUNT - 1] : 0;
const edges = (starts) => [...starts.map((index) => slots.from[index]), END];
// Where local days, Monday weeks and months begin, in seconds since 1970; the last entry is the end of the replay.
const CALENDAR = { day: edges(report.days), week: edges(report.weeks), month: edges(report.months) };

// The index of the last entry of a sorted list that is not above the value; -1 when all are.
function before(sorted, value) {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= value) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

// What happened in the slots first..last: means over time, extremes, energies, and the values at the end.
function bucket(first, last) {
  const told = {
    from: slots.from[first], to: slots.to[last], slots: last - first + 1,
    price: null, priceMin: null, priceMax: null, soc: null, socMin: null, socMax: null,
    charge: null, discharge: null, bought: 0, sold: 0, profit: null, earned: null,
  };
  let priced = 0;
  let powered = 0;
  for (let i = first; i <= last; i++) {
    const hours = (slots.to[i] - slots.from[i]) / 3600;
    const [price, power, soc, profit] = [slots.price[i], slots.power[i], slots.soc[i], slots.profit[i]];
    if (price !== null) {
      priced += hours;
      told.price += price * hours;
      told.priceMin = told.priceMin === null ? price : Math.min(told.priceMin, price);
      told.priceMax = told.priceMax === null ? price : Math.max(told.priceMax, price);
    }
    if (power !== null) {
      powered += hours;
      if (power < 0) told.bought -= power * hours;
      else told.sold += power * hours;
    }
    if (soc !== null) {
      told.soc = soc;
      told.socMin = told.socMin === null ? soc : Math.min(told.socMin, soc);
      told.socMax = told.socMax === null ? soc : Math.max(told.socMax, soc);
    }
    if (profit !== null) told.profit = profit;
  }
  if (priced) told.price /= priced;
  if (powered) {
    told.charge = -told.bought / powered;
    told.discharge = told.sold / powered;
  }
  if (told.profit !== null) {
    let earlier = first - 1;
    while (earlier >= 0 && slots.profit[earlier] === null) earlier--;
    told.earned = told.profit - (earlier >= 0 ? slots.profit[earlier] : 0);
  }
  return told;
}

// What one point of a chart may stand for, finest first.
const LEVELS = [
  { name: "slot" },
  { name: "hour", seconds: 3600 },
  { name: "3 hours", seconds: 3 * 3600 },
  { name: "day", seconds: 86400 },
  { name: "week", seconds: 7 * 86400 },
];

function level(from, to, room) {
  const most = Math.max(room, 1);
  const inside = Math.max(before(slots.from, to - 1) - Math.max(before(slots.from, from), 0) + 1, 1);
  if (inside <= most) return LEVELS[0];
  return LEVELS.slice(1).find((one) => (to - from) / one.seconds <= most) ?? LEVELS[LEVELS.length - 1];
}

// The buckets that a window touches. Hours are counted from local midnight, so that days of 23 and 25 hours stay whole.
function buckets(from, to, { name, seconds }) {
  const first = Math.max(before(slots.from, from), 0);
  const last = before(slots.from, to - 1);
  const found = [];
  const groupOf = (index) => {
    if (name === "slot") return index;
    if (name === "week") return before(CALENDAR.week, slots.from[index]);
    const day = before(CALENDAR.day, slots.from[index]);
    if (name === "day") return day;
    return day * 100 + Math.floor((slots.from[index] - CALENDAR.day[day]) / seconds);
  };
  let start = first;
  let group = COUNT ? groupOf(first) : 0;
  while (start > 0 && name !== "slot" && groupOf(start - 1) === group) start--;
  for (let i = start + 1; i <= COUNT; i++) {
    const next = i < COUNT ? groupOf(i) : null;
    if (next === group) continue;
    found.push(bucket(start, i - 1));
    if (i > last) break;
    start = i;
    group = next;
  }
  return found;
}
