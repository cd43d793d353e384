// A text area with line numbers, indentation by the keyboard, marks in its margin and a list of completions.

/** An editor in `body`. `completer.at(text, caret)` offers completions; `changed` is called after each change. */
export class Editor {
  constructor(body, changed) {
    this.changed = changed;
    this.completer = null;
    this.offered = null; // {from, to, options}
    this.chosen = 0;
    this.marks = new Map(); // line → message
    this.margin = element("div", "margin");
    this.margin.ariaHidden = "true";
    this.area = element("textarea", "text");
    Object.assign(this.area, {wrap: "off", spellcheck: false, autocomplete: "off", ariaLabel: "experiment", id: "text"});
    this.area.setAttribute("autocapitalize", "off");
    this.area.setAttribute("aria-autocomplete", "list");
    this.area.setAttribute("aria-controls", "completions");
    this.list = element("ul", "completions");
    this.list.id = "completions";
    this.list.setAttribute("role", "listbox");
    this.list.hidden = true;
    this.says = element("p", "completion-detail");
    this.says.id = "completion-detail";
    this.says.hidden = true;
    body.append(this.margin, this.area, this.list, this.says);
    this.area.addEventListener("input", (event) => this.typed(event));
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("scroll", () => { this.margin.scrollTop = this.area.scrollTop; this.close(); });
    this.area.addEventListener("blur", () => this.close());
    this.area.addEventListener("click", () => this.close());
    this.list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the text keeps the focus
      const row = event.target.closest("li");
      if (row) { this.chosen = [...this.list.children].indexOf(row); this.accept(); }
    });
    this.number();
  }

  get text() { return this.area.value; }

  set text(text) {
    this.area.value = text;
    this.area.setSelectionRange(0, 0);
    this.area.scrollTop = 0;
    this.close();
    this.number();
  }

  /** Mark lines, [line, message] from 1; all others are unmarked. */
  mark(marks) {
    this.marks = new Map(marks);
    this.number();
  }

  /** Put the caret at the beginning of a line and show it. */
  show(line) {
    const at = this.text.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    this.area.focus();
    this.area.setSelectionRange(at, at);
    this.area.scrollTop = Math.max(0, (line - 4) * this.lineHeight());
  }

  // -- typing

  typed(event) {
    this.number();
    this.changed();
    if (event.inputType?.startsWith("delete") && !this.offered) return;
    if (event.data === null && !this.offered) return;
    this.offer(false);
  }

  key(event) {
    if (this.offered) {
      const by = {ArrowDown: 1, ArrowUp: -1}[event.key];
      if (by) { event.preventDefault(); this.choose(this.chosen + by); return; }
      if (event.key === "Enter" || event.key === "Tab") { event.preventDefault(); this.accept(); return; }
      if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); this.close(); return; }
      if (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End") this.close();
    }
    if (event.key === " " && event.ctrlKey) { event.preventDefault(); this.offer(true); }
    else if (event.key === "Escape") { event.stopPropagation(); this.area.blur(); } // Tab moves on from there
    else if (event.key === "Tab") { event.preventDefault(); this.indent(event.shiftKey); }
    else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) { event.preventDefault(); this.newLine(); }
  }

  indent(back) {
    const {selectionStart: from, selectionEnd: to} = this.area, first = this.text.lastIndexOf("\n", from - 1) + 1;
    if (from === to && !back) { this.insert("  ".slice((from - first) % 2)); return; }
    const lines = this.text.slice(first, to).split("\n"), moved = lines.map((line) => (back ? line.replace(/^ {1,2}/, "") : line ? `  ${line}` : line));
    const [start, shift] = [from, moved[0].length - lines[0].length];
    this.area.setSelectionRange(first, to);
    this.insert(moved.join("\n"));
    if (from === to) this.area.setSelectionRange(Math.max(first, start + shift), Math.max(first, start + shift));
    else this.area.setSelectionRange(first, first + moved.join("\n").length);
  }

  newLine() {
    const line = this.text.slice(this.text.lastIndexOf("\n", this.area.selectionStart - 1) + 1, this.area.selectionStart);
    const said = line.replace(/\s#.*$/, "").trimEnd();
    const own = line.match(/^ */)[0], item = line.match(/^ *(- +)+/)?.[0].replaceAll("-", " ") ?? own;
    if (/^ *-$/.test(said)) { // an empty item ends its list
      this.area.setSelectionRange(this.area.selectionStart - line.length, this.area.selectionStart);
      this.insert(own.slice(2));
    } else if (said.endsWith(":")) this.insert(`\n${item}  `);
    else if (/^ *- /.test(line)) this.insert(`\n${own}- `);
    else this.insert(`\n${own}`);
  }

  /** Write at the selection, so that the browser's undo knows it. */
  insert(text) {
    if (!(text ? document.execCommand("insertText", false, text) : document.execCommand("delete"))) {
      this.area.setRangeText(text, this.area.selectionStart, this.area.selectionEnd, "end");
      this.number();
      this.changed();
    }
  }

  // -- completions

  offer(asked) {
    const caret = this.area.selectionStart;
    const found = caret === this.area.selectionEnd ? this.completer?.at(this.text, caret) : null;
    if (!found || (!asked && found.from === caret)) { this.close(); return; }
    this.offered = found;
    this.list.replaceChildren(...found.options.slice(0, 60).map((option, k) => {
      const row = element("li", "");
      row.textContent = option.label;
      row.id = `completion-${k}`;
      row.setAttribute("role", "option");
      return row;
    }));
    this.list.hidden = this.says.hidden = false;
    this.place(found.from);
    this.choose(0);
  }

  choose(k) {
    const rows = [...this.list.children];
    this.chosen = (k + rows.length) % rows.length;
    rows.forEach((row, j) => row.setAttribute("aria-selected", String(j === this.chosen)));
    rows[this.chosen].scrollIntoView({block: "nearest"});
    this.area.setAttribute("aria-activedescendant", rows[this.chosen].id);
    this.says.textContent = this.offered.options[this.chosen].detail;
  }

  accept() {
    const {from, to, options} = this.offered, {insert, back} = options[this.chosen];
    this.close();
    const colon = insert.includes(":") && /^\s*:/.test(this.text.slice(to)); // the key is written already
    this.area.setSelectionRange(from, to);
    this.insert(colon ? insert.slice(0, insert.indexOf(":")) : insert);
    if (!colon && back) { const caret = this.area.selectionStart - back; this.area.setSelectionRange(caret, caret); }
    this.close(); // what was inserted is no reason to offer more
  }

  close() {
    this.offered = null;
    this.list.hidden = this.says.hidden = true;
    this.area.removeAttribute("aria-activedescendant");
  }

  // -- places

  lineHeight() { return Number.parseFloat(getComputedStyle(this.area).lineHeight); }

  place(at) {
    const before = this.text.slice(0, at), line = before.split("\n").length, column = at - (before.lastIndexOf("\n") + 1);
    const style = getComputedStyle(this.area), pen = (this.pen ??= document.createElement("canvas").getContext("2d"));
    pen.font = `${style.fontSize} ${style.fontFamily}`;
    const left = this.area.offsetLeft + Number.parseFloat(style.paddingLeft) + column * pen.measureText("0").width - this.area.scrollLeft;
    const top = this.area.offsetTop + Number.parseFloat(style.paddingTop) + line * this.lineHeight() - this.area.scrollTop;
    for (const part of [this.list, this.says]) part.style.left = `${Math.max(0, Math.min(left, this.area.clientWidth - 280))}px`;
    const room = this.area.clientHeight - top;
    this.list.style.top = `${top + 2}px`;
    this.list.style.maxHeight = `${Math.max(120, Math.min(220, room - 70))}px`;
    this.says.style.top = `${top + 6 + this.list.offsetHeight}px`;
  }

  number() {
    const lines = this.text.split("\n").length;
    while (this.margin.children.length < lines) this.margin.append(element("div", ""));
    while (this.margin.children.length > lines) this.margin.lastChild.remove();
    [...this.margin.children].forEach((row, k) => {
      const message = this.marks.get(k + 1);
      if (row.textContent !== String(k + 1)) row.textContent = k + 1;
      row.className = message === undefined ? "" : "bad";
      row.title = message ?? "";
    });
    this.margin.scrollTop = this.area.scrollTop;
  }
}

function element(name, kind) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  return made;
}
