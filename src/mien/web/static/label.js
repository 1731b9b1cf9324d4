// The page of one annotator.  Each answer is put into a queue in the browser's own store, then sent; it leaves the
// queue when the server has it on disk.  Until then nothing takes it away: no reload, no lost connection, no full disk.
"use strict";

const PRELOAD = 8; // pictures, ahead and behind
const PATIENCE_MS = 10000; // for one request
const FIRST_WAIT_MS = 1000; // then twice as long each time
const LONGEST_WAIT_MS = 30000;
const TAP_GUARD_MS = 250; // after a face has appeared: the second half of a double tap is not meant for it
const LETTERS = {a: "angry", d: "disgust", f: "fear", h: "happy", k: "skip"};
const EXPRESSIONS = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"];
const DIGITS = ["none", ...EXPRESSIONS];
const LETTERS_STORE = "mien-letters"; // whether letters and digits answer: with speech input, a word would be many
const SPOKEN = {none: "none of these", skip: "skipped"};

const base = location.pathname.replace(/\/$/, "");
const at = (id) => document.getElementById(id);

let state = null; // what the server said: annotator, set
let todo = []; // keys of faces, the one shown first
let answered = []; // keys of faces, the newest last
const given = new Map(); // key -> what was said, as spoken, by this page
let mixing = null; // null, or {first: null or an expression}
let shownAt = 0; // when the face appeared; 0 while none does
let looking = false; // whether the whole picture is shown too
let checkedEnd = false;

// ---- The queue: a step is {id, set, face, kind, answer, second}.

const queue = {
  prefix: "",
  memory: new Map(), // what the browser's store would not take
  open() {
    this.prefix = `mien/${state.set}/${state.annotator}/`;
  },
  keys() {
    const stored = [];
    try {
      for (let index = 0; index < localStorage.length; index += 1) {
        const key = localStorage.key(index);
        if (key.startsWith(this.prefix)) stored.push(key);
      }
    } catch { /* no store in this browser */ }
    return [...new Set([...stored, ...this.memory.keys()])].sort();
  },
  steps() {
    return this.keys().map((key) => ({key, step: this.memory.get(key) ?? JSON.parse(localStorage.getItem(key))}))
      .filter(({step}) => step !== null);
  },
  add(step) {
    const last = this.keys().at(-1);
    const number = last ? Number(last.slice(this.prefix.length).split("-")[0]) + 1 : 1;
    const key = `${this.prefix}${String(number).padStart(9, "0")}-${step.id}`;
    try {
      localStorage.setItem(key, JSON.stringify(step));
    } catch {
      this.memory.set(key, step);
    }
  },
  remove(key) {
    this.memory.delete(key);
    try {
      localStorage.removeItem(key);
    } catch { /* as above */ }
  },
};

