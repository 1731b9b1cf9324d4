// Pictures: sent a few at a time, each shown with its boxes and what its faces show.
import {annotated, overlay, toPng} from "./mien-draw.js";
import {at, closeSection, notice, openSection, say, waitNotice} from "./mien-page.js";
import {People, make} from "./mien-people.js";
import {ask} from "./mien-server.js";
import {plural, save, sentenceOf, stem, toCsv, toRow} from "./mien-words.js";

const AT_ONCE = 8; // pictures in a request
const AT_ONCE_BYTES = 16e6;
const TURNED = "This browser shows the picture lying otherwise than it was read, so that no boxes are drawn";
const NOT_THESE = [413, 415, 422]; // refused for what they are: others, or each alone, may do

let pictures = []; // {file, card, answer}: answer is null until the server has given it
let labels = [];
let sending = null; // AbortController
const urls = new Map(); // card -> blob URL of what it shows

// Cards far from what is seen hold no picture, so that hundreds can be read.
const near = new IntersectionObserver((entries) => {
  for (const {target, isIntersecting} of entries) toggle(target, isIntersecting);
}, {rootMargin: "600px"});

export function addPictures(files) {
  const added = files.map((file) => ({file, card: addCard(file), answer: null}));
  for (const picture of added) picture.card.picture = picture;
  pictures.push(...added);
  openSection("pictures");
  if (sending === null) read();
}

export function startPictures() {
  at("pictures-csv").addEventListener("click", () => save("expressions.csv", toCsv(rows(), labels), "text/csv"));
  at("pictures-json").addEventListener("click", () => {
    const json = JSON.stringify({labels, pictures: answered().map(({answer}) => answer)}, null, 1);
    save("expressions.json", json, "application/json");
  });
  at("pictures-cancel").addEventListener("click", () => {
    dropUnread();
    stop();
    at("pictures-title").focus();
  });
  at("pictures-close").addEventListener("click", () => {
    for (const {card} of pictures) forget(card);
    pictures = [];
    stop();
    at("cards").replaceChildren();
    notice("");
    closeSection("pictures", "choose");
  });
}

const answered = () => pictures.filter(({answer}) => answer !== null);
const rows = () => answered().flatMap(({file, answer}) => answer.faces.map((face) => toRow(file.name, face)));

async function read() {
  const mine = new AbortController();
  sending = mine;
  at("pictures-progress").hidden = false;
  notice("");
  try {
    for (;;) {
      progress();
      const next = chunk(pictures.filter(({answer}) => answer === null));
      if (next.length === 0) break;
      await readSome(next, mine.signal);
      if (mine.signal.aborted) return;
    }
    say(`${plural(answered().length, "picture")} read: ${plural(rows().length, "face")}.`);
  } catch (error) {
    if (mine.signal.aborted) return;
    notice(error.message);
    dropUnread();
  }
  stop();
}

// Ends the reading; what has been read stays.
function stop() {
  sending?.abort();
  sending = null;
  at("pictures-progress").hidden = true;
  progress();
}

function dropUnread() {
  for (const {card} of pictures.filter(({answer}) => answer === null)) {
    forget(card);
    card.remove();
  }
  pictures = answered();
}

// Returns the first of the pictures, as many as go into one request.
function chunk(waiting) {
  const some = waiting.slice(0, 1);
  let bytes = some[0]?.file.size;
  for (const picture of waiting.slice(1, AT_ONCE)) {
    bytes += picture.file.size;
    if (bytes > AT_ONCE_BYTES) break;
    some.push(picture);
  }
  return some;
}

async function readSome(some, signal) {
  const form = new FormData();
  for (const {file} of some) form.append("files", file, file.name);
  try {
    const answer = await (await ask("/v1/recognize", {method: "POST", body: form, signal}, waitNotice)).json();
    labels = answer.labels;
    some.forEach((picture, index) => finish(picture, answer.pictures[index]));
  } catch (error) {
    if (!NOT_THESE.includes(error.status) && !error.late) throw error;
    if (some.length > 1) for (const picture of some) await readSome([picture], signal);
    else finish(some[0], {name: some[0].file.name, width: null, height: null, faces: [], error: error.message});
  }
}

