// A video of the camera with the boxes in it, made by the browser.
import {annotated} from "./mien-draw.js";
import {clock} from "./mien-words.js";

const KINDS = [["video/mp4;codecs=avc1.42E01F", "mp4"], ["video/webm;codecs=vp9", "webm"], ["video/webm", "webm"]];

const kind = () => KINDS.find(([type]) => MediaRecorder.isTypeSupported(type));

export const canRecord = () => typeof MediaRecorder === "function" && kind() !== undefined
  && typeof HTMLCanvasElement.prototype.captureStream === "function";

export class Recorder {
  // onTime: told how long it has been, in words.  onEnd: told the video and the ending of its name.
  constructor(video, {onTime, onEnd}) {
    const [type, ending] = kind();
    const parts = [];
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, {width: video.videoWidth, height: video.videoHeight});
    this.canvas.getContext("2d");
    this.recorder = new MediaRecorder(this.canvas.captureStream(), {mimeType: type});
    const begun = performance.now();
    const tell = () => onTime(clock((performance.now() - begun) / 1000));
    const timer = setInterval(tell, 1000);
    this.recorder.ondataavailable = ({data}) => parts.push(data);
    this.recorder.onstop = () => {
      clearInterval(timer);
      onEnd(new Blob(parts, {type}), ending);
    };
    this.recorder.start(1000);
    tell();
  }

  draw(video, {faces, width, height}, {mirrored}) {
    annotated(video, faces, {width, height}, {mirrored, canvas: this.canvas});
  }

  stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
  }
}
