// The rows of a video that has been read, and which of them a moment shows.
const SLACK_S = 0.004; // players round times of frames, some to milliseconds

export class Rows {
  constructor() {
    this.times = []; // of frames with faces, rising
    this.frames = []; // their rows
    this.labels = [];
    this.people = []; // [{name, points, gapS}], for the timeline
  }

  add(row) {
    if (this.times.at(-1) !== row.time_s) {
      this.times.push(row.time_s);
      this.frames.push([]);
    }
    this.frames.at(-1).push(row);
  }

  // Returns this, its people put together.  everyS: the time between the frames that were read; 0: all were.
  done(everyS) {
    const steps = this.times.slice(1).map((time, index) => time - this.times[index]).sort((one, other) => one - other);
    const usual = steps[Math.floor(steps.length / 2)] ?? 0.04;
    this.holdS = 1.6 * Math.max(everyS, usual); // a face that is gone is not shown much longer
    const byTrack = new Map();
    for (const row of this.frames.flat()) {
      if (!byTrack.has(row.track)) byTrack.set(row.track, {name: `person ${row.track}`, points: [], gapS: this.holdS});
      byTrack.get(row.track).points.push(row);
    }
    this.people = [...byTrack.entries()].sort(([one], [other]) => one - other).map(([, person]) => person);
    this.labels = Object.keys(this.frames[0]?.[0].probabilities ?? {});
    this.lastS = this.times.at(-1) ?? 0;
    return this;
  }

  // Returns the faces at a time; between two frames that were read, boxes are where a straight line has them.
  at(timeS) {
    const index = this.indexAt(timeS + SLACK_S);
    if (index < 0 || timeS - this.times[index] > this.holdS) return [];
    const span = this.times[index + 1] - this.times[index];
    if (!(span <= this.holdS)) return this.frames[index];
    const part = Math.max(0, (timeS - this.times[index]) / span);
    return this.frames[index].map((row) => {
      const next = this.frames[index + 1].find(({track}) => track === row.track);
      return next ? {...row, box: row.box.map((edge, at) => edge + part * (next.box[at] - edge))} : row;
    });
  }

  // Returns the index of the last frame that is not after a time; -1: there is none.
  indexAt(timeS) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= timeS) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
