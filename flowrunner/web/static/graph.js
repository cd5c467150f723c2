// The picture of a flow: boxes and wires where the server put them, as SVG; only what is on screen is in the document.

import {h, set} from "./dom.js";
import {Box} from "./graph_box.js";

const MOST_MOVING = 40, EDGE = 28, FOOT = 44, NEAR = 0.42, TINY = 0.26, BEYOND = 200, REST_MS = 140, LEAST = 0.08, MOST = 2.5, STEP = 1.25, CLICK_PX = 5, KEY_PAN = 80, LEGIBLE = 0.72, PACE_MS = 80, DASH = 12;
/** Pixels that the dashes of busy wires go on in a second, and those of wires with little to do. */
const QUICK = 20, SLOW = 8;
export class Graph {
  /** `open(name)`: a node was chosen; `covered()`: pixels at the right end that something else lies over. */
  constructor(element, {icons, open, covered}) {
    Object.assign(this, {element, icons, open, covered, view: {x: 0, y: 0, k: 1}, size: {width: 0, height: 0}, current: null, opened: null, free: false, frame: 0, pointers: new Map()});
    // Three sheets: what moves is painted anew in each frame, and must not take boxes and wires with it.
    [this.wires, this.flowing, this.boxes] = ["ws", "fs", "ns"].map((name) => h("g", {class: name}));
    this.sheets = [this.wires, this.flowing, this.boxes];
    this.world = h("div", {class: "world"}, this.sheets.map((one) => h("svg", {class: "g"}, one)));
    [this.quick, this.slow] = [h("g"), h("g")];
    element.append(this.world);
    this.corner = {x: 0, y: 0, asked: -Infinity};
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    setInterval(() => this.#pace(), PACE_MS);
    this.drawn = {...this.view};
    this.idle = 0;
    this.#listen();
  }

  /** Draw another picture; who is current stays so, where it is still there. */
  take(layout) {
    this.layout = layout;
    this.readers = new Set(layout.wires.map((one) => one.to));
    for (const one of this.sheets) one.replaceChildren();
    for (const one of [this.quick, this.slow]) one.replaceChildren();
    this.flowing.append(this.quick, this.slow);
    this.nodes = layout.nodes.map((place, index) => new Box(this, place, index));
    this.named = new Map(this.nodes.map((one) => [one.name, one]));
    this.lines = layout.wires.map((wire) => ({wire, shown: false, element: null, moving: null, rate: 0, tone: ""}));
    if (!this.named.has(this.current)) this.current = null;
    if (!this.free) this.fit();
    this.#paint();
  }

  // ---- what is known of nodes and wires ---------------------------------------------------------------------------

  say(name, facts) {
    const node = this.named.get(name);
    if (!node) return;
    node.facts = facts;
    if (node.shown && !this.going) node.draw();
  }

  /** `rate(wire)`: messages per second; `tone(wire)`: "st" where it brings nothing good. */
  pulse(rate, tone) {
    for (const line of this.lines) {
      line.rate = rate(line.wire);
      line.tone = tone(line.wire);
      if (line.element) this.#dress(line);
    }
    if (!this.going) this.#move();
  }

  #dress(line) {
    const {wire} = line, touched = this.current && (wire.from === this.current || wire.to === this.current);
    set(line.element, {class: `${wire.apart ? "ee" : "e"} ${line.tone} ${touched ? "near" : ""}`, "stroke-width": wire.apart ? 1 : (1.25 + Math.min(Math.log10(1 + line.rate * 9), 2)).toFixed(2)});
  }

