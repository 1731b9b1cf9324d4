// Expressions over time: for each person a band, stacked by probability, with the names of the strongest above it.
import {fit} from "./mien-draw.js";
import {make} from "./mien-people.js";
import {clock, colourOf, inkOn} from "./mien-words.js";

const STRIP_PX = 18; // of names
const SMALL_STEP_S = 1;
const LARGE_STEP_S = 10;
const SAY_MS = 1000; // between changes that are said aloud
const MOST_TICKS = 8;
const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600];

export class Timeline {
  // onSeek: told the second that the person wants to see; without it, the timeline only shows.
  constructor(element, {name, onSeek = null}) {
    this.element = element;
    this.onSeek = onSeek;
    this.lanes = new Map(); // name -> canvas
    this.content = {people: [], startS: 0, endS: 1, labels: []};
    this.saidAt = -Infinity;
    this.legend = make("ul", {className: "legend"});
    this.head = make("div", {className: "head-line", hidden: true});
    this.axis = make("canvas", {className: "axis"});
    this.axis.setAttribute("aria-hidden", "true");
    this.bands = make("div", {className: "bands"}, this.axis, this.head);
    element.replaceChildren(this.bands, this.legend);
    this.bands.setAttribute("role", onSeek ? "slider" : "img");
    this.bands.setAttribute("aria-label", name);
    if (onSeek) this.takeKeys();
    new ResizeObserver(() => this.draw()).observe(this.bands);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  // people: [{name, points: [{time_s, probabilities}], gapS}], the times of a person rising; gapS: how long one holds.
  show(content) {
    if (content.labels.join() !== this.content.labels.join()) this.explain(content.labels);
    this.content = content;
    const names = new Set(content.people.map((person) => person.name));
    for (const [name, {lane}] of this.lanes) {
      if (names.has(name)) continue;
      lane.remove();
      this.lanes.delete(name);
    }
    for (const {name} of content.people) {
      if (this.lanes.has(name)) continue;
      const canvas = make("canvas");
      const lane = make("div", {className: "lane"}, make("span", {textContent: name}), canvas);
      canvas.setAttribute("aria-hidden", "true");
      this.lanes.set(name, {lane, canvas});
      this.axis.before(lane);
    }
    if (this.onSeek) {
      this.bands.setAttribute("aria-valuemin", "0");
      this.bands.setAttribute("aria-valuemax", content.endS.toFixed(2));
    }
    this.draw();
  }

  // Moves the line of the present; `says` is what a screen reader reads there, once in a while where it is moving.
  at(timeS, says, {moving}) {
    const {startS, endS} = this.content;
    const part = Math.min(1, Math.max(0, (timeS - startS) / (endS - startS)));
    this.head.hidden = false;
    this.head.style.left = `${100 * part}%`;
    this.nowS = timeS;
    const now = performance.now();
    if (moving && now < this.saidAt + SAY_MS) return;
    this.saidAt = now;
    this.bands.setAttribute("aria-valuenow", timeS.toFixed(2));
    this.bands.setAttribute("aria-valuetext", `${clock(timeS)} of ${clock(endS)}: ${says}`);
  }

  explain(labels) {
    this.legend.replaceChildren(...labels.map((label) => {
      const swatch = make("span", {className: "swatch"});
      swatch.style.backgroundColor = colourOf(label);
      return make("li", {}, swatch, label);
    }));
  }

  takeKeys() {
    this.bands.tabIndex = 0;
    this.bands.classList.add("seeks");
    this.bands.addEventListener("keydown", (event) => {
      const {startS, endS} = this.content;
      const now = this.nowS ?? startS;
      const to = {
        ArrowLeft: now - SMALL_STEP_S, ArrowDown: now - SMALL_STEP_S, ArrowRight: now + SMALL_STEP_S,
        ArrowUp: now + SMALL_STEP_S, PageDown: now - LARGE_STEP_S, PageUp: now + LARGE_STEP_S, Home: startS, End: endS,
      }[event.key];
      if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
      event.preventDefault();
      this.onSeek(Math.min(endS, Math.max(startS, to)));
    });
    const seek = (event) => {
      const {left, width} = this.bands.getBoundingClientRect();
      const {startS, endS} = this.content;
      this.onSeek(startS + (endS - startS) * Math.min(1, Math.max(0, (event.clientX - left) / width)));
    };
    this.bands.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.bands.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.bands.addEventListener("pointermove", (event) => {
      if (this.bands.hasPointerCapture(event.pointerId)) seek(event);
    });
  }

  draw() {
    const {people, startS, endS, labels} = this.content;
    if (this.bands.clientWidth === 0) return;
    for (const person of people) drawLane(this.lanes.get(person.name).canvas, person, startS, endS, labels);
    drawAxis(this.axis, startS, endS, this.content.fromEnd);
  }
}

function drawLane(canvas, person, startS, endS, labels) {
  const dot = fit(canvas);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  const columns = averaged(person, startS, endS, canvas.width, labels);
  const strip = STRIP_PX * dot;
  for (const [from, to] of runsOf(columns, (column) => column !== null)) {
    stack(context, columns, from, to, strip, canvas.height, labels);
  }
  const strongest = columns.map((column) => column && labels[column.indexOf(Math.max(...column))]);
  context.font = `600 ${12 * dot}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  for (const [from, to, label] of runsOf(strongest, (value) => value)) {
    context.fillStyle = colourOf(label);
    context.fillRect(from, 0, to - from, strip);
    if (context.measureText(label).width + 6 * dot > to - from) continue;
    context.fillStyle = inkOn(colourOf(label));
    context.fillText(label, from + 3 * dot, strip / 2);
  }
}

// Returns for each column of pixels the mean probabilities in it, null where the person is not seen.
function averaged({points, gapS}, startS, endS, width, labels) {
  const columns = new Array(width).fill(null);
  const counts = new Uint32Array(width);
  const toX = (timeS) => Math.floor(((timeS - startS) / (endS - startS)) * width);
  points.forEach(({time_s, probabilities}, index) => {
    const until = Math.min(points[index + 1]?.time_s ?? Infinity, time_s + gapS);
    const first = Math.max(0, toX(time_s));
    const last = Math.min(width - 1, Math.max(first, toX(until) - 1));
    for (let x = first; x <= last; x += 1) {
      columns[x] ??= new Float64Array(labels.length);
      counts[x] += 1;
      labels.forEach((label, at) => { columns[x][at] += (probabilities[label] - columns[x][at]) / counts[x]; });
    }
  });
  return columns;
}

// Returns [from, to, value] for each run of equal values that `wanted` accepts.
function runsOf(values, wanted) {
  const runs = [];
  for (let from = 0; from < values.length;) {
    let to = from + 1;
    const same = wanted(values[from]);
    while (to < values.length && wanted(values[to]) === same) to += 1;
    if (same) runs.push([from, to, values[from]]);
    from = to;
  }
  return runs;
}

function stack(context, columns, from, to, top, bottom, labels) {
  let floor = new Float64Array(to - from).fill(bottom);
  labels.forEach((label, at) => {
    const ceiling = floor.map((y, x) => y - columns[from + x][at] * (bottom - top));
    context.beginPath();
    context.moveTo(from, floor[0]);
    for (let x = 0; x < to - from; x += 1) { // steps, so that a run of one column is seen too
      context.lineTo(from + x, ceiling[x]);
      context.lineTo(from + x + 1, ceiling[x]);
    }
    for (let x = to - from - 1; x >= 0; x -= 1) {
      context.lineTo(from + x + 1, floor[x]);
      context.lineTo(from + x, floor[x]);
    }
    context.fillStyle = colourOf(label);
    context.fill();
    floor = ceiling;
  });
}

// fromEnd: the times are told as seconds before the end ("-30 s").
function drawAxis(canvas, startS, endS, fromEnd) {
  const dot = fit(canvas);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = getComputedStyle(canvas).color;
  context.font = `${12 * dot}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  const most = Math.max(2, Math.min(MOST_TICKS, canvas.width / dot / 70));
  const step = STEPS_S.find((each) => (endS - startS) / each <= most) ?? 3600 * Math.ceil((endS - startS) / 3600 / most);
  const origin = fromEnd ? endS : 0;
  for (let tick = Math.ceil((startS - origin) / step) * step; tick + origin <= endS; tick += step) {
    const x = ((tick + origin - startS) / (endS - startS)) * canvas.width;
    const text = fromEnd ? (tick === 0 ? "now" : `${tick} s`) : clock(tick);
    const wide = context.measureText(text).width;
    context.fillRect(Math.min(x, canvas.width - dot), 0, dot, 4 * dot);
    context.fillText(text, Math.min(Math.max(x - wide / 2, 0), canvas.width - wide), canvas.height);
  }
}
