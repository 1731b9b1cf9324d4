// The summary of a video as a table, and the files that the server has of it.
import {notice} from "./mien-page.js";
import {make} from "./mien-people.js";
import {ask} from "./mien-server.js";
import {moment, percent, save, stem, toTable} from "./mien-words.js";

const HEAD = ["Person", "Seen", "From", "To", "Share of time", "Changes", "Strongest moments"];
const LEAST_SHARE = 0.01; // of the time; less is left out of the table

const told = (shares) => Object.entries(shares).filter(([, share]) => share >= LEAST_SHARE);

// Fills a table with the people of a summary; a strongest moment is a button that leads there.
export function showSummary(table, {people}, seek) {
  const head = make("tr", {}, ...HEAD.map((name) => make("th", {scope: "col", textContent: name})));
  const rows = people.map((person) => {
    const shares = told(person.shares).map(([label, share]) => `${label} ${percent(share)}`);
    if (person.unsure >= LEAST_SHARE) shares.push(`(unsure ${percent(person.unsure)})`);
    const moments = told(person.shares).map(([label]) => {
      const {time_s: timeS, probability} = person.moments[label];
      const text = `${label} ${percent(probability)} at ${moment(timeS)}`;
      const button = make("button", {type: "button", className: "inline", textContent: text});
      button.addEventListener("click", () => seek(timeS));
      return button;
    });
    const times = [`${person.seen_s.toFixed(1)} s`, moment(person.first_s), moment(person.last_s)];
    const cells = [...times, shares.join(", "), person.changes].map((text) => make("td", {textContent: text}));
    const name = make("th", {scope: "row", textContent: `person ${person.track}`});
    return make("tr", {}, name, ...cells, make("td", {}, ...moments));
  });
  const none = make("tr", {}, make("td", {colSpan: HEAD.length, textContent: "No face was found in this video."}));
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...(rows.length ? rows : [none])));
}

// Puts a button for each file into an element.
export function showFiles(element, {job, name, annotated, summary}) {
  const files = [
    ["CSV", `${job}/rows?format=csv`, ".csv"],
    ["JSON lines", `${job}/rows?format=jsonl`, ".jsonl"],
    ["Parquet", `${job}/rows?format=parquet`, ".parquet"],
    ["Timeline (PNG)", `${job}/timeline.png`, "-timeline.png"],
  ];
  if (annotated) files.push(["Video with boxes (MP4)", `${job}/annotated.mp4`, "-mien.mp4"]);
  const buttons = files.map(([title, path, ending]) => {
    const button = make("button", {type: "button", textContent: title});
    button.addEventListener("click", () => fetchFile(job, path, stem(name) + ending));
    return button;
  });
  const table = make("button", {type: "button", textContent: "Summary (CSV)"});
  table.addEventListener("click", () => save(`${stem(name)}-summary.csv`, summaryCsv(summary), "text/csv"));
  element.replaceChildren(...buttons, table);
}

async function fetchFile(job, path, name) {
  try {
    await ask(job); // where it is gone, its sentence is shown here and not saved as a file
    notice("");
  } catch (error) {
    notice(error.status === 404 ? "The server no longer has this video. Read it again." : error.message);
    return;
  }
  make("a", {href: path, download: name}).click();
}

function summaryCsv({people}) {
  const labels = Object.keys(people[0]?.means ?? {});
  const head = ["track", "seen_s", "first_s", "last_s", "changes", "unsure",
    ...labels.flatMap((label) => [`share_${label}`, `mean_${label}`, `strongest_${label}`, `strongest_${label}_s`])];
  return toTable([head, ...people.map((person) => [
    person.track, person.seen_s, person.first_s, person.last_s, person.changes, person.unsure,
    ...labels.flatMap((label) => [
      person.shares[label] ?? 0, person.means[label], person.moments[label]?.probability, person.moments[label]?.time_s,
    ]),
  ])]);
}
