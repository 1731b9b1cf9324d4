// What the page says to its server.  A refusal comes back as an Error whose message is a sentence to show.

const PATIENCE = 20; // times that a busy server is asked again
const LATE = 2; // times that a request is sent which is not answered in time
const DEFAULT_WAIT_S = 2; // where a busy server does not say how long
const LONGEST_WAIT_S = 30;
const LOST = "The server does not answer. Is mien serve still running?";
const BROKEN_OFF = "The server broke the request off; what was sent may be too large for it.";

export class Refusal extends Error {
  constructor(status, sentence, late = false) {
    super(sentence);
    this.status = status; // 0: no answer at all
    this.late = late; // it was not answered in time
  }
}

// Returns the response of a fetch.  Where the server is busy, it waits and asks again, telling `onWait` the seconds.
export function ask(path, options = {}, onWait = () => {}) {
  return patiently(() => fetch(path, {credentials: "same-origin", ...options}), options.signal, onWait);
}

// Returns the response to a form that is sent; `onProgress` is told which part of it has been.
export function upload(path, form, {signal, onProgress, onWait = () => {}}) {
  return patiently(() => sendForm(path, form, signal, onProgress), signal, onWait);
}

// Returns whether an error is that of something the person has cancelled.
export const isCancelled = (error) => error.name === "AbortError";

async function patiently(send, signal, onWait) {
  let lateTries = 0;
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await send();
    } catch (error) {
      if (isCancelled(error)) throw error;
      throw new Refusal(0, await isThere() ? BROKEN_OFF : LOST);
    }
    if (response.ok) return response;
    const after = Number(response.headers.get("Retry-After"));
    const late = response.status === 503 && after > 0;
    lateTries += late;
    const again = late ? lateTries < LATE : response.status === 429 && tries < PATIENCE;
    if (!again) throw new Refusal(response.status, await sentence(response), late);
    const waitS = Math.min(after > 0 ? after : DEFAULT_WAIT_S, LONGEST_WAIT_S);
    onWait(waitS);
    try {
      await pause(1000 * waitS, signal);
    } finally {
      onWait(0);
    }
  }
}

async function isThere() {
  try {
    return (await fetch("/healthz")).ok;
  } catch {
    return false;
  }
}

async function sentence(response) {
  const text = await response.text().catch(() => "");
  try {
    const problem = JSON.parse(text);
    if (problem.detail ?? problem.title) return String(problem.detail ?? problem.title);
  } catch { /* not a problem document */ }
  const plain = (response.headers.get("Content-Type") ?? "").startsWith("text/plain");
  return plain && text ? text.slice(0, 300) : `The server answers ${response.status} ${response.statusText}`.trim();
}

export function pause(ms, signal) {
  return new Promise((done, fail) => {
    const cancel = () => fail(new DOMException("cancelled", "AbortError"));
    if (signal?.aborted) cancel();
    signal?.addEventListener("abort", cancel, {once: true});
    setTimeout(() => {
      signal?.removeEventListener("abort", cancel);
      done();
    }, ms);
  });
}

// fetch tells nothing of how far an upload is, XMLHttpRequest does.
function sendForm(path, form, signal, onProgress) {
  return new Promise((done, fail) => {
    const request = new XMLHttpRequest();
    const cancel = () => request.abort();
    request.open("POST", path);
    request.responseType = "text";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      const headers = {};
      for (const name of ["Content-Type", "Retry-After"]) {
        const value = request.getResponseHeader(name);
        if (value !== null) headers[name] = value;
      }
      done(new Response(request.response, {status: request.status, statusText: request.statusText, headers}));
    };
    request.onerror = () => fail(new TypeError("no answer"));
    request.onabort = () => fail(new DOMException("cancelled", "AbortError"));
    request.onloadend = () => signal?.removeEventListener("abort", cancel);
    signal?.addEventListener("abort", cancel, {once: true});
    if (signal?.aborted) cancel();
    else request.send(form);
  });
}

// Yields the objects of a response of JSON lines, as they come.
export async function* jsonLines(response) {
  let rest = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const {value, done} = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines) if (line.trim()) yield JSON.parse(line);
    if (done) return;
  }
}