  /** The busiest wires on screen move; more than some would be noise, and work. */
  #move() {
    const busy = this.lines.filter((one) => one.shown && one.rate > 0 && !one.wire.apart && one.tone !== "st");
    const chosen = new Set(busy.sort((one, other) => other.rate - one.rate).slice(0, MOST_MOVING));
    for (const line of this.lines) {
      if (chosen.has(line) && !line.moving) {
        line.moving = h("path", {class: "ed", d: line.wire.d});
      } else if (!chosen.has(line) && line.moving) {
        line.moving.remove();
        line.moving = null;
      }
      const lane = line.rate < 0.5 ? this.slow : this.quick;
      if (line.moving && line.moving.parentNode !== lane) lane.append(line.moving);
    }
  }

  /** Dashes go on twelve times a second, by a property that all of them inherit: an animation of each would have the
   * whole page styled and painted anew in every frame. Nothing goes on while the picture is moved, or nobody looks. */
  #pace() {
    if (this.going || this.still.matches || document.hidden || !this.size.width) return;
    const seconds = performance.now() / 1000;
    for (const [lane, speed] of [[this.quick, QUICK], [this.slow, SLOW]]) {
      if (lane.firstChild) lane.style.strokeDashoffset = (-(seconds * speed) % DASH).toFixed(1);
    }
  }

  // ---- where one looks --------------------------------------------------------------------------------------------

  #soon() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.#show(); });
  }

  /** While it moves, the sheets are shifted and stretched as they are; they are painted anew when it rests, or before
   * they would not reach or look coarse. */
  #show() {
    const {view, drawn} = this, by = view.k / drawn.k, x = view.x - drawn.x * by, y = view.y - drawn.y * by;
    const {width, height} = this.size, over = BEYOND * by;
    if (by > 1.6 || by < 0.7 || x > over || y > over || x + (width + BEYOND) * by < width || y + (height + BEYOND) * by < height) return this.#paint();
    if (by === 1 && x === 0 && y === 0) return;
    this.world.style.transform = `translate(${x.toFixed(2)}px,${y.toFixed(2)}px) scale(${by.toFixed(4)})`;
    this.going = true;
    clearTimeout(this.idle);
    this.idle = setTimeout(() => this.#paint(), REST_MS);
  }

  #paint() {
    clearTimeout(this.idle);
    const went = this.going;
    this.going = false;
    this.drawn = {...this.view};
    const {x, y, k} = this.view, {width, height} = this.size, {box_width: wide, box_height: high} = this.layout;
    this.world.style.transform = "";
    for (const one of this.sheets) set(one, {transform: `translate(${x.toFixed(2)} ${y.toFixed(2)}) scale(${k.toFixed(4)})`});
    this.world.classList.toggle("far", k < NEAR);
    this.world.classList.toggle("tiny", k < TINY);
    const left = (-BEYOND - x) / k, top = (-BEYOND - y) / k, right = (width + BEYOND - x) / k, bottom = (height + BEYOND - y) / k;
    for (const node of this.nodes) {
      const {place} = node, shown = place.x < right && place.x + wide > left && place.y < bottom && place.y + high > top;
      if (shown === node.shown) {
        if (shown && went) node.draw();
        continue;
      }
      node.shown = shown;
      if (!shown) { node.element.remove(); continue; }
      if (!node.element) node.build();
      node.draw();
      this.boxes.append(node.element);
    }
    let changed = false;
    for (const line of this.lines) {
      const [l, t, r, b] = line.wire.box, shown = l < right && r > left && t < bottom && b > top;
      if (shown === line.shown) continue;
      line.shown = changed = true;
      line.shown = shown;
      if (!shown) {
        line.element.remove();
        line.moving?.remove();
        line.moving = null;
        continue;
      }
      line.element ??= h("path", {d: line.wire.d});
      this.#dress(line);
      this.wires.append(line.element);
    }
    if (changed || went) this.#move();
  }

  resize() {
    const {clientWidth, clientHeight: height} = this.element, width = clientWidth - this.covered();
    if (width <= 0 || !height) return;
    const {size, view} = this;
    if (this.free && size.width) { view.x += (width - size.width) / 2; view.y += (height - size.height) / 2; }
    this.size = {width, height};
    if (!this.free && this.layout) {
      this.fit();
      if (this.current ?? this.opened) this.reveal(this.current ?? this.opened);
    }
    if (this.layout) this.#paint();
  }

  /** All of it, in the middle; a picture too wide to be read begins at its left end instead. */
  fit(whole = false) {
    const {width, height} = this.size, {layout} = this;
    if (!width || !layout.width) return;
    const all = Math.min((width - 2 * EDGE) / layout.width, (height - EDGE - FOOT) / layout.height, 1.15);
    const k = Math.max(all, whole ? LEAST : LEGIBLE);
    const over = layout.width * k > width - EDGE, high = layout.height * k > height - FOOT;
    this.view = {k, x: over ? EDGE : (width - layout.width * k) / 2, y: high ? EDGE : (height - FOOT + EDGE / 2 - layout.height * k) / 2};
    this.free = false;
    this.#soon();
  }

  zoom(factor, at = {x: this.size.width / 2, y: this.size.height / 2}) {
    const {view} = this, k = Math.min(Math.max(view.k * factor, LEAST), MOST), by = k / view.k;
    this.view = {k, x: at.x - (at.x - view.x) * by, y: at.y - (at.y - view.y) * by};
    this.free = true;
    this.#soon();
  }

  pan(x, y) {
    this.view.x += x;
    this.view.y += y;
    this.free = true;
    this.#soon();
  }

  /** Bring a node on screen, and no further than needed. */
  reveal(name) {
    const node = this.named.get(name);
    if (!node || !this.size.width) return;
    const {view, size, layout} = this, {x, y} = node.place;
    const left = view.x + x * view.k, top = view.y + y * view.k, wide = layout.box_width * view.k, high = layout.box_height * view.k;
    const within = (at, long, room) => (at < EDGE ? EDGE - at : at + long > room - EDGE ? room - EDGE - at - long : 0);
    const dx = within(left, wide, size.width), dy = within(top, high, size.height - FOOT + EDGE);
    if (dx || dy) { const {free} = this; this.pan(dx, dy); this.free = free; }
  }

  // ---- current and opened -----------------------------------------------------------------------------------------

  go(name, reveal = true) {
    const before = this.current;
    this.current = this.named.has(name) ? name : null;
    for (const one of [before, this.current]) { const node = this.named.get(one); if (node?.shown) node.draw(); }
    for (const line of this.lines) if (line.element) this.#dress(line);
    if (this.current) {
      this.element.setAttribute("aria-activedescendant", `n${this.named.get(this.current).index}`);
      if (reveal) this.reveal(this.current);
    } else this.element.removeAttribute("aria-activedescendant");
  }

  mark(name) {
    const before = this.opened;
    this.opened = name;
    for (const one of [before, name]) { const node = this.named.get(one); if (node?.shown) node.draw(); }
  }

  /** The neighbour that an arrow leads to: along a wire to the sides, in the column up and down. */
  #neighbour(key) {
    const from = this.named.get(this.current)?.place;
    if (!from) return this.nodes[0]?.name ?? null;
    const by = (list, how) => list.sort((one, other) => how(one) - how(other))[0]?.id ?? null;
    const wires = this.layout.wires, near = (one) => Math.abs(one.y - from.y) + Math.abs(one.x - from.x) / 4;
    if (key === "ArrowRight" || key === "ArrowLeft") {
      const on = key === "ArrowRight", ends = (apart) => wires.filter((one) => one.apart === apart && (on ? one.from : one.to) === from.id).map((one) => this.named.get(on ? one.to : one.from).place);
      return by(ends(false), near) ?? by(ends(true), near);
    }
    const down = key === "ArrowDown";
    const column = this.nodes.map((one) => one.place).filter((one) => one.id !== from.id && (down ? one.y > from.y : one.y < from.y));
    return by(column, (one) => Math.abs(one.y - from.y) + Math.abs(one.x - from.x) * 3);
  }

  // ---- hands --------------------------------------------------------------------------------------------------------

  #listen() {
    const {element, pointers} = this;
    new ResizeObserver(() => this.resize()).observe(element);
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const unit = event.deltaMode ? 18 : 1;
      if (event.shiftKey || (Math.abs(event.deltaX) > Math.abs(event.deltaY) && !event.ctrlKey)) return this.pan(-(event.deltaX || event.deltaY) * unit, 0);
      this.zoom(Math.exp((-event.deltaY * unit * (event.ctrlKey ? 4 : 1)) / 600), this.#at(event));
    }, {passive: false});
    element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      pointers.set(event.pointerId, {x: event.clientX, y: event.clientY});
      this.pressed = pointers.size === 1 ? {x: event.clientX, y: event.clientY, node: event.target.closest?.(".n"), far: false} : null;
    });
    element.addEventListener("pointermove", (event) => {
      const before = pointers.get(event.pointerId);
      if (!before) return;
      const {clientX: x, clientY: y} = event;
      if (pointers.size === 2) {
        const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
        const spread = Math.hypot(x - other.x, y - other.y) / (Math.hypot(before.x - other.x, before.y - other.y) || 1);
        this.pan((x - before.x) / 2, (y - before.y) / 2);
        this.zoom(spread, this.#at({clientX: (x + other.x) / 2, clientY: (y + other.y) / 2}));
      } else if (this.pressed) {
        if (!this.pressed.far && Math.hypot(x - this.pressed.x, y - this.pressed.y) < CLICK_PX) return;
        if (!this.pressed.far) element.setPointerCapture(event.pointerId);
        this.pressed.far = true;
        element.classList.add("held");
        this.pan(x - before.x, y - before.y);
      }
      pointers.set(event.pointerId, {x, y});
    });
    const up = (event) => {
      pointers.delete(event.pointerId);
      element.classList.remove("held");
      const {pressed} = this;
      this.pressed = null;
      if (event.type !== "pointerup" || !pressed || pressed.far) return;
      element.focus({preventScroll: true});
      if (!pressed.node) return this.go(null);
      const {name} = this.nodes[Number(pressed.node.dataset.index)];
      this.go(name, false);
      this.open(name);
    };
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    element.addEventListener("keydown", (event) => this.#key(event));
  }

  /** Where in the canvas. Where the canvas itself stands is asked once for each gesture: the answer has the whole page
   * laid out, and between two frames of a gesture that would be all that it does. */
  #at({clientX, clientY}) {
    const now = performance.now(), {corner} = this;
    if (now - corner.asked > REST_MS) {
      const {left, top} = this.element.getBoundingClientRect();
      Object.assign(corner, {x: left, y: top});
    }
    corner.asked = now;
    return {x: clientX - corner.x, y: clientY - corner.y};
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const {key} = event;
    if (key.startsWith("Arrow")) {
      if (event.shiftKey) this.pan(key === "ArrowLeft" ? KEY_PAN : key === "ArrowRight" ? -KEY_PAN : 0, key === "ArrowUp" ? KEY_PAN : key === "ArrowDown" ? -KEY_PAN : 0);
      else { const next = this.#neighbour(key); if (next) this.go(next); }
    } else if (key === "Home" || key === "End") this.go(this.nodes.at(key === "Home" ? 0 : -1)?.name ?? null);
    else if ((key === "Enter" || key === " ") && this.current) this.open(this.current, true);
    else if (key === "+" || key === "=") this.zoom(STEP);
    else if (key === "-") this.zoom(1 / STEP);
    else if (key === "0") this.fit(true);
    else return;
    event.preventDefault();
  }
}
