// Requests to the server, and the answers that pdanet_tf/demo/packing.py packs.

const TYPES = { uint8: Uint8Array, uint16: Uint16Array };

export async function about() {
  return (await send("about")).json();
}

/** Returns a sample as a file. */
export async function readSample(index) {
  const answer = await send(`samples/${index}`);
  const name = decodeURIComponent(answer.headers.get("x-file-name"));
  return new File([await answer.blob()], name);
}

/**
 * Segments an image file.
 * Options: model (index), whole (labels in the image's own size), picture (the server returns the
 * image, which the browser cannot show), signal (to give up).
 */
export async function segment(file, { model = 0, whole, picture, signal } = {}) {
  const query = new URLSearchParams({ model, name: file.name });
  if (whole) query.set("whole", "");
  if (picture) query.set("picture", "");
  return post(`segment?${query}`, file, signal);
}

/** Explains what a model does with an image at a position, given as shares from 0 to 1. */
export async function explain(file, { row, column, signal }) {
  const query = new URLSearchParams({ model: 0, name: file.name, row, column });
  return post(`explain?${query}`, file, signal);
}

async function post(address, file, signal) {
  const answer = await send(address, { method: "POST", body: file, signal });
  return unpack(await answer.arrayBuffer());
}

async function send(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is pdanet-tf demo still running?");
  }
  if (!answer.ok) {
    const { message } = await answer.json().catch(() => ({}));
    throw new Error(message ?? `The server answered with status ${answer.status}`);
  }
  return answer;
}

function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  let start = 4 + length;
  const arrays = {};
  for (const { name, dtype, shape } of header.arrays) {
    const bytes = shape.reduce((product, side) => product * side, TYPES[dtype].BYTES_PER_ELEMENT);
    const values = new TYPES[dtype](buffer.slice(start, start + bytes));
    arrays[name] = { values, height: shape[0], width: shape[1] };
    start += bytes;
  }
  return { ...header, arrays };
}
