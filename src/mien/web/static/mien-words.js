// What the page says of a face, in words, in colours and in files.

// Okabe and Ito's colours, as in the pictures that `mien recognize --annotate` writes.
const COLOURS = {
  angry: "#D55E00", disgust: "#009E73", fear: "#CC79A7", happy: "#F0E442", sad: "#0072B2", surprise: "#E69F00",
  neutral: "#56B4E9", contempt: "#999999",
};
const OTHER_COLOUR = "#BBBBBB"; // of a model's label that is none of these

export const colourOf = (label) => COLOURS[label] ?? OTHER_COLOUR;

// Returns the colour of letters that are read on a colour.
export function inkOn(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * red + 0.587 * green + 0.114 * blue < 110 ? "#FFFFFF" : "#000000"; // luma of ITU-R BT.601
}

export const percent = (share) => `${Math.round(100 * share)}%`;
export const nameOf = (face) => (face.track === null ? `face ${face.face + 1}` : `person ${face.track}`);

const listed = (shares) => shares.map(([label, share]) => `${label} ${percent(share)}`).join(", ");

// Returns what a face shows in full: "happily surprised: happy 60%, surprise 40%".
export function words(face) {
  const shares = Object.entries(face.mixture.shares);
  if (shares.length === 1) return `${face.mixture.name} ${percent(face.confidence)}`;
  if (shares.length > 1) return `${face.mixture.name}: ${listed(shares)}`;
  const likely = Object.entries(face.probabilities).sort((one, other) => other[1] - one[1]).slice(0, 2);
  return `${face.mixture.name}: ${listed(likely)}`;
}

// Returns what fits beside a box; of several faces of a picture, with the number under which it is listed.
export function shortWords(face, several) {
  const single = Object.keys(face.mixture.shares).length === 1;
  const says = single ? `${face.mixture.name} ${percent(face.confidence)}` : face.mixture.name;
  if (face.track === null) return several ? `${face.face + 1}: ${says}` : says;
  return `${nameOf(face)}: ${says}`;
}

// Returns several faces in one sentence, for those who do not see the picture.
export function sentenceOf(faces) {
  if (faces.length === 0) return "no face";
  return faces.map((face) => `${nameOf(face)} ${words(face)}`).join("; ");
}

export const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = String(Math.floor(whole / 60) % 60).padStart(whole < 3600 ? 1 : 2, "0");
  const start = whole < 3600 ? "" : `${Math.floor(whole / 3600)}:`;
  return `${start}${minutes}:${String(whole % 60).padStart(2, "0")}`;
}

// Returns a moment to a tenth of a second: "0:03.4".
export function moment(seconds) {
  const tenths = Math.round(10 * Math.max(0, seconds));
  return `${clock(Math.floor(tenths / 10))}.${tenths % 10}`;
}

// ---- Files, in the columns that `mien recognize` writes.

// Returns the row of a face: the keys of a JSON line.
export function toRow(source, face, {frame = null, time_s = null} = {}) {
  const {face: number, track, box, detector_score, expression, confidence, probabilities, mixture} = face;
  return {
    source, frame, time_s, face: number, track, box, detector_score, expression, confidence, probabilities, mixture,
  };
}

export function toCsv(rows, labels) {
  const edges = ["box_x0", "box_y0", "box_x1", "box_y1"];
  const head = ["source", "frame", "time_s", "face", "track", ...edges, "detector_score", "expression", "confidence",
    "mixture", ...labels.map((label) => `p_${label}`)];
  const lines = rows.map((row) => [
    row.source, row.frame, row.time_s, row.face, row.track, ...row.box, row.detector_score, row.expression,
    row.confidence, row.mixture.name, ...labels.map((label) => row.probabilities[label]),
  ]);
  return toTable([head, ...lines]);
}

// Returns rows of cells as CSV.
export const toTable = (rows) => rows.map((cells) => `${cells.map(cell).join(",")}\n`).join("");

function cell(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// Gives the person a file.
export function save(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], {type}));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000); // a slow disk still reads from it
}

export const stem = (name) => name.replace(/\.[^.]*$/, "") || name;
