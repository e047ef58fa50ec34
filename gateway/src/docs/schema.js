// Draws JSON Schemas, examples and short texts. Builds nodes, never HTML from strings.

export function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return node;
}

// Text with `code`, in paragraphs.
export function prose(text) {
  return (text ?? "").split("\n\n").filter(Boolean).map((paragraph) =>
    h("p", {}, paragraph.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part))));
}

export function example(value) {
  return h("pre", {}, h("code", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2)));
}

// What a reference leads to, through references to references.
export function resolve(document, schema) {
  if (!schema?.$ref) return schema ?? {};
  const found = resolve(document, schema.$ref.slice(2).split("/").reduce((at, key) => at?.[key], document));
  return { ...found, ...schema, $ref: undefined, name: schema.$ref.split("/").pop() };
}

// The type in a few words, with its range.
export function kind(document, schema) {
  const it = resolve(document, schema);
  if (it.const !== undefined) return JSON.stringify(it.const);
  if (it.enum) return it.enum.map((word) => JSON.stringify(word)).join(" | ");
  const either = it.oneOf ?? it.anyOf;
  if (either) return either.filter((one) => one.type !== "null").map((one) => one.title ?? kind(document, one)).join(" | ");
  if (it.type === "array") return `array of ${kind(document, it.items)}`;
  let text = it.name ?? [it.type ?? "object"].flat().filter((type) => type !== "null").join(" or ");
  if (it.format) text += ` (${it.format})`;
  const [low, high] = [it.minimum ?? it.minLength ?? it.minItems, it.maximum ?? it.maxLength ?? it.maxItems ?? it.maxProperties];
  const unit = it.maxLength !== undefined ? " characters" : "";
  if (high !== undefined && high < 1e15) text += ` ${low ?? 0}–${high}${unit}`;
  else if (low) text += ` from ${low}${unit}`;
  if (it.default !== undefined) text += `, default ${JSON.stringify(it.default)}`;
  return text;
}

// The fields of an object, deeper ones folded.
export function fields(document, schema, depth = 0) {
  const it = resolve(document, schema);
  if (it.type === "array") return fields(document, it.items, depth);
  if (it.allOf) return h("div", {}, it.allOf.map((part) => fields(document, part, depth)));
  const shapes = it.oneOf ?? it.anyOf;
  if (shapes) {
    const drawn = shapes.filter((shape) => shape.type !== "null");
    return h("div", {}, drawn.map((shape) => [
      shape.title && h("p", { class: "quiet" }, shape.title), fields(document, shape, depth)]));
  }
  const known = Object.entries(it.properties ?? {});
  const others = typeof it.additionalProperties === "object" ? [["…", it.additionalProperties]] : [];
  if (!known.length && !others.length) return null;
  const must = (name) => it.required?.includes(name);
  const sorted = known.toSorted(([a], [b]) => Boolean(must(b)) - Boolean(must(a)));
  return h("div", { class: "fields" }, [...sorted, ...others].map(([name, field]) => {
    const inner = depth < 5 && inside(document, field) ? fields(document, field, depth + 1) : null;
    return h("div", { class: "field" },
      h("code", {}, name), " ", h("span", { class: "kind" }, kind(document, field)), " ",
      must(name) && h("span", { class: "must" }, "required"),
      prose(resolve(document, field).description),
      inner && h("details", { class: "nested" }, h("summary", {}, "fields"), inner));
  }));
}

function inside(document, schema) {
  const it = resolve(document, schema);
  return Boolean(it.properties || it.allOf || it.oneOf || it.anyOf || it.additionalProperties
    || (it.items && inside(document, it.items)));
}
