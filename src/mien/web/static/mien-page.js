// What the parts of the page share: its elements, its messages and its sections.
export const at = (id) => document.getElementById(id);

// Shows a sentence at the top of the page until another, or "", takes its place.
export function notice(sentence) {
  if (at("notice").textContent !== sentence) at("notice").textContent = sentence;
}

// Tells those who listen to the page something that those who look at it see.
export function say(sentence) {
  at("say").textContent = sentence;
}

export function waitNotice(waitS) {
  notice(waitS ? `The server is busy. The page asks again in ${Math.ceil(waitS)} s.` : "");
}

// Shows a section and takes the keyboard there.
export function openSection(id) {
  at(id).hidden = false;
  at(`${id}-title`).focus();
}

// Hides a section and takes the keyboard back to where things begin.
export function closeSection(id, next) {
  at(id).hidden = true;
  at(next).focus();
}
