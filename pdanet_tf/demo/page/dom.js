// Small helpers for elements and texts.

/** Returns a new element with properties, attributes (names with a dash, role) and children. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "< 0.1 %";
  return `${value.toFixed(1)} %`;
}

/** Returns a number with three digits and a minus sign. */
export function decimal(value) {
  return value.toPrecision(3).replace("-", "\u2212");
}

export function seconds(value) {
  return value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(2)} s`;
}

/** Tells a screen reader what happened. */
export function announce(text) {
  document.getElementById("status").textContent = text;
}

/** Shows an error as one sentence, until it is closed or something else is tried. */
export function complain(error) {
  const text = error.message.replace(/\.?$/, ".");
  const close = element("button", { textContent: "Close", onclick: calm });
  document.getElementById("problem").replaceChildren(element("p", { textContent: text }), close);
}

export function calm() {
  document.getElementById("problem").replaceChildren();
}
