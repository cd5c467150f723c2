// The live stream of this tab: one connection, applied to `live.nodes` and `live.values`; pages only read these.
// Closed while the tab is hidden, opened again with a snapshot; silence of 2.5 s is a lost connection.

const SILENCE_MS = 2500, FIRST_MS = 1500, LOOK_MS = 250, WAITS_S = [0, 1, 2, 3, 5];
const LEAP_MS = 2000;
/** The server's clock seems that much different: it was set, or this machine has slept. */

class Live {
  constructor() {
    /** `connected` is null until the first try has come to something; instants are of this browser's Date.now(). */
    this.state = {connected: null, paused: false, since: Date.now(), attempt: 0, next_at: null, last_at: null, refused: null};
    this.nodes = new Map(); // "flow/id" → {state, connected, received, sent, errors, dropped, inbox, last_at, last, last_error}
    this.values = new Map(); // "flow/id|port|field" → {value, at, received_at, source, origin, quality, unit, stale, reason, until, key}
    this.sites = new Map(); // the same name → Map of key → the newest row of that site or device
    this.names = [];
    this.watches = [];
    this.keys = [];
    this.status = null;
    this.hz = 10;
    this.generation = null;
    this.seq = -1;
    this.tapped = null;
    this.handlers = {snapshot: [], delta: [], state: [], tap: []};
    this.offset = null;
    this.speed = 1; // of the flow's time: a simulated world may run faster
    this.stream = null;
    this.timer = null;
    this.started = false;
  }

  /** `fn(frame)` for "snapshot" and "delta" (with `frame.touched` = {nodes: addresses, values: keys}), `fn(state)`,
   * `fn(message)` for "tap". What it throws is reported and ends nothing. */
  on(event, fn) {
    this.handlers[event].push(fn);
    return () => { this.handlers[event] = this.handlers[event].filter((one) => one !== fn); };
  }

  /** Begin; safe to repeat. */
  start() {
    if (this.started) return;
    this.started = true;
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#pause() : this.#resume()));
    addEventListener("online", () => this.retry());
    addEventListener("pagehide", () => this.#end());
    addEventListener("pageshow", (event) => { if (event.persisted) this.#resume(); });
    setInterval(() => this.#look(), LOOK_MS);
    if (document.hidden) this.#pause();
    else this.#open();
  }

  /** Try now, while it is disconnected. */
  retry() {
    if (this.started && !this.state.paused && this.state.connected === false) this.#open();
  }

  /** Whose messages are sent along: an address, several, or null. */
  tap(address) {
    const wanted = address === null || address === undefined || address.length === 0 ? null : String(address);
    if (wanted === this.tapped) return;
    this.tapped = wanted;
    if (this.started && !this.state.paused && this.state.connected !== false) this.#open();
  }

  /** The flow's time in milliseconds, as far as it is known here. */
  now() {
    return this.offset === null ? Date.now() : performance.now() * this.speed + this.offset;
  }

  /** The flow's time at an instant of this browser's Date.now(). */
  at(instant) {
    return this.now() - (Date.now() - instant) * this.speed;
  }

  // ---- connection -------------------------------------------------------------------------------------------------

  #pause() {
    this.#end();
    clearTimeout(this.timer);
    this.#say({paused: true, next_at: null});
  }

  #resume() {
    if (!this.state.paused && this.stream) return;
    this.state.attempt = 0;
    this.#say({paused: false});
    this.#open();
  }

  #end() {
    const {stream} = this;
    this.stream = null;
    stream?.abort.abort();
  }

  async #open() {
    clearTimeout(this.timer);
    this.#end();
    const stream = {abort: new AbortController(), heard: performance.now(), began: false};
    this.stream = stream;
    this.state.attempt += 1;
    this.#say({next_at: null});
    try {
      const answer = await fetch(`/api/v1/live${this.tapped ? `?tap=${this.tapped.split(",").map(encodeURIComponent).join(",")}` : ""}`, {
        signal: stream.abort.signal, cache: "no-store", headers: {accept: "text/event-stream"},
      });
      if (stream !== this.stream) return;
      if (!answer.ok) throw new Refused(answer.status, await detail(answer));
      await this.#read(stream, answer.body.pipeThrough(new TextDecoderStream()).getReader());
      throw new Ended("the stream has ended");
    } catch (error) {
      if (stream !== this.stream) return; // another one has taken its place
      this.#end();
      if (error instanceof Refused && error.status === 401) return location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
      if (error instanceof Refused && error.status === 404 && this.tapped) { // what was tapped does not run any more
        this.tapped = null;
        return this.#open();
      }
      if (!(error instanceof Ended || error instanceof Refused || error instanceof TypeError || error.name === "AbortError")) reportError(error);
      this.#lost(stream.began, error instanceof Refused ? error : null);
    }
  }

