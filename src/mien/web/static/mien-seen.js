// What a camera has shown so far, for the timeline, the numbers and the files.
import {toCsv, toRow} from "./mien-words.js";

const MOST_FRAMES = 100000; // more than an hour; the oldest go then
const SPEED_MS = 2000; // over which frames are counted
const HOLD_S = 0.5; // a face that is gone is not shown longer
const LANES = 4; // people on the timeline

export class Seen {
  constructor() {
    this.frames = []; // {number, time_s, faces}
    this.labels = [];
    this.begun = null;
    this.counted = 0;
    this.recent = []; // {at, delay} of answers
    this.people = 0; // so far
    this.before = 0; // people before this connection
  }

  // Takes note that the server numbers people from 1 again.
  connect() {
    this.before = this.people;
  }

  // Adds an answer, and returns it with people who are numbered over all connections.
  add(answer, takenAt, now) {
    const faces = answer.faces.map((face) => ({...face, track: this.before + face.track}));
    this.people = Math.max(this.people, ...faces.map(({track}) => track));
    this.begun ??= {at: takenAt, date: new Date()};
    if (faces.length) this.labels = Object.keys(faces[0].probabilities);
    this.frames.push({number: this.counted, time_s: Math.round(takenAt - this.begun.at) / 1000, faces});
    this.counted += 1;
    if (this.frames.length > 1.1 * MOST_FRAMES) this.frames.splice(0, this.frames.length - MOST_FRAMES);
    this.recent.push({at: now, delay: now - takenAt});
    while (this.recent[0].at < now - SPEED_MS) this.recent.shift();
    return {...answer, faces};
  }

  speed(now) {
    const spanS = (now - this.recent[0].at) / 1000;
    const rate = spanS > 0 ? (this.recent.length - 1) / spanS : 0;
    const delays = this.recent.map(({delay}) => delay).sort((one, other) => one - other);
    return `${rate.toFixed(rate < 10 ? 1 : 0)} frames a second, ${Math.round(delays[delays.length >> 1])} ms behind`;
  }

  // Returns the last seconds as a timeline shows them: the people who were seen most.
  window(lengthS) {
    const endS = this.frames.at(-1)?.time_s ?? 0;
    const startS = endS - lengthS;
    const tracks = new Map();
    for (let index = this.frames.length - 1; index >= 0 && this.frames[index].time_s >= startS; index -= 1) {
      const {time_s, faces} = this.frames[index];
      for (const {track, probabilities} of faces) {
        if (!tracks.has(track)) tracks.set(track, {name: `person ${track}`, points: [], gapS: HOLD_S});
        tracks.get(track).points.push({time_s, probabilities});
      }
    }
    const most = [...tracks].sort(([, one], [, other]) => other.points.length - one.points.length).slice(0, LANES);
    const people = most.sort(([one], [other]) => one - other).map(([, person]) => person);
    for (const person of people) person.points.reverse();
    return {people, startS, endS, labels: this.labels};
  }

  rows() {
    return this.frames.flatMap(({number, time_s, faces}) => (
      faces.map((face) => toRow("camera", face, {frame: number, time_s}))
    ));
  }

  csv() {
    return toCsv(this.rows(), this.labels);
  }

  json() {
    const begun = this.begun?.date.toISOString() ?? null;
    const frames = this.frames.length;
    return JSON.stringify({source: "camera", begun, frames, labels: this.labels, rows: this.rows()});
  }

  // Returns a name for a file of now.
  name() {
    const now = new Date();
    const two = (number) => String(number).padStart(2, "0");
    const day = [now.getFullYear(), two(now.getMonth() + 1), two(now.getDate())].join("-");
    return `camera-${day}-${[now.getHours(), now.getMinutes(), now.getSeconds()].map(two).join("")}`;
  }
}
