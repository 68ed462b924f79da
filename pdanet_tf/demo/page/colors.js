// Colours as numbers that an ImageData holds as one pixel (little-endian: alpha, blue, green, red).

const VIRIDIS = [
  [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
  [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
];

export function pixel([red, green, blue], alpha = 255) {
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

export function css([red, green, blue]) {
  return `rgb(${red} ${green} ${blue})`;
}

/** The colour map viridis, which grows evenly brighter: 256 pixels. */
export const SCALE = Uint32Array.from({ length: 256 }, (_, value) => {
  const place = (value / 255) * (VIRIDIS.length - 1);
  const index = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[index].map((low, channel) =>
    Math.round(low + (place - index) * (VIRIDIS[index + 1][channel] - low)));
  return pixel(mixed);
});