function newId() { // crypto.randomUUID is missing where the page comes over plain http from another machine
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function ask(path, options = {}) {
  const control = new AbortController();
  const timer = setTimeout(() => control.abort(), PATIENCE_MS);
  try {
    return await fetch(path, {credentials: "same-origin", signal: control.signal, ...options});
  } finally {
    clearTimeout(timer);
  }
}

let sending = false;
let retryTimer = 0;
let wait = FIRST_WAIT_MS;

async function send() {
  if (sending || state === null) return;
  sending = true;
  clearTimeout(retryTimer);
  try {
    for (;;) {
      const [next] = queue.steps();
      if (!next) break;
      const why = await sendOne(next);
      if (why !== null) {
        notice(waitingText(why));
        retryTimer = setTimeout(send, wait);
        wait = Math.min(2 * wait, LONGEST_WAIT_MS);
        return;
      }
      wait = FIRST_WAIT_MS;
      if (document.body.classList.contains("waits")) notice(queue.keys().length ? waitingText("") : "");
    }
  } finally {
    sending = false;
    if (todo.length === 0) finish();
  }
}

// Returns null where a step is done with, else why it has to wait.
async function sendOne({key, step}) {
  let response;
  try {
    response = await ask(`${base}/steps`, {
      method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(step),
    });
  } catch {
    return "";
  }
  if (response.ok) {
    queue.remove(key);
    return null;
  }
  const text = await response.text().catch(() => "");
  if (response.status === 410) { // nobody needs an answer to a face that is gone
    queue.remove(key);
    drop(step.face);
    return null;
  }
  if ([400, 411, 413, 415, 422].includes(response.status)) { // would be refused for ever: the face is asked again
    queue.remove(key);
    answered = answered.filter((face) => face !== step.face);
    if (!todo.includes(step.face)) todo.push(step.face);
    notice(`An answer was refused, and its face comes again: ${text}`);
    show();
    return null;
  }
  return text || `the server answers ${response.status}`;
}

function waitingText(why) {
  const count = queue.keys().length;
  document.body.classList.add("waits");
  const kept = count === 1 ? "1 answer waits" : `${count} answers wait`;
  return why === "" ? `${kept} for the connection` : `${kept} in this browser: ${why}`;
}

function notice(text) {
  if (text === "") document.body.classList.remove("waits");
  if (at("notice").textContent !== text) at("notice").textContent = text;
}

// ---- Pictures, as blobs: once fetched they are there without a connection too.

const pictures = new Map(); // path -> promise of {url} or {text} or null where the connection failed

function fetchPicture(path) {
  if (!pictures.has(path)) {
    pictures.set(path, (async () => {
      try {
        const response = await ask(path);
        if (response.ok) return {url: URL.createObjectURL(await response.blob())};
        return {status: response.status, text: await response.text()};
      } catch {
        pictures.delete(path);
        return null;
      }
    })());
  }
  return pictures.get(path);
}

const facePath = (key) => `/faces/${encodeURIComponent(key)}.jpg`;
const contextPath = (key) => `/context/${encodeURIComponent(key)}.jpg`;

function preload() {
  const near = [...todo.slice(0, PRELOAD), ...answered.slice(-PRELOAD)];
  const kept = new Set([...near.map(facePath), ...near.map(contextPath)]);
  for (const [path, promise] of pictures) {
    if (kept.has(path)) continue;
    pictures.delete(path);
    promise.then((picture) => picture?.url && URL.revokeObjectURL(picture.url));
  }
  for (const key of todo.slice(0, PRELOAD)) fetchPicture(facePath(key));
  if (looking) for (const key of todo.slice(1, 3)) fetchPicture(contextPath(key));
}

// Shows a picture in an <img>; returns false where the face has changed meanwhile.
async function putPicture(image, url, key) {
  image.src = url;
  await image.decode().catch(() => {});
  return todo[0] === key;
}

let pictureTimer = 0;

async function show() {
  clearTimeout(pictureTimer);
  const [key] = todo;
  shownAt = 0;
  progress();
  at("face").hidden = true;
  at("waiting").hidden = true;
  if (key === undefined) {
    finish();
    return;
  }
  document.body.classList.remove("finished", "loading");
  at("finished").hidden = true;
  checkedEnd = false;
  preload();
  const slow = setTimeout(() => waitForPicture("Loading the face"), 300);
  const picture = await fetchPicture(facePath(key));
  clearTimeout(slow);
  if (todo[0] !== key) return;
  if (picture === null) {
    waitForPicture("The face waits for the connection");
    pictureTimer = setTimeout(show, 2000);
    return;
  }
  if (picture.url === undefined) {
    if (picture.status === 404 || picture.status === 410) drop(key);
    else {
      waitForPicture(picture.text);
      pictures.delete(facePath(key));
      pictureTimer = setTimeout(show, 5000);
    }
    return;
  }
  if (!await putPicture(at("face"), picture.url, key)) return;
  at("waiting").hidden = true;
  at("face").hidden = false;
  at("face").alt = `Face ${answered.length + 1} of ${answered.length + todo.length}`;
  shownAt = performance.now();
  showContext();
}

function waitForPicture(text) {
  at("waiting").textContent = text;
  at("waiting").hidden = false;
}

let contextTimer = 0;

async function showContext() {
  clearTimeout(contextTimer);
  at("surroundings").hidden = !looking;
  at("look").setAttribute("aria-pressed", String(looking));
  const [key] = todo;
  at("context").hidden = true;
  at("nocontext").textContent = "";
  if (!looking || key === undefined) return;
  const slow = setTimeout(() => { at("nocontext").textContent = "Loading the whole picture"; }, 300);
  const picture = await fetchPicture(contextPath(key));
  clearTimeout(slow);
  if (todo[0] !== key || !looking) return;
  at("nocontext").textContent = picture === null ? "The whole picture waits for the connection" : picture.text ?? "";
  if (picture === null) contextTimer = setTimeout(showContext, 2000);
  if (!picture?.url || !await putPicture(at("context"), picture.url, key)) return;
  at("context").hidden = false;
  at("context").alt = "The whole picture, the face in a box";
}

// ---- What the annotator does.

function drop(key) {
  const shown = todo[0] === key;
  todo = todo.filter((each) => each !== key);
  answered = answered.filter((each) => each !== key);
  say("A face is no longer in the set and is left out.");
  if (shown) show();
  else progress();
}

function press(answer) {
  const [face] = todo;
  if (face === undefined || shownAt === 0) return;
  if (mixing !== null) {
    if (!EXPRESSIONS.includes(answer) || answer === mixing.first) return;
    if (mixing.first === null) {
      mixing.first = answer;
      mix();
      return;
    }
    give(face, mixing.first, answer);
  } else give(face, answer, null);
}

function give(face, answer, second) {
  mixing = null;
  queue.add({id: newId(), set: state.set, face, kind: "answer", answer, ...(second === null ? {} : {second})});
  todo.shift();
  answered.push(face);
  given.set(face, second === null ? SPOKEN[answer] ?? answer : `${answer} and ${second}`);
  mix();
  flash(answer);
  say(`${given.get(face)}.${todo.length ? ` Face ${answered.length + 1} of ${answered.length + todo.length}` : ""}`);
  show();
  send();
}

function undo() {
  if (mixing !== null) {
    mixing = mixing.first === null ? null : {first: null};
    mix();
    return;
  }
  const face = answered.pop();
  if (face === undefined) return;
  queue.add({id: newId(), set: state.set, face, kind: "undo"});
  todo.unshift(face);
  say(given.has(face) ? `Undone: ${given.get(face)}` : "Undone: the face comes back");
  given.delete(face);
  show();
  send();
}

function startMixing() {
  if (mixing === null && (todo.length === 0 || shownAt === 0)) return;
  mixing = mixing === null ? {first: null} : null;
  mix();
}

function mix() {
  document.body.classList.toggle("mixing", mixing !== null);
  at("mixed").setAttribute("aria-pressed", String(mixing !== null));
  for (const button of document.querySelectorAll("[data-answer]")) {
    const {answer} = button.dataset;
    const expression = EXPRESSIONS.includes(answer);
    disable(button, mixing !== null && (!expression || answer === mixing.first));
    button.classList.toggle("given", mixing !== null && answer === mixing.first);
  }
  progress();
  if (mixing === null) say("");
  else if (mixing.first === null) say("Mixed: which of the two is stronger?");
  else say(`Mixed: ${mixing.first} and, weaker, which?`);
}

function look() {
  looking = !looking;
  preload();
  showContext();
}

function flash(answer) {
  const button = document.querySelector(`[data-answer="${answer}"]`);
  button.classList.add("given");
  setTimeout(() => mixing === null && button.classList.remove("given"), 150);
}

function say(text) {
  at("say").textContent = text;
}

function progress() {
  const total = answered.length + todo.length;
  at("progress").max = Math.max(1, total);
  at("progress").value = answered.length;
  at("count").textContent = `${answered.length.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  disable(at("undo"), answered.length === 0 && mixing === null);
}

function disable(button, off) { // and leave it the focus, which a button that is `disabled` loses
  button.setAttribute("aria-disabled", String(off));
}

function finish() {
  const total = answered.length.toLocaleString("en");
  const waits = queue.keys().length;
  document.body.classList.add("finished");
  document.body.classList.remove("loading");
  at("finished").hidden = false;
  at("all").textContent = waits ? `All ${total} faces have an answer` : `All ${total} faces are labelled`;
  at("thanks").textContent = waits ? "Please leave this page open until the last answers have been sent." : "Thank you.";
  at("next").hidden = waits > 0;
  if (waits || checkedEnd) return;
  checkedEnd = true; // once: faces may have come to the set meanwhile
  at("finished").focus();
  load();
}

// ---- Keys and buttons.

function digitOf(event) {
  if (/^[0-7]$/.test(event.key)) return Number(event.key);
  // Where digits are typed with shift (French keyboards), the bare key will do.
  const code = /^Digit([0-7])$/.exec(event.code);
  return code && !event.shiftKey && !/^[a-z?]$/i.test(event.key) ? Number(code[1]) : null;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || at("helping").open) return;
  if (event.key.length === 1 && !at("letters").checked) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const digit = digitOf(event);
  if (key === "?") at("helping").showModal();
  else if (key === "m") startMixing();
  else if (key === "Escape" && mixing !== null) startMixing();
  else if (key === "u" || key === "Backspace") undo();
  else if (key === "c") look();
  else if (digit !== null) press(DIGITS[digit]);
  else if (key in LETTERS) press(LETTERS[key]);
  // Letters of two meanings answer nothing: a slip would not be noticed.
  else if (key === "s") say("s could be sad (5), surprise (6) or skip (k)");
  else if (key === "n") say("n could be neutral (7) or none of these (0)");
  else return;
  event.preventDefault();
}

function onTap(event, action) {
  const tapped = event.detail > 0; // a key on a focused button has none
  if (tapped && shownAt && performance.now() - shownAt < TAP_GUARD_MS) return;
  action();
}

for (const button of document.querySelectorAll("[data-answer]")) {
  button.addEventListener("click", (event) => onTap(event, () => press(button.dataset.answer)));
}
at("mixed").addEventListener("click", startMixing);
at("undo").addEventListener("click", undo);
at("look").addEventListener("click", look);
at("help").addEventListener("click", () => at("helping").showModal());
at("close").addEventListener("click", () => at("helping").close());
document.addEventListener("keydown", onKey);
at("letters").addEventListener("change", () => {
  try {
    localStorage.setItem(LETTERS_STORE, at("letters").checked ? "on" : "off");
  } catch { /* no store in this browser: it holds until the page is closed */ }
});
try {
  at("letters").checked = localStorage.getItem(LETTERS_STORE) !== "off";
} catch { /* as above */ }
window.addEventListener("online", send);
window.addEventListener("beforeunload", (event) => {
  if (queue.memory.size) event.preventDefault(); // these would be lost
});

// ---- The beginning.

async function load() {
  let response = null;
  try {
    response = await ask(`${base}/state`);
  } catch { /* told below */ }
  if (!response?.ok) {
    if (state !== null) return; // at the end: then nothing new has come
    notice(response ? await response.text() : "The server cannot be reached; trying again");
    setTimeout(load, 3000);
    return;
  }
  const first = state === null;
  const told = await response.json();
  if (!first && (todo.length || queue.keys().length)) return; // the annotator has gone on meanwhile
  state = told;
  if (first) {
    notice("");
    queue.open();
  }
  ({todo, answered} = state);
  for (const {step} of queue.steps()) { // what the server does not know yet
    if (!todo.includes(step.face) && !answered.includes(step.face)) continue;
    todo = todo.filter((face) => face !== step.face);
    answered = answered.filter((face) => face !== step.face);
    if (step.kind === "answer") answered.push(step.face);
    else todo.unshift(step.face);
  }
  at("who").textContent = state.annotator;
  at("agree").textContent = "mien data agree DIR";
  document.title = `${state.annotator} labels faces - mien`;
  if (first || todo.length) show();
  send();
}

load();
