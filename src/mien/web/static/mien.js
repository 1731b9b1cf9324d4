// The page of `mien serve`: what is dropped, chosen or pasted goes to the part of the page that reads it.
import {startCamera} from "./mien-camera.js";
import {at, notice} from "./mien-page.js";
import {addPictures, startPictures} from "./mien-pictures.js";
import {openVideo, startVideo} from "./mien-video.js";

const VIDEO_NAME = /\.(mp4|m4v|mov|mkv|webm|avi|mts|m2ts|ts|mpe?g|wmv|flv|3gp|ogv)$/i;
const PICTURE_NAME = /\.(jpe?g|png|webp|bmp|tiff?|gif|heic|heif|avif)$/i;

const isPicture = (file) => file.type.startsWith("image/") || PICTURE_NAME.test(file.name);
const isVideo = (file) => file.type.startsWith("video/") || (!isPicture(file) && VIDEO_NAME.test(file.name));

function take(files) {
  const videos = files.filter(isVideo);
  const pictures = files.filter((file) => !isVideo(file));
  notice("");
  if (pictures.length) addPictures(pictures);
  if (videos.length) openVideo(videos[0]);
  if (videos.length > 1) notice(`One video at a time: ${videos[0].name} was taken, ${videos.length - 1} left out.`);
}

// Returns the files of what was dropped; of folders, the pictures and videos in them.
async function filesIn(entry, chosen = true) {
  if (entry.isFile) {
    const file = await new Promise((done, fail) => { entry.file(done, fail); });
    return chosen || isPicture(file) || isVideo(file) ? [file] : [];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) { // a folder is told a hundred entries at a time
    const some = await new Promise((done, fail) => { reader.readEntries(done, fail); });
    if (some.length === 0) return files;
    for (const inner of some) files.push(...await filesIn(inner, false));
  }
}

async function onDrop(event) {
  event.preventDefault();
  at("dropping").hidden = true;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files];
  try {
    const files = entries.length ? (await Promise.all(entries.map((entry) => filesIn(entry)))).flat() : plain;
    if (files.length) take(files);
    else notice("There is no picture and no video in what was dropped.");
  } catch {
    notice("What was dropped could not be read.");
  }
}

function onDrag(event) {
  if (![...event.dataTransfer.types].includes("Files")) return;
  event.preventDefault();
  at("dropping").hidden = event.type === "dragleave" && event.relatedTarget === null;
}

at("where").textContent = location.host;
at("choose").addEventListener("click", () => at("files").click());
at("files").addEventListener("change", () => {
  take([...at("files").files]);
  at("files").value = ""; // the same file may be chosen again
});
addEventListener("dragover", onDrag);
addEventListener("dragleave", onDrag);
addEventListener("drop", onDrop);
addEventListener("paste", (event) => {
  const files = [...event.clipboardData.files];
  if (files.length) take(files);
});
startPictures();
startVideo();
startCamera();
