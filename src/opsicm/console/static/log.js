// The log of facts, newest first. What a run's files say is shown as text, never as markup.
const MOST = 500;

export function addFacts(list, facts) {
  for (const fact of facts) {
    const row = document.createElement("li");
    row.className = fact.kind;
    row.dataset.seq = fact.seq;
    for (const text of [`${fact.t_s.toFixed(3)} s`, fact.kind.replace("_", " "), fact.step, said(fact)]) {
      const cell = document.createElement("span");
      cell.textContent = text;
      row.append(cell);
    }
    list.prepend(row);
  }
  while (list.children.length > MOST) list.lastChild.remove();
}

function said(fact) {
  const data = fact.data;
  if (fact.kind === "command" || (fact.kind === "note" && data.sender)) {
    const what = [data.command, data.key && `${data.key}=${data.value}`, data.text].filter(Boolean).join(" ");
    return `${what}: ${data.accepted ? "" : "refused, "}${data.answer} — by ${data.sender?.from ?? "?"}`;
  }
  return data.message ?? data.text ?? data.title ?? data.outcome ?? (data.control ? control(data.control) : brief(data));
}

function control({kind, ...rest}) {
  return [kind.replaceAll("_", " "), ...Object.entries(rest).map(([key, value]) => `${key} ${typeof value === "number" ? +value.toPrecision(6) : JSON.stringify(value)}`)].join(", ");
}

function brief(data) {
  const text = Object.entries(data).map(([key, value]) => `${key} ${JSON.stringify(value)}`).join(", ");
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}
