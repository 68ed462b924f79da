// Files that the user can keep.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const CHECKSUMS = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

export function stemOf(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}

/**
 * Returns a label map as a PNG: the values are the numbers of the classes. Up to 256 classes make a
 * palette image, which shows their colours; more make a grey one of 16 bits.
 */
export async function encodeMask({ values, width, height }, classes) {
  const wide = classes.length > 256;
  const stride = width * (wide ? 2 : 1) + 1; // each row begins with the number of its filter
  const rows = new Uint8Array(stride * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const value = values[row * width + column];
      if (!wide) rows[row * stride + 1 + column] = value;
      else rows.set([value >> 8, value & 255], row * stride + 1 + 2 * column);
    }
  }
  const head = new DataView(new ArrayBuffer(13));
  head.setUint32(0, width);
  head.setUint32(4, height);
  head.setUint8(8, wide ? 16 : 8);
  head.setUint8(9, wide ? 0 : 3); // grey or palette
  const squeezed = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Blob([
    new Uint8Array(SIGNATURE),
    chunk("IHDR", new Uint8Array(head.buffer)),
    ...(wide ? [] : [chunk("PLTE", Uint8Array.from(classes.flatMap(({ color }) => color)))]),
    chunk("IDAT", new Uint8Array(await new Response(squeezed).arrayBuffer())),
    chunk("IEND", new Uint8Array()),
  ], { type: "image/png" });
}

function chunk(kind, content) {
  const bytes = new Uint8Array(content.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set(new TextEncoder().encode(kind), 4);
  bytes.set(content, 8);
  let checksum = 0xffffffff;
  for (const byte of bytes.subarray(4, -4)) {
    checksum = CHECKSUMS[(checksum ^ byte) & 255] ^ (checksum >>> 8);
  }
  view.setUint32(bytes.length - 4, ~checksum >>> 0);
  return bytes;
}
