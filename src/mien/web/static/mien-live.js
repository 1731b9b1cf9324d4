// Frames of a camera to the server and back, never more than two on the way: the delay cannot grow.
import {pause} from "./mien-server.js";

const MOST_ON_THE_WAY = 2; // one is read, one waits: the server never does
const PATIENCE_MS = 8000; // for an answer
const LONGEST_WAIT_MS = 15000; // before another try to connect
const CLOSED = { // by the code that the server closes with
  1001: "The server is stopping, or has heard nothing from this camera for long.",
  1003: "The server does not take what this page sends.",
  1009: "The camera's picture is too large for the server.",
  1012: "The server is stopping.",
  1013: "The server has as many cameras as it takes.",
};

export class Live {
  // onConnect: told that the server begins anew.  onAnswer: told an answer and when its frame was taken.
  // onNotice: told what to show, or "".
  constructor({onConnect, onAnswer, onNotice}) {
    Object.assign(this, {onConnect, onAnswer, onNotice});
    this.socket = null;
    this.onTheWay = new Map(); // number -> when it was taken
    this.stopped = false;
    this.run();
  }

  get ready() {
    return this.socket?.readyState === WebSocket.OPEN && this.onTheWay.size < MOST_ON_THE_WAY;
  }

  // Sends a frame, an encoded picture that was taken at a time of performance.now().
  send(blob, takenAt) {
    if (!this.ready) return;
    this.onTheWay.set(this.sent, takenAt);
    this.sent += 1;
    this.socket.send(blob);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.socket?.close(), PATIENCE_MS);
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  async run() {
    for (let waitMs = 500; !this.stopped; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      const {opened, code, reason} = await this.connect();
      if (this.stopped) return;
      if (opened) waitMs = 500;
      this.onNotice(`${reason || CLOSED[code] || await why(opened)} The page tries again.`);
      await pause(waitMs);
    }
  }

  // Returns how a connection ended.
  connect() {
    return new Promise((ended) => {
      const address = new URL("/v1/live", location.href);
      address.protocol = address.protocol.replace("http", "ws");
      const socket = new WebSocket(address);
      let opened = false;
      this.socket = socket;
      this.sent = 0;
      this.onTheWay.clear();
      this.onConnect();
      socket.onmessage = ({data}) => {
        if (!opened) this.onNotice("");
        opened = true;
        this.take(JSON.parse(data));
      };
      socket.onclose = ({code, reason}) => {
        clearTimeout(this.timer);
        ended({opened, code, reason});
      };
    });
  }

  take(answer) {
    const takenAt = this.onTheWay.get(answer.frame);
    for (const number of this.onTheWay.keys()) { // frames before it have been passed over
      if (number <= answer.frame) this.onTheWay.delete(number);
    }
    if (this.onTheWay.size === 0) clearTimeout(this.timer);
    if (takenAt === undefined || this.stopped) return;
    if (answer.error) this.onNotice(answer.error);
    else this.onAnswer(answer, takenAt);
  }
}

// Returns why there is no connection, as far as another request can tell.
async function why(opened) {
  try {
    await fetch("/healthz");
    return opened ? "The connection was lost." : "The server takes no more cameras just now.";
  } catch {
    return "The server does not answer.";
  }
}
