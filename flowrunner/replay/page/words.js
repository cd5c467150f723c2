// How times and figures are written: in the flow's zone, with a real minus, with as many digits as they carry.
const ZONE = (() => {
  try {
    new Intl.DateTimeFormat("en-GB", { timeZone: report.zone });
    return report.zone;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return "UTC"; // a browser whose zone list is older than the flow's; the readout then says UTC
  }
})();

const written = (options) => {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, hourCycle: "h23", ...options });
  return (seconds) => format.format(new Date(seconds * 1000)).replace(",", "").replace("Sept", "Sep");
};
const DAY = written({ weekday: "short", day: "numeric", month: "short", year: "numeric" });
const DATE = written({ day: "numeric", month: "short", year: "numeric" });
const WEEKDAY = written({ weekday: "short", day: "numeric", month: "short" });
const MONTH = written({ month: "short" });
const YEAR = written({ year: "numeric" });
const DAY_MONTH = written({ day: "numeric", month: "short" });
const CLOCK = written({ hour: "2-digit", minute: "2-digit" });
const ZONE_NAME = (() => {
  const format = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, timeZoneName: "short" });
  return (seconds) => format.formatToParts(new Date(seconds * 1000)).find((part) => part.type === "timeZoneName").value;
})();

const isMidnight = (seconds) => CALENDAR.day.includes(seconds) || CLOCK(seconds) === "00:00";

// A stretch of time in words: "Tue 5 Mar 2024 18:00–19:00 CET", "Tue 5 Mar 2024", "4 – 10 Mar 2024".
function stretch(from, to) {
  const last = to - 1;
  if (isMidnight(from) && isMidnight(to)) {
    if (DAY(from) === DAY(last)) return DAY(from);
    return `${YEAR(from) === YEAR(last) ? DAY_MONTH(from) : DATE(from)} – ${DATE(last)}`;
  }
  if (DAY(from) === DAY(last)) {
    const zones = [ZONE_NAME(from), ZONE_NAME(to)];
    const [first, second] = zones[0] === zones[1] ? ["", zones[0]] : [` ${zones[0]}`, zones[1]];
    return `${DAY(from)} ${CLOCK(from)}${first}–${isMidnight(to) ? "24:00" : CLOCK(to)} ${second}`;
  }
  return `${DAY_MONTH(from)} ${CLOCK(from)} – ${DATE(to)} ${CLOCK(to)}`;
}

const formats = new Map();
function figure(value, digits, sign = "auto") {
  const key = `${digits}${sign}`;
  if (!formats.has(key)) {
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: sign };
    formats.set(key, new Intl.NumberFormat("en-GB", options));
  }
  const text = formats.get(key).format(value).replace("-", "−");
  return /[1-9]/.test(text) ? text : text.replace("−", "");
}
