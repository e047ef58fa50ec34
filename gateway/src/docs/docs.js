// The reference: calls, frames and error codes, each from the document that the server serves.

import { example, fields, h, kind, prose, resolve } from "./schema.js";
import { credentials, tryCall, trySocket } from "./try.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const PARTS = [["calls", "Calls", calls], ["frames", "Frames", frames], ["errors", "Errors", errors]];
const $ = (id) => document.getElementById(id);
const load = (path) => fetch(path).then((response) => {
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
});

let openapi, asyncapi;

function part() {
  const name = location.hash.slice(1).split("/")[0];
  return PARTS.find(([id]) => id === name) ?? PARTS[0];
}

// A piece that is filled when it is opened first.
function piece(id, summary, fill) {
  const inside = h("div");
  const open = () => { if (node.open && !inside.childNodes.length) inside.append(...fill().flat(Infinity).filter(Boolean)); };
  const node = h("details", { class: "op", id, ontoggle: open }, h("summary", {}, summary), inside);
  return node;
}

function calls() {
  const byTag = new Map(openapi.tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(openapi.paths)) {
    for (const method of METHODS.filter((method) => item[method])) {
      byTag.get(item[method].tags[0]).push({ path, method, call: item[method] });
    }
  }
  const sections = openapi.tags.map((tag) => ({
    title: tag.name,
    about: tag.description,
    entries: byTag.get(tag.name).map(({ path, method, call }) => ({
      id: `calls/${call.operationId}`,
      name: call.summary,
      node: piece(`calls/${call.operationId}`,
        [h("span", { class: `verb ${method}` }, method.toUpperCase()), h("code", { class: "path" }, path), h("span", { class: "grow" }, call.summary)],
        () => describeCall(path, method, call)),
    })),
  }));
  return { title: "HTTP calls", about: openapi.info.description, top: [credentials()], sections };
}

function describeCall(path, method, call) {
  const body = call.requestBody?.content?.["application/json"];
  return [
    prose(call.description),
    h("p", { class: "quiet" }, call.security?.length
      ? `Sign-in: ${call.security.map((need) => Object.keys(need).join(" + ") || "none").join(", or ")}`
      : "Needs no sign-in."),
    call.parameters?.length && [h("h3", {}, "Parameters"), table(["name", "in", "type", ""], call.parameters.map((parameter) => [
      [h("code", {}, parameter.name), parameter.required && h("div", { class: "must" }, "required")],
      parameter.in, h("span", { class: "kind" }, kind(openapi, parameter.schema)), prose(parameter.description)]))],
    body && [h("h3", {}, "Body"), fields(openapi, body.schema), example(body.example)],
    h("h3", {}, "Answers"),
    Object.entries(call.responses).map(([status, response]) => answer(status, response)),
    tryCall(openapi, path, method, call),
  ];
}

function answer(status, response) {
  const [type, content] = Object.entries(response.content ?? {})[0] ?? [];
  const examples = content?.example !== undefined ? [content.example]
    : Object.values(content?.examples ?? {}).map((one) => one.value);
  return h("details", { class: "nested" },
    h("summary", {}, h("span", { class: `status ${status < 400 ? "ok" : "bad"}` }, status), " ",
      status < 400 ? response.description : (response.description.match(/`[a-z_]+`:/g) ?? []).join(" ").replaceAll(/[`:]/g, "")),
    prose(response.description),
    content && [h("p", { class: "kind" }, type), fields(openapi, content.schema), examples.map(example)],
    Object.entries(response.headers ?? {}).map(([name, header]) => prose(`\`${name}\`: ${header.description}`)));
}

function frames() {
  const of = (operation) => asyncapi.operations[operation].messages.map((reference) => resolve(asyncapi, reference));
  const section = (title, operation, about) => ({
    title, about, entries: of(operation).map((frame) => ({
      id: `frames/${operation}.${frame.name}`,
      name: frame.name,
      node: piece(`frames/${operation}.${frame.name}`,
        [h("code", { class: "path" }, frame.name), h("span", { class: "grow" }, frame.summary)],
        () => [prose(frame.description), fields(asyncapi, frame.payload), h("h3", {}, "On the wire"),
          frame.examples.map((one) => h("pre", {}, h("code", {}, JSON.stringify(one.payload))))]),
    })),
  });
  return {
    title: "Frames of the sockets", about: asyncapi.info.description,
    top: [credentials(), trySocket(of("v1.client"))],
    sections: [
      section("Client says on /ws", "v1.client", asyncapi.channels.v1.description),
      section("Server says on /ws", "v1.server"),
      section("Client says on /ws/chat", "simple.client", asyncapi.channels.simple.description),
      section("Server says on /ws/chat", "simple.server"),
    ],
  };
}

function errors() {
  const codes = table(["code", "status", "repeat?", "meaning"], openapi["x-error-codes"].map((row) =>
    [h("code", {}, row.code), String(row.status), row.retry, prose(row.meaning)]));
  const closes = table(["number", "name", "meaning"], asyncapi["x-close-codes"].map((row) =>
    [String(row.number), h("code", {}, row.name), prose(row.meaning)]));
  const plain = (id, title, node, about) => ({ title, about, entries: [{ id, name: title, node: h("div", { id, class: "scroll" }, node) }] });
  return {
    title: "Error and close codes", about: "Every refusal is `{\"code\",\"detail\",\"retry_after_ms\"?}`, over HTTP and in `error` and `bye` frames.",
    top: [], sections: [
      plain("errors/codes", "Error codes", codes, "A newer server may have more: judge those by the status, and repeat only with `retry_after_ms`."),
      plain("errors/close", "Close codes", closes, "Why the server closed a socket; a `bye` frame comes before."),
    ],
  };
}

function table(heads, rows) {
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
}

let shown = null;
function draw() {
  const [id, , make] = part();
  if (shown !== id) {
    shown = id;
    const { title, about, top, sections } = make();
    for (const link of $("parts").children) link.toggleAttribute("aria-current", link.hash === `#${id}`);
    $("contents").replaceChildren(...sections.map((section) => h("div", {}, h("h2", {}, section.title),
      section.entries.map((entry) => h("a", { href: `#${entry.id}` }, entry.name)))));
    $("main").replaceChildren(h("h1", {}, title), ...prose(about), ...top,
      ...sections.map((section) => h("section", {}, h("h2", {}, section.title), prose(section.about), section.entries.map((entry) => entry.node))));
    filter();
  }
  const target = $(location.hash.slice(1));
  if (target) {
    if (target.localName === "details") target.open = true;
    target.scrollIntoView();
  }
}

// Hides what does not hold the words.
function filter() {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const node of $("main").querySelectorAll(".op")) {
    const text = node.querySelector("summary").textContent.toLowerCase();
    node.hidden = !words.every((word) => text.includes(word));
  }
  for (const section of $("main").querySelectorAll("section")) {
    const all = [...section.querySelectorAll(".op")];
    section.hidden = all.length > 0 && all.every((node) => node.hidden);
  }
}

try {
  [openapi, asyncapi] = await Promise.all([load("/api/openapi.json"), load("/api/asyncapi.json")]);
  $("version").textContent = `API ${openapi.info.version}`;
  $("parts").append(...PARTS.map(([id, title]) => h("a", { href: `#${id}` }, title)));
  $("filter").addEventListener("input", filter);
  addEventListener("hashchange", draw);
  draw();
} catch (error) {
  $("main").replaceChildren(h("p", { class: "bad", role: "alert" }, `The reference did not load: ${error.message}`));
}
