// A video: sent, read by the server, then played here with its boxes in step.
import {overlay} from "./mien-draw.js";
import {at, closeSection, notice, openSection, say, waitNotice} from "./mien-page.js";
import {People} from "./mien-people.js";
import {Refusal, ask, isCancelled, jsonLines, pause, upload} from "./mien-server.js";
import {showFiles, showSummary} from "./mien-result.js";
import {Timeline} from "./mien-timeline.js";
import {Rows} from "./mien-rows.js";
import {clock, percent, plural, sentenceOf} from "./mien-words.js";

const POLL_MS = 400;
const PATIENCE = 60; // times in a row that a lost server is asked for how far it is
const MOST_LANES = 20; // people on the timeline; the files have all

const CANNOT_PLAY = "This browser cannot play this file.";

let file = null;
let url = ""; // blob URL of the file
let job = null; // path of the server's job, while there is one
let working = null; // AbortController
let rows = null; // Rows, when the video has been read
let offsetS = 0; // the player's time of the first frame: it need not be 0
let people = null;
let timeline = null;
const clip = () => at("clip");
const unplayable = () => clip().classList.contains("unplayable");

export function openVideo(opened) {
  forget();
  file = opened;
  url = URL.createObjectURL(file);
  at("video-title").textContent = file.name;
  at("video-how").hidden = false;
  at("clip-words").textContent = "";
  at("annotate").disabled = false;
  play(url);
  openSection("video");
}

export function startVideo() {
  people = new People(at("clip-people"), "");
  const name = "Expressions over time; arrow keys move through the video";
  timeline = new Timeline(at("clip-time"), {name, onSeek: seek});
  at("video-how").addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  at("video-cancel").addEventListener("click", () => {
    deleteJob();
    idle();
    at("video-title").focus();
  });
  at("video-close").addEventListener("click", () => {
    forget();
    notice("");
    closeSection("video", "choose");
  });
  clip().addEventListener("error", cannotPlay);
  clip().addEventListener("loadedmetadata", () => { if (!clip().videoWidth) cannotPlay(); });
  for (const kind of ["seeked", "pause"]) clip().addEventListener(kind, () => show(clip().currentTime));
  new ResizeObserver(() => show(clip().currentTime)).observe(clip());
  addEventListener("pagehide", deleteJob);
}

// ---- Reading.

async function read() {
  const mine = new AbortController();
  working = mine;
  const {signal} = mine;
  const annotate = at("annotate").checked;
  at("video-how").hidden = true;
  at("video-progress").hidden = false;
  at("video-cancel").focus();
  notice("");
  try {
    progress(null, "Sending");
    const form = new FormData();
    form.append("file", file, file.name);
    const onProgress = (part) => progress(part, `Sending: ${percent(part)}`);
    const place = `/v1/videos?every_s=${at("every").value}&annotate=${annotate}`;
    const started = await (await upload(place, form, {signal, onProgress, onWait: waitNotice})).json();
    const path = `/v1/videos/${encodeURIComponent(started.id)}`;
    if (signal.aborted) { // while the answer was on its way; another video may be read by now
      deleteAt(path);
      return;
    }
    job = path;
    const state = await finished(job, signal);
    await result(state, signal);
  } catch (error) {
    if (signal.aborted) return;
    notice(error.message);
    deleteJob();
    idle();
  }
}

// Returns the job when it is done, telling how far it is until then.
async function finished(path, signal) {
  for (let lost = 0; ;) {
    let state;
    try {
      state = await (await ask(path, {signal}, waitNotice)).json();
    } catch (error) {
      lost += 1;
      if (error.status !== 0 || lost === PATIENCE) throw error;
      progress(null, `${error.message} The page asks again.`);
      await pause(2 * POLL_MS, signal);
      continue;
    }
    lost = 0;
    if (state.state === "done") return state;
    if (state.state === "failed" || state.state === "cancelled") {
      throw new Refusal(0, state.error ?? "The server has cancelled the reading.");
    }
    const length = state.duration_s ? ` of ${clock(state.duration_s)}` : "";
    if (state.state === "waiting") progress(null, "Waiting for the server to begin");
    else progress(state.progress, `Read: ${clock(state.time_s)}${length}, ${plural(state.faces, "face")}`);
    await pause(POLL_MS, signal);
  }
}

