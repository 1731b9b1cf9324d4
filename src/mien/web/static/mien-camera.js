// The camera: its picture with boxes, what each face shows, and the last minute of it.
import {annotated, overlay, toPng} from "./mien-draw.js";
import {Live} from "./mien-live.js";
import {at, closeSection, notice, openSection, say} from "./mien-page.js";
import {People} from "./mien-people.js";
import {Recorder, canRecord} from "./mien-recorder.js";
import {Seen} from "./mien-seen.js";
import {Timeline} from "./mien-timeline.js";
import {nameOf, save, sentenceOf} from "./mien-words.js";

const SENT_WIDTH_PX = 640;
const JPEG_QUALITY = 0.8;
const WANTED = {width: {ideal: SENT_WIDTH_PX}, frameRate: {ideal: 30}}; // more would be read no better
const LIST_MS = 150; // between changes of the list: numbers that change faster cannot be read
const TIMELINE_MS = matchMedia("(prefers-reduced-motion: reduce)").matches ? 1000 : 200;
const SAY_MS = 4000; // between changes that are said aloud
const WINDOW_S = 60;
const AREA = {width: 1, height: 1}; // of no answer yet

const sheet = document.createElement("canvas"); // from which frames are sent
let stream = null;
let live = null;
let seen = new Seen();
let people = null;
let timeline = null;
let recorder = null;
let last = {faces: [], ...AREA}; // the newest answer
let encoding = false;
let wanting = 0; // counts the wishes for a camera: of two, the later one holds
const next = {list: 0, timeline: 0, say: 0}; // when each may change again
let said = "";

export function startCamera() {
  people = new People(at("live-people"));
  timeline = new Timeline(at("live-time"), {name: "Expressions over the last minute"});
  at("camera-on").addEventListener("click", () => (stream ? switchOff() : switchOn()));
  at("cameras").addEventListener("change", () => switchOn(at("cameras").value));
  at("mirror").addEventListener("click", () => mirror(!mirrored()));
  at("snapshot").addEventListener("click", snapshot);
  at("record").addEventListener("click", record);
  at("camera-csv").addEventListener("click", () => save(`${seen.name()}.csv`, seen.csv(), "text/csv"));
  at("camera-json").addEventListener("click", () => save(`${seen.name()}.json`, seen.json(), "application/json"));
  at("camera-close").addEventListener("click", () => {
    switchOff();
    seen = new Seen();
    closeSection("camera", "camera-on");
    notice("");
  });
  navigator.mediaDevices?.addEventListener?.("devicechange", () => stream && list());
  new ResizeObserver(draw).observe(at("live"));
  canRecord() || at("record").remove();
}

// ---- On and off.

async function switchOn(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) {
    notice(noCameraHere());
    return;
  }
  wanting += 1;
  const wish = wanting;
  const which = deviceId ? {deviceId: {exact: deviceId}} : {facingMode: "user"};
  release();
  notice("Allow the camera in the question of the browser.");
  let given;
  try {
    given = await navigator.mediaDevices.getUserMedia({video: {...WANTED, ...which}, audio: false});
  } catch (error) {
    notice(refused(error));
    switchOff();
    return;
  }
  if (wish !== wanting) {
    for (const track of given.getTracks()) track.stop();
    return;
  }
  notice("");
  await show(given);
}

async function show(given) {
  stream = given;
  const [track] = stream.getVideoTracks();
  track.addEventListener("ended", () => {
    if (stream !== given) return;
    switchOff();
    notice("The camera is gone: unplugged, taken by another program, or no longer allowed.");
  });
  mirror(track.getSettings().facingMode !== "environment");
  at("camera-on").textContent = "Switch the camera off";
  at("camera").classList.add("on");
  at("snapshot").disabled = false;
  if (at("record")) at("record").disabled = false;
  if (at("camera").hidden) openSection("camera");
  at("live").srcObject = stream;
  await at("live").play().catch(() => {});
  if (stream !== given) return;
  live = new Live({onConnect: () => seen.connect(), onAnswer: take, onNotice: notice});
  everyFrame(given);
  list();
}

function release() {
  recorder?.stop();
  live?.stop();
  live = null;
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  at("live").srcObject = null;
}

