// Messages of the server: the layout is documented in console/wire.py.
export const STATUS = 1, VIEW = 2, FACTS = 3, PEOPLE = 4, SETTINGS = 5;
const MAGIC = 0x6e6f436f; // "oCon", little-endian
const text = new TextDecoder();

/** {kind, follow, number, content} of a message, which `follow` views of the same moment come after; throws for what is none. */
export function decode(buffer) {
  const head = new DataView(buffer);
  if (head.getUint32(0, true) !== MAGIC || head.getUint16(4, true) !== 1) throw new Error("a message of another version");
  const kind = head.getUint8(6), follow = head.getUint8(7), number = head.getUint32(8, true), length = head.getUint32(12, true);
  const arraysAt = 16 + length;
  const content = JSON.parse(text.decode(new Uint8Array(buffer, 16, length)), (_, value) => {
    if (value === null || typeof value !== "object" || value.at === undefined || !Array.isArray(value.shape)) return value;
    const count = value.shape.reduce((a, b) => a * b, 1);
    const array = new Float64Array(buffer, arraysAt + 8 * value.at, count);
    return {values: array, shape: value.shape};
  });
  return {kind, follow, number, content};
}

/** The answer {ok, status, body} to a request of this page. */
export async function post(path, body) {
  const answer = await fetch(path, {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
  return {ok: answer.ok, status: answer.status, body: await answer.json()};
}
