// What can be written at a place of an experiment file, by its JSON Schema. It needs no whole file: lines that are no
// YAML yet are read by their indentation, and braces by their nesting.

const KEY = /^("[^"]*"|'[^']*'|[^\s#:{}[\],'"-][^\s:#{}[\],]*)\s*:(?=\s|$)/;
const WORD = /[\w./+\-[\]"]*$/;

/** Keys of every mapping, numbers of items of every list, and what the caret is in: {keys, items, place}. */
function scan(text, caret) {
  const keys = new Map(), items = new Map();
  let place = null, frames = [{indent: 0, kind: "map", path: []}], pending = null, at = 0;
  const add = (path, key) => { const name = JSON.stringify(path); keys.set(name, [...(keys.get(name) ?? []), key]); };
  const count = (path, n) => items.set(JSON.stringify(path), n);
  while (at <= text.length) {
    const end = text.indexOf("\n", at) < 0 ? text.length : text.indexOf("\n", at);
    const here = caret >= at && caret <= end;
    let column = text.slice(at, end).search(/[^ ]|$/), rest = text.slice(at + column, end);
    const before = (n) => text.slice(at + n, caret);
    if (here && caret < at + column) column = caret - at, rest = "";
    if ((rest === "" || rest.startsWith("#")) && !here) { at = end + 1; continue; }
    if (!(here && rest.startsWith("#"))) {
      while (frames.length > 1 && frames.at(-1).indent > column) frames.pop();
      let item = false;
      while (/^-(\s|$)/.test(rest)) {
        if (frames.at(-1).kind !== "seq" || frames.at(-1).indent !== column) {
          const deeper = pending && pending.indent <= column;
          frames.push({indent: column, kind: "seq", path: deeper ? pending.path : [...frames.at(-1).path, "?"], next: 0});
        }
        const seq = frames.at(-1), path = [...seq.path, seq.next++];
        count(seq.path, seq.next);
        const skip = rest.slice(1).search(/\S|$/) + 1;
        pending = {indent: column + 1, path};
        column += Math.max(2, skip); rest = rest.slice(Math.max(2, skip)); item = true;
      }
      const key = rest.match(KEY);
      if (here && (!key || caret < at + column + key[0].length)) {
        const typed = before(Math.min(column, caret - at));
        if (!/\s/.test(typed.trim()) && !typed.includes("#")) place = keyPlace(frames, pending, column, item, typed, text[caret - 1] === "-");
      }
      if (key) {
        let top = frames.at(-1);
        if (!(top.kind === "map" && top.indent === column)) {
          top = {indent: column, kind: "map", path: pending && pending.indent <= column ? pending.path : [...top.path, "?"]};
          frames.push(top);
        }
        const name = key[1].replace(/^["']|["']$/g, ""), path = [...top.path, name];
        add(top.path, name);
        pending = {indent: column, path};
        const from = at + column + key[0].length, value = text.slice(from, end).match(/^\s*/)[0].length;
        if ("{[".includes(text[from + value] ?? " ")) {
          const flow = scanFlow(text, from + value, path, caret, add, count);
          place ??= flow.place;
          at = flow.end;
          pending = null;
          const next = text.indexOf("\n", at);
          at = next < 0 ? text.length + 1 : next + 1;
          continue;
        }
        if (here && caret >= from && !before(from - at).includes("#")) {
          const typed = before(from - at).trimStart();
          place = {kind: "value", path, typed, from: caret - typed.length, flow: false};
        }
        if (text.slice(from, end).replace(/#.*/, "").trim()) pending = null;
      } else if (rest.startsWith("{") || rest.startsWith("[")) {
        const flow = scanFlow(text, at + column, pending?.path ?? ["?"], caret, add, count);
        place = flow.place ?? place;
        const next = text.indexOf("\n", flow.end);
        at = next < 0 ? text.length + 1 : next + 1;
        continue;
      }
    }
    at = end + 1;
  }
  return {keys, items, place};
}

function keyPlace(frames, pending, column, item, typed, bare) {
  const base = {kind: "key", typed, flow: false, column, lead: ""};
  if (item) return {...base, path: pending.path, lead: bare ? " " : ""}; // behind a dash without its space
  const top = frames.at(-1);
  if (top.indent === column) return top.kind === "map" ? {...base, path: top.path} : {...base, path: [...top.path, top.next], dash: true};
  return pending ? {...base, path: pending.path, dash: "maybe"} : null;
}

/** Braces and brackets from `at` on: where they end, and the place of the caret in them. */
function scanFlow(text, at, path, caret, add, count) {
  const open = [];
  let place = null, word = null, k = at;
  const flush = (stop) => { const said = word === null ? "" : text.slice(word, stop).trim().replace(/^["']|["']$/g, ""); word = null; return said; };
  const look = () => {
    if (k !== caret || !open.length || place) return;
    const top = open.at(-1), typed = (word === null ? "" : text.slice(word, caret)).trimStart();
    if (top.kind === "{" && top.key === null) place = {kind: "key", path: top.path, typed, flow: true, lead: ""};
    else place = {kind: "value", path: [...top.path, top.kind === "{" ? top.key : top.index], typed, flow: true};
    place.from = caret - typed.length;
  };
  for (; k < text.length; k++) {
    const c = text[k];
    look();
    if (c === "#" && /\s/.test(text[k - 1] ?? " ")) { while (k < text.length && text[k] !== "\n") k++; word = null; continue; }
    if (c === '"' || c === "'") { word ??= k; const close = text.indexOf(c, k + 1); if (close < 0) { k = text.length; break; } if (caret > k && caret <= close) { k = caret; look(); } k = close; continue; }
    if (c === "[" && word !== null && /\w$/.test(text.slice(word, k))) continue; // cell[0]
    if (c === "]" && word !== null && /\w\[\d*$/.test(text.slice(word, k))) continue;
    if (c === "{" || c === "[") {
      const top = open.at(-1);
      open.push({kind: c, path: top ? [...top.path, top.kind === "{" ? top.key : top.index] : path, key: null, index: 0});
      word = null;
    } else if (c === "}" || c === "]") {
      flush(k);
      open.pop();
      if (!open.length) { k++; break; }
    } else if (c === ":" && open.at(-1).kind === "{" && open.at(-1).key === null) {
      open.at(-1).key = flush(k);
      add(open.at(-1).path, open.at(-1).key);
    } else if (c === ",") {
      flush(k);
      const top = open.at(-1);
      if (top.kind === "{") top.key = null; else { top.index++; count(top.path, top.index + 1); }
    } else if (/\S/.test(c)) word ??= k;
    else if (c === "\n" && open.length && /^\S/.test(text.slice(k + 1)) && !/^[}\]]/.test(text.slice(k + 1))) { k++; look(); break; } // left open
  }
  if (k === text.length) look();
  return {end: Math.min(k, text.length), place};
}

// -- the schema

/** Completes by a schema; `rigs` are what `rig:` may say. */
export class Completer {
  constructor(schema, rigs) {
    this.schema = schema;
    this.rigs = rigs;
  }

  /** {from, to, options: [{label, insert, back, detail}]} at the caret; null where nothing can be offered. `back` is how many characters of `insert` stand behind the caret. */
  at(text, caret) {
    const {keys, items, place} = scan(text, caret);
    if (!place || place.path.includes("?")) return null;
    const to = caret + (place.kind === "key" ? text.slice(caret).match(/^\w*/)[0].length : 0);
    const offered = place.kind === "key" ? this.keysAt(place, keys) : this.valuesAt(place, items);
    const typed = place.typed.replace(/^["']/, "").toLowerCase();
    const options = offered.filter((o) => o.label.toLowerCase().startsWith(typed) && o.label.toLowerCase() !== typed);
    const more = typed && place.kind === "key" ? offered.filter((o) => !options.includes(o) && o.label.toLowerCase() !== typed && o.label.toLowerCase().includes(typed)) : [];
    return options.length + more.length ? {from: caret - place.typed.length, to, options: [...options, ...more]} : null;
  }

  nodes(path) {
    let nodes = this.all([this.schema]);
    for (const part of path) {
      const next = nodes.map((n) => (typeof part === "string" ? n.properties?.[part] : (n.prefixItems?.[part] ?? n.items))).filter(Boolean);
      nodes = this.all(next);
    }
    return nodes;
  }

  /** The nodes, references followed, with those of which one must hold. */
  all(nodes) {
    return nodes.flatMap((node) => {
      const one = this.follow(node), inner = [...(one.oneOf ?? []), ...(one.anyOf ?? [])].filter((n) => n.$ref || n.properties || n.type || n.enum);
      return [one, ...this.all(inner)];
    });
  }

  follow(node) {
    if (!node.$ref) return node;
    const {$ref, ...more} = node;
    return {...this.schema.$defs[$ref.split("/").at(-1)], ...more};
  }

  keysAt(place, keys) {
    let path = place.path, lead = place.lead;
    let nodes = this.nodes(path);
    if (place.dash) {
      const list = place.dash === true ? null : nodes.find((n) => n.items);
      if (list) { path = [...path, 0]; nodes = this.nodes(path); lead = "- "; }
      else if (place.dash === true) lead = "- ";
    }
    const present = new Set(place.dash ? [] : (keys.get(JSON.stringify(path)) ?? [])), known = nodes.filter((n) => n.properties);
    const all = new Set(known.flatMap((n) => Object.keys(n.properties)));
    const fit = known.length > 1 ? known.filter((n) => [...present].every((key) => key in n.properties || !all.has(key))) : known;
    const options = new Map();
    for (const node of fit) {
      const needed = new Set([...(node.required ?? []), ...(node.allOf ?? []).flatMap((one) => one.anyOf ?? []).flatMap((one) => one.required ?? [])]);
      for (const [key, value] of Object.entries(node.properties)) {
        if (present.has(key) || this.excluded(key, value, node, present)) continue;
        const {insert, back} = this.keyText(key, this.all([value]), place);
        const rank = this.same(value).length ? 2 : needed.has(key) ? 0 : 1; // what is needed first, a number with its unit last
        options.set(key, {label: key, insert: lead + insert, back, detail: this.detail(value), rank});
      }
    }
    return [...options.values()].sort((a, b) => a.rank - b.rank);
  }

  /** The keys that a word with its unit stands for. */
  same(value) { return value.description?.match(/the same as ([\w ]+)\.$/)?.[1].split(" or ") ?? []; }

  excluded(key, value, node, present) {
    if (this.same(value).some((other) => present.has(other))) return true;
    return [...present].some((other) => node.properties[other] && this.same(node.properties[other]).includes(key));
  }

  keyText(key, nodes, place) {
    const list = nodes.find((n) => n.items ?? n.prefixItems), inside = list && this.all([list.items ?? {}]).some((n) => n.properties);
    if (list && inside && !place.flow) { const insert = `${key}:\n${" ".repeat(place.column + 2)}- `; return {insert, back: 0}; }
    if (list) return {insert: `${key}: []`, back: 1};
    if (nodes.some((n) => n.properties)) return {insert: `${key}: {}`, back: 1};
    return {insert: `${key}: `, back: 0};
  }

  valuesAt(place, items) {
    const nodes = this.nodes(place.path), key = place.path.at(-1), offered = new Map();
    const offer = (value, detail) => {
      const text = typeof value === "object" ? flowText(value) : String(value);
      const insert = place.flow && /[[\]{},]/.test(text) && typeof value === "string" ? `"${text}"` : text;
      if (!offered.has(text)) offered.set(text, {label: text, insert, back: 0, detail});
    };
    const said = this.detail(nodes[0] ?? {});
    if (place.path.length === 1 && key === "rig") this.rigs.forEach((rig) => offer(rig, said));
    if (key === "during") for (let k = 0; k < (items.get('["cell"]') ?? 0); k++) offer(`cell[${k}]`, said);
    for (const node of nodes) {
      (node.enum ?? []).forEach((value) => offer(value, said));
      if (node.type === "boolean") [true, false].forEach((value) => offer(value, said));
      if (node.default !== undefined && typeof node.default !== "object") offer(node.default, `${said} The default.`);
      (node.examples ?? []).forEach((value) => offer(value, `${said} An example.`));
    }
    return [...offered.values()];
  }

  detail(node) {
    const one = this.follow(node), range = [one.minimum ?? one.exclusiveMinimum, one.maximum ?? one.exclusiveMaximum];
    const example = one.examples?.[0] === undefined ? "" : ` e.g. ${typeof one.examples[0] === "object" ? flowText(one.examples[0]) : one.examples[0]}`;
    const span = range[0] === undefined && range[1] === undefined ? "" : ` (${range[0] ?? ""} … ${range[1] ?? ""})`;
    return `${one.description ?? ""}${span}${example}`;
  }
}

/** A value as YAML on one line. */
function flowText(value) {
  if (Array.isArray(value)) return `[${value.map(flowText).join(", ")}]`;
  if (value && typeof value === "object") return `{${Object.entries(value).map(([key, inner]) => `${key}: ${flowText(inner)}`).join(", ")}}`;
  return typeof value === "string" && /[[\]{},:#]/.test(value) ? JSON.stringify(value) : String(value);
}
