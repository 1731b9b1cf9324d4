// Boxes with what each face shows, drawn onto a canvas as src/mien/draw.py draws them.
import {colourOf, inkOn, shortWords} from "./mien-words.js";

const FONT = "system-ui, sans-serif";

// Draws the faces of a picture.
// area: {width, height} of the picture that the boxes are measured in; it fills the canvas.
// dot: canvas pixels in a pixel of the screen, or of a file (1).  mirrored: left and right are swapped.
export function drawFaces(context, faces, area, {dot = 1, mirrored = false} = {}) {
  const {width, height} = context.canvas;
  const line = Math.max(2 * dot, Math.max(width, height) / 500);
  const boxes = faces.map((face) => place(face.box, width / area.width, height / area.height, mirrored && width));
  faces.forEach((face, index) => {
    const [x0, y0, x1, y1] = boxes[index];
    for (const [colour, wide] of [["#000000", line + 2 * dot], [colourOf(face.expression), line]]) {
      context.strokeStyle = colour;
      context.lineWidth = wide;
      context.strokeRect(x0, y0, x1 - x0, y1 - y0);
    }
  });
  const taken = [...boxes];
  faces.forEach((face, index) => {
    const text = shortWords(face, faces.length > 1);
    taken.push(label(context, text, face, boxes[index], taken, dot, line));
  });
}

function place([x0, y0, x1, y1], across, down, mirrorPx) {
  const [left, right] = [x0 * across, x1 * across];
  return mirrorPx ? [mirrorPx - right, y0 * down, mirrorPx - left, y1 * down] : [left, y0 * down, right, y1 * down];
}

// Writes what a face shows where it hides least of what is taken; returns that place.
function label(context, text, face, [x0, y0, x1, y1], taken, dot, line) {
  const {width, height} = context.canvas;
  const size = Math.max(13 * dot, Math.min((x1 - x0) / 9, Math.max(width, height) / 40));
  const pad = size / 3;
  context.font = `600 ${size}px ${FONT}`;
  const wide = Math.min(context.measureText(text).width + 2 * pad, width);
  const tall = size + 1.2 * pad;
  const half = line / 2; // flush with the outer edge of the box's line
  const xs = [x0 - half, x1 + half - wide].map((x) => Math.min(Math.max(x, 0), width - wide));
  const ys = [y0 - half - tall, y1 + half, Math.max(y0, 0), Math.min(y1, height) - tall]
    .filter((y) => y >= 0 && y + tall <= height);
  const places = (ys.length ? ys : [0]).flatMap((y) => xs.map((x) => [x, y, x + wide, y + tall]));
  const hidden = places.map((spot) => taken.reduce((sum, box) => sum + shared(spot, box), 0));
  const spot = places[hidden.indexOf(Math.min(...hidden))];
  context.fillStyle = colourOf(face.expression);
  context.fillRect(spot[0], spot[1], wide, tall);
  context.fillStyle = inkOn(colourOf(face.expression));
  context.textBaseline = "middle";
  context.fillText(text, spot[0] + pad, spot[1] + tall / 2, wide - 2 * pad);
  return spot;
}

function shared(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  return Math.max(width, 0) * Math.max(height, 0);
}

// Makes a canvas as large as it is shown, to the dot of the screen; returns how many dots a pixel of the page has.
export function fit(canvas) {
  const dot = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * dot)));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  return dot;
}

// Empties a canvas that lies over a picture and draws the faces on it.
export function overlay(canvas, faces, area, options = {}) {
  const dot = fit(canvas);
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, canvas.width, canvas.height);
  drawFaces(context, faces, area, {...options, dot});
}

// Returns a canvas with the picture and its faces, as large as the picture is.
export function annotated(picture, faces, area, {mirrored = false, canvas = document.createElement("canvas")} = {}) {
  const width = picture.videoWidth || picture.width;
  const height = picture.videoHeight || picture.height;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, {width, height});
  const context = canvas.getContext("2d");
  context.save();
  if (mirrored) context.setTransform(-1, 0, 0, 1, width, 0);
  context.drawImage(picture, 0, 0, width, height);
  context.restore();
  drawFaces(context, faces, area, {mirrored});
  return canvas;
}

export const toPng = (canvas) => new Promise((done) => { canvas.toBlob(done, "image/png"); });