function progress() {
  at("pictures-done").max = Math.max(1, pictures.length);
  at("pictures-done").value = answered().length;
  at("pictures-state").textContent = `${answered().length} of ${plural(pictures.length, "picture")} read`;
  at("pictures-csv").disabled = at("pictures-json").disabled = answered().length === 0;
}

// ---- Cards.

function addCard(file) {
  const title = make("h3", {textContent: file.name});
  const image = make("img", {alt: "", hidden: true});
  const screen = make("div", {className: "picture"}, image, make("canvas", {hidden: true}));
  const words = make("p", {className: "small", textContent: "Waiting"});
  const png = make("button", {type: "button", textContent: "Picture with boxes (PNG)", hidden: true});
  const card = make("article", {className: "stage"}, make("div", {className: "screen"}, title, screen, words,
    make("div", {className: "row"}, png)), make("div", {className: "people"}));
  png.addEventListener("click", () => savePng(card.picture));
  at("cards").append(card);
  near.observe(card);
  return card;
}

function finish(picture, answer) {
  picture.answer = {...answer, name: picture.file.name}; // a form may change it
  const {card} = picture;
  if (!card.isConnected) return;
  const [words, png] = [card.querySelector(".small"), card.querySelector("button")];
  words.classList.toggle("notice", answer.error !== null);
  words.textContent = wordsOf(answer);
  if (answer.error === null) {
    if (answer.faces.length) new People(card.querySelector(".people")).show(answer.faces);
    png.hidden = false;
    png.setAttribute("aria-label", `Picture with boxes (PNG) of ${picture.file.name}`);
  }
  draw(card);
}

const wordsOf = ({error, faces}) => error ?? (faces.length ? plural(faces.length, "face") : "No face");

function toggle(card, shown) {
  if (!shown) {
    forget(card, false);
    return;
  }
  const image = card.querySelector("img");
  if (urls.has(card)) return;
  urls.set(card, URL.createObjectURL(card.picture.file));
  image.onload = () => {
    image.hidden = false;
    draw(card);
  };
  image.onerror = () => { card.querySelector(".picture").classList.add("unseeable"); };
  image.src = urls.get(card);
}

function forget(card, forGood = true) {
  if (forGood) near.unobserve(card);
  const image = card.querySelector("img");
  if (image.clientHeight) card.querySelector(".picture").style.minHeight = `${image.clientHeight}px`;
  image.hidden = card.querySelector("canvas").hidden = true;
  image.removeAttribute("src");
  Object.assign(card.querySelector("canvas"), {width: 1, height: 1});
  if (urls.has(card)) URL.revokeObjectURL(urls.get(card));
  urls.delete(card);
}

function draw(card) {
  const {answer, file} = card.picture;
  const [image, canvas] = [card.querySelector("img"), card.querySelector("canvas")];
  if (image.hidden) return;
  card.querySelector(".picture").style.minHeight = "";
  image.alt = answer === null ? file.name : `${file.name}: ${sentenceOf(answer.faces)}`;
  const turned = answer?.width && !fits(image.naturalWidth, image.naturalHeight, answer);
  if (turned) card.querySelector(".small").textContent = `${wordsOf(answer)}. ${TURNED}.`;
  canvas.hidden = !answer?.width || turned;
  if (!canvas.hidden) overlay(canvas, answer.faces, answer);
}

// Browsers leave some pictures lying as they are stored (WebP with an orientation), which the server turns upright; that
// shows where they are not square, and turned by a quarter.
const fits = (width, height, answer) => Math.abs(width / height / (answer.width / answer.height) - 1) < 0.02;

async function savePng({file, answer}) {
  try {
    const picture = await createImageBitmap(file);
    if (!fits(picture.width, picture.height, answer)) {
      picture.close();
      notice(`${file.name}: ${TURNED}; mien recognize --annotate draws them.`);
      return;
    }
    save(`${stem(file.name)}-mien.png`, await toPng(annotated(picture, answer.faces, answer)));
    picture.close();
  } catch {
    notice(`This browser cannot show ${file.name}, nor draw on it; mien recognize --annotate can.`);
  }
}

addEventListener("resize", () => {
  for (const card of urls.keys()) draw(card);
});