async function result(state, signal) {
  progress(null, "Fetching what was read");
  const read = new Rows();
  for await (const row of jsonLines(await ask(`${job}/rows?format=jsonl`, {signal}))) read.add(row);
  const summary = await (await ask(`${job}/summary`, {signal})).json();
  if (signal.aborted) return;
  rows = read.done(Number(at("every").value));
  working = null;
  at("video-progress").hidden = true;
  at("video-result").hidden = false;
  const endS = Math.max(state.duration_s ?? 0, rows.lastS, 0.1);
  timeline.show({people: rows.people.slice(0, MOST_LANES), startS: 0, endS, labels: rows.labels});
  at("clip-time").hidden = rows.people.length === 0;
  const more = rows.people.length - MOST_LANES;
  if (more > 0) notice(`The timeline shows the first ${MOST_LANES} people; the table and the files have ${more} more.`);
  showSummary(at("summary"), summary, seek);
  showFiles(at("video-files"), {job, name: file.name, annotated: state.annotated, summary});
  if (unplayable()) {
    if (state.annotated) play(`${job}/annotated.mp4`);
    at("clip-words").textContent = state.annotated ? "This is the server's copy, with the boxes in it." : CANNOT_PLAY;
  }
  say(`The video has been read: ${plural(rows.people.length, "person")}.`.replace("persons", "people"));
  at("video-title").focus();
  show(clip().currentTime);
}

function progress(part, text) {
  if (part === null) at("video-done").removeAttribute("value");
  else at("video-done").value = part;
  at("video-state").textContent = text;
}

function idle() {
  working?.abort();
  working = null;
  at("video-progress").hidden = true;
  at("video-how").hidden = false;
}

function deleteJob(event) {
  if (event?.persisted) return; // the page may come back; the server forgets the video by itself after a while
  working?.abort();
  if (job !== null) deleteAt(job);
  job = null;
}

function deleteAt(path) {
  fetch(path, {method: "DELETE", keepalive: true, credentials: "same-origin"}).catch(() => {});
}

function forget() {
  deleteJob();
  idle();
  clip().pause();
  clip().removeAttribute("src");
  clip().load();
  clip().classList.remove("unplayable");
  URL.revokeObjectURL(url);
  url = "";
  rows = null;
  people.show([]);
  overlay(at("clip-boxes"), [], {width: 1, height: 1});
  at("video-result").hidden = true;
}

// ---- Playing.

function play(source) {
  offsetS = 0;
  clip().src = source;
  let first = true;
  const onFrame = (_now, {mediaTime}) => {
    if (clip().getAttribute("src") !== source) return;
    if (first && clip().currentTime < 0.1) offsetS = mediaTime;
    first = false;
    show(mediaTime);
    clip().requestVideoFrameCallback(onFrame);
  };
  clip().requestVideoFrameCallback?.(onFrame);
}

function cannotPlay() {
  if (!clip().getAttribute("src")?.startsWith("blob:")) return;
  clip().classList.add("unplayable");
  at("annotate").checked = at("annotate").disabled = true;
  at("clip-words").textContent = `${CANNOT_PLAY} Once read, the server's copy with the boxes in it is shown.`;
}

function seek(timeS) {
  clip().currentTime = Math.max(0, Math.min(timeS + offsetS, (clip().duration || Infinity) - 0.001));
}

function show(mediaTimeS) {
  if (rows === null) return;
  const timeS = Math.max(0, mediaTimeS - offsetS);
  const faces = rows.at(timeS);
  const boxes = unplayable() ? [] : faces; // the server has drawn them in its copy
  overlay(at("clip-boxes"), boxes, {width: clip().videoWidth || 1, height: clip().videoHeight || 1});
  people.show(faces);
  timeline.at(timeS, sentenceOf(faces), {moving: !clip().paused});
}
