// The faces as a list: a name, what it shows in words, and a bar for each expression.
import {colourOf, nameOf, percent, words} from "./mien-words.js";

// Shows faces in an element, anew each time; what is already there is changed, so that it does not flicker.
export class People {
  constructor(element, empty = "No face") {
    this.element = element;
    this.empty = empty;
    this.shown = new Map(); // name -> its parts
    this.nobody = make("p", {className: "small", textContent: empty});
    element.replaceChildren(this.nobody);
  }

  show(faces) {
    const names = new Set(faces.map(nameOf));
    for (const [name, parts] of this.shown) {
      if (names.has(name)) continue;
      parts.card.remove();
      this.shown.delete(name);
    }
    // By name, not by size: while people move, each keeps its place.
    for (const face of [...faces].sort((one, other) => (one.track ?? one.face) - (other.track ?? other.face))) {
      const name = nameOf(face);
      if (!this.shown.has(name)) {
        this.shown.set(name, build(name, Object.keys(face.probabilities)));
        this.element.append(this.shown.get(name).card);
      }
      update(this.shown.get(name), face);
    }
    this.nobody.hidden = faces.length > 0;
  }
}

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function build(name, labels) {
  const say = make("p", {className: "words"});
  const list = make("dl", {className: "bars"});
  const bars = new Map();
  for (const label of labels) {
    const bar = make("span", {className: "bar"});
    const value = make("dd");
    const row = make("div", {}, make("dt", {textContent: label}), make("span", {className: "track"}, bar), value);
    bar.style.backgroundColor = colourOf(label);
    row.children[1].setAttribute("aria-hidden", "true");
    bars.set(label, {row, bar, value});
    list.append(row);
  }
  const title = make("h3", {textContent: name});
  return {card: make("article", {className: "person"}, title, say, list), say, bars};
}

function update({say, bars}, face) {
  setText(say, words(face));
  for (const [label, share] of Object.entries(face.probabilities)) {
    const {row, bar, value} = bars.get(label);
    bar.style.transform = `scaleX(${Math.max(0, Math.min(1, share))})`;
    setText(value, percent(share));
    row.classList.toggle("strongest", label === face.expression);
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
