// Colours of the present theme, read once: asking the browser in every frame makes it work out all styles anew.
const known = new Map();

export function css(name) {
  if (!known.has(name)) known.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  return known.get(name);
}

export function setTheme(name) {
  document.documentElement.dataset.theme = name;
  known.clear();
}

/** Change a text only where it is another one: the browser lays the page out after every change. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A text without the characters that turn the direction of what is written after them. */
export const undirected = (text) => text.replace(/[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "");