  async #read(stream, reader) {
    let text = "";
    for (;;) {
      const {done, value} = await reader.read();
      if (done || stream !== this.stream) return;
      stream.heard = performance.now();
      text += value;
      const events = text.split("\n\n");
      text = events.pop();
      for (const one of events) {
        this.#take(one, stream);
        if (stream !== this.stream) return;
      }
    }
  }

  /** A stream that has told something may be cut for a moment: that is said only when it does not come back at once. */
  #lost(began, refused) {
    if (began) this.state.attempt = 0;
    const wait = WAITS_S[Math.min(this.state.attempt, WAITS_S.length - 1)] * 1000;
    if (!began || wait) this.#away({refused: refused && {status: refused.status, detail: refused.message}});
    if (!wait) return void this.#open();
    const jitter = 0.9 + Math.random() * 0.2; // all pages of a server that comes back do not ask in the same moment
    this.timer = setTimeout(() => this.#open(), wait * jitter);
    this.#say({next_at: Date.now() + wait * jitter});
  }

  #away(more = {}) {
    const was = this.state.connected;
    this.#say({connected: false, since: was === false ? this.state.since : this.state.last_at ?? this.state.since, ...more});
  }

  #look() {
    const {stream} = this;
    if (!stream || this.state.paused) return;
    const silent = performance.now() - stream.heard;
    if (silent > (stream.began || this.state.connected !== true ? SILENCE_MS : FIRST_MS)) {
      this.#end();
      this.state.attempt = Math.max(this.state.attempt, 1);
      this.#lost(false, null);
    }
  }

  #say(changed) {
    const before = JSON.stringify(this.state);
    Object.assign(this.state, changed);
    if (JSON.stringify(this.state) !== before) this.#tell("state", this.state);
  }

  #tell(event, told) {
    for (const fn of this.handlers[event]) {
      try {
        fn(told);
      } catch (error) {
        reportError(error);
      }
    }
  }

  // ---- frames -------------------------------------------------------------------------------------------------------

  #take(text, stream) {
    let event = "message", data = "";
    for (const line of text.split("\n")) {
      if (line.startsWith("event:")) event = line.slice(6).trim();
      else if (line.startsWith("data:")) data += line.slice(line[5] === " " ? 6 : 5);
    }
    if (!data) return;
    const told = JSON.parse(data);
    if (event === "tap") return this.#tell("tap", told);
    if (event === "snapshot") this.#snapshot(told);
    else if (event === "delta") { if (!stream.began) return; }
    else return;
    stream.began = true;
    this.#clock(told.at, event === "snapshot");
    this.seq = told.seq;
    if (told.status) this.status = told.status;
    told.touched = {
      nodes: apply(this.nodes, this.names, told.nodes),
      values: applyValues(this.values, this.sites, this.keys, told.values),
    };
    this.state.last_at = Date.now();
    this.state.attempt = 0;
    if (this.state.connected !== true) this.#say({connected: true, since: Date.now(), next_at: null, refused: null});
    this.#tell(event, told);
  }

  #snapshot(told) {
    this.hz = told.hz ?? this.hz;
    this.speed = told.speed ?? 1;
    this.generation = told.generation;
    this.names = told.names;
    this.watches = told.watches;
    this.keys = told.watches.map(keyOf);
    const keys = new Set(this.keys), names = new Set(told.names);
    for (const one of this.nodes.keys()) if (!names.has(one)) this.nodes.delete(one);
    for (const one of this.values.keys()) if (!keys.has(one)) this.values.delete(one);
    this.sites.clear();
  }

  /** Frames come late, never early: of all differences the largest is nearest to the truth. */
  #clock(at, anew) {
    const offset = at - performance.now() * this.speed;
    if (anew || this.offset === null || offset > this.offset || this.offset - offset > LEAP_MS * this.speed) this.offset = offset;
  }
}

class Ended extends Error {}
class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function detail(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).detail ?? "";
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return ""; // not ours: a proxy's page
  }
}

/** The key of `live.values`. */
export const keyOf = ([address, port, field]) => `${address}|${port ?? "out"}|${field ?? ""}`;

/** Columns into rows; without `i` they are of all. Which ones were touched. */
function apply(rows, names, columns) {
  if (!columns) return [];
  const {i, ...rest} = columns, touched = [];
  const order = i ?? names.map((_, index) => index);
  for (let n = 0; n < order.length; n += 1) {
    const name = names[order[n]];
    let row = rows.get(name);
    if (!row) rows.set(name, row = {});
    for (const key in rest) row[key] = rest[key][n];
    touched.push(name);
  }
  return touched;
}

/** The same of values: each of their rows is whole. Of one with several keys there are several; the last is the newest. */
function applyValues(rows, sites, names, columns) {
  if (!columns) return [];
  const {i, ...rest} = columns, touched = new Set(), order = i ?? names.map((_, index) => index);
  for (let n = 0; n < order.length; n += 1) {
    const name = names[order[n]], row = {};
    for (const key in rest) row[key] = rest[key][n];
    rows.set(name, row);
    if (!sites.has(name)) sites.set(name, new Map());
    const of = sites.get(name);
    if (row.key) of.delete(""); // until now there was no value
    of.set(row.key, row);
    touched.add(name);
  }
  return [...touched];
}

export const live = new Live();
