// The page of a stored run: asks until the analysis is done, then shows what the report says. Texts of a run are text.
import {updateElsewhere} from "./elsewhere.js";
import {Figure} from "./figure.js";
import {setTheme, undirected, write} from "./theme.js";
import {decode, PEOPLE} from "./wire.js";

const $ = (id) => document.getElementById(id);
const AGAIN = 400; // [ms] until the page asks again what the analysis is doing
const MOST_ROWS = 20; // of a table; more are folded
const BROAD = 5; // columns: a table with more takes the whole width
const figures = [];

/** An element with a text, a class, or children. */
function make(tag, {text, className, children = [], ...rest} = {}) {
  const element = Object.assign(document.createElement(tag), rest);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  element.append(...children);
  return element;
}

const list = (texts) => texts.map((text) => make("li", {text}));

// -- asking

async function load() {
  for (;;) {
    let answer;
    try { answer = await fetch("api/results"); } catch { return refuse({title: "The console does not answer", detail: "start it again with opsicm console, and open the address that it prints"}); }
    const content = await answer.json();
    if (answer.status === 200) return show(content);
    if (answer.status !== 202) return refuse(content);
    write($("progress"), `${content.progress} …`);
    await new Promise((done) => { setTimeout(done, AGAIN); });
  }
}

function refuse({title, detail}) {
  $("progress").hidden = true;
  $("banner").hidden = false;
  write($("banner"), detail ? `${title}: ${detail}` : title);
}

// -- showing

function show(content) {
  $("progress").hidden = true;
  $("report").hidden = false;
  document.title = undirected(content.title);
  write($("title"), document.title);
  write($("subtitle"), content.subtitle);
  $("warnings").append(...content.warnings.map((text) => make("p", {text, className: "warns"})));
  $("sentences").append(...list(content.answer));
  write($("u-note"), content.u_note);
  $("doubts").hidden = content.doubts.length === 0;
  $("doubts").querySelector("ul").append(...list(content.doubts));
  $("files").append(...content.exports.map(download));
  for (const table of content.tables) $("tables").append(tableSection(table));
  for (const figure of content.figures) place(figure);
  details(content);
}

function place(figure) {
  const box = make("figure", {className: "panel"}), where = {answer: $("key"), figure: $("figures")}[figure.place] ?? $(figure.place);
  box.dataset.name = figure.name;
  if (figure.place !== "figure") box.className = "";
  else if (figure.columns > 2) box.classList.add("across");
  where.append(box);
  // Drawn when it is about to be seen: a report may have thirty.
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    fill(box, figure);
  }, {rootMargin: "600px"}).observe(box);
}

async function fill(box, figure) {
  const answer = await fetch(`api/results/${figure.id}.view`);
  if (!answer.ok) { const {title, detail} = await answer.json(); box.append(make("p", {text: `${title}: ${detail}`, className: "warns"})); return; }
  const {content: view} = decode(await answer.arrayBuffer());
  const body = make("div"), caption = [view.caption, figure.left_out && `${figure.left_out}; the data has all.`].filter(Boolean).join(" ");
  box.append(make("h3", {text: view.title}), body, make("figcaption", {className: "note", children: [`${caption} `.trimStart(), make("a", {text: "data (csv)", href: `api/results/${figure.id}.csv`, download: ""})]}));
  figures.push(new Figure(body, view));
}

function tableSection(table) {
  const section = make("section", {id: table.id, className: "panel"});
  section.dataset.name = table.name;
  section.classList.toggle("across", table.headings.length > BROAD);
  section.append(
    make("h3", {text: table.title}), rows(table.headings, table.rows, table.numeric), ...table.notes.map((text) => make("p", {text, className: "note"})),
    make("p", {className: "note", children: [make("a", {text: "data (csv)", href: `api/results/${table.id}.csv`, download: ""})]}),
  );
  return section;
}

function rows(headings, cells, numeric = []) {
  const side = (k) => (numeric[k] ? "number" : "");
  const head = make("thead", {children: [make("tr", {children: headings.map((text, k) => make("th", {text, className: side(k)}))})]});
  const body = (some) => make("div", {className: "scroll", children: [make("table", {children: [head.cloneNode(true), make("tbody", {children: some.map((row) => make("tr", {children: row.map((text, k) => make("td", {text, className: side(k)}))}))})]})]});
  if (cells.length <= MOST_ROWS + 4) return body(cells);
  const more = make("details", {children: [make("summary", {text: `${cells.length - MOST_ROWS} more rows`}), body(cells.slice(MOST_ROWS))]});
  return make("div", {children: [body(cells.slice(0, MOST_ROWS)), more]});
}

function details({setup, methods, results, folded, source}) {
  const pairs = (some) => make("table", {children: [make("tbody", {children: some.map(([name, ...texts]) => make("tr", {children: [make("th", {text: name}), ...texts.map((text) => make("td", {text}))]}))})]});
  const said = results.rows.map(([name, value, unit, outcome, remark]) => [name, value, unit, outcome ? `${outcome}: ${remark}` : remark]);
  const blocks = [
    ["What was run", setup.length, () => pairs(setup)],
    [`Every result (${said.length})`, said.length, () => rows(results.headings, said, [false, true])],
    ["Methods: how each quantity was made", methods.length, () => pairs(methods)],
    ...folded.map(([name, some]) => [name, some.length, () => pairs(some)]),
    ...source.map(([name, text]) => [name, text.length, () => make("pre", {text})]),
  ];
  for (const [name, count, content] of blocks) if (count) $("details").append(make("details", {children: [make("summary", {text: name}), make("div", {className: "scroll", children: [content()]})]}));
}

// -- downloads: made first, so that a refusal is read here; then the browser saves the file as it comes from the disk

function download({name, purpose}) {
  const button = make("button", {type: "button", children: [make("strong", {text: name}), make("span", {text: purpose})]});
  button.dataset.name = name;
  button.addEventListener("click", async () => {
    button.disabled = true;
    tell(`making ${name} …`, "");
    try {
      const path = `api/export/${encodeURIComponent(name)}`;
      const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"}), content = await answer.json();
      if (!answer.ok) return tell(`${content.title}: ${content.detail}`, "bad");
      tell(`${content.file}, ${size(content.bytes)}`, "");
      make("a", {href: path, download: ""}).click();
    } catch (error) {
      tell(`${name}: the console does not answer (${error.message})`, "bad");
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

function tell(text, tone) { write($("made"), text); $("made").dataset.tone = tone; }

function size(bytes) {
  const power = Math.min(3, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** power).toPrecision(3)} ${["bytes", "kB", "MB", "GB"][power]}`;
}

// -- runs in progress

function listen() {
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws?people`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => { const {kind, content} = decode(event.data); if (kind === PEOPLE) updateElsewhere(content.others); };
  socket.onclose = () => setTimeout(listen, 1000);
}
listen();

// -- theme

function theme(name) {
  setTheme(name);
  figures.forEach((figure) => figure.build());
}
$("theme").addEventListener("click", () => {
  const name = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("theme", name);
  theme(name);
});
theme(localStorage.getItem("theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
load();