function switchOff() {
  wanting += 1;
  release();
  last = {faces: [], ...AREA};
  people.show([]);
  draw();
  at("camera").classList.remove("on");
  at("camera-on").textContent = "Switch the camera on";
  at("speed").textContent = "The camera is off.";
  at("snapshot").disabled = true;
  if (at("record")) at("record").disabled = true;
}

async function list() {
  const cameras = (await navigator.mediaDevices.enumerateDevices()).filter(({kind}) => kind === "videoinput");
  const {deviceId} = stream?.getVideoTracks()[0]?.getSettings() ?? {};
  at("cameras").replaceChildren(...cameras.map((camera, index) => new Option(
    camera.label || `Camera ${index + 1}`, camera.deviceId, false, camera.deviceId === deviceId,
  )));
  at("cameras-label").hidden = cameras.length < 2;
}

function noCameraHere() {
  if (isSecureContext) return "This browser gives no camera to pages.";
  return "Browsers give a camera only to pages that come over https, or from this machine itself (localhost); "
    + `this one came over http from ${location.host}. Pictures and videos work here too.`;
}

function refused({name, message}) {
  if (name === "NotAllowedError") {
    return "The browser does not allow this page the camera. Allow it beside the address, then switch it on again.";
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return "No camera was found. Plug one in, then switch it on again.";
  }
  if (name === "NotReadableError") return "The camera cannot be read; another program may be using it.";
  return `The camera could not be switched on: ${message || name}.`;
}

// ---- Frames out, answers in.

function everyFrame(given) {
  const video = at("live");
  const again = () => (video.requestVideoFrameCallback?.(onFrame) ?? requestAnimationFrame(onFrame));
  const onFrame = () => {
    if (stream !== given) return;
    again();
    if (live?.ready && !encoding && video.videoWidth) sendFrame(video);
    recorder?.draw(video, last, {mirrored: mirrored()});
  };
  again();
}

function sendFrame(video) {
  const scale = Math.min(1, SENT_WIDTH_PX / video.videoWidth);
  const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.max(1, Math.round(side * scale)));
  if (sheet.width !== width || sheet.height !== height) Object.assign(sheet, {width, height});
  const takenAt = performance.now();
  sheet.getContext("2d", {willReadFrequently: true}).drawImage(video, 0, 0, width, height);
  encoding = true;
  const line = live;
  sheet.toBlob((blob) => {
    encoding = false;
    if (blob && line === live) line.send(blob, takenAt);
  }, "image/jpeg", JPEG_QUALITY);
}

function take(answer, takenAt) {
  const now = performance.now();
  last = seen.add(answer, takenAt, now);
  draw();
  if (now >= next.list) {
    next.list = now + LIST_MS;
    people.show(last.faces);
    at("speed").textContent = seen.speed(now);
  }
  if (now >= next.timeline) {
    next.timeline = now + TIMELINE_MS;
    timeline.show({...seen.window(WINDOW_S), fromEnd: true});
  }
  if (now >= next.say) {
    const words = last.faces.map((face) => `${nameOf(face)} ${face.mixture.name}`).join(", ") || "no face";
    if (words === said) return;
    next.say = now + SAY_MS;
    said = words;
    say(words);
  }
}

function draw() {
  overlay(at("live-boxes"), last.faces, last, {mirrored: mirrored()});
}

// ---- What the buttons do.

const mirrored = () => at("mirror").getAttribute("aria-pressed") === "true";

function mirror(on) {
  at("mirror").setAttribute("aria-pressed", String(on));
  at("live").classList.toggle("mirrored", on);
  draw();
}

async function snapshot() {
  if (!at("live").videoWidth) return;
  save(`${seen.name()}.png`, await toPng(annotated(at("live"), last.faces, last, {mirrored: mirrored()})));
  say(`Picture saved: ${sentenceOf(last.faces)}`);
}

function record() {
  if (recorder) {
    recorder.stop();
    return;
  }
  recorder = new Recorder(at("live"), {
    onTime: (text) => { at("record-time").textContent = ` (${text})`; },
    onEnd: (blob, kind) => {
      recorder = null;
      recording(false);
      save(`${seen.name()}.${kind}`, blob);
    },
  });
  recording(true);
}

function recording(on) {
  at("record").classList.toggle("given", on);
  at("record-does").textContent = on ? "Stop recording" : "Record a video";
  if (!on) at("record-time").textContent = "";
}
