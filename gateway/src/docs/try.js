// "Try it": who one is, one call, and a socket. Tokens live in this page's memory and nowhere else.

import { example, h } from "./schema.js";

const me = { token: "", cookie: false };

// The token as the shell's variable, so that a copied line holds no secret.
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

export function credentials() {
  const token = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "access_token", oninput: () => {
    me.token = token.value.trim();
    me.cookie = false;
  } });
  const name = h("input", { autocomplete: "username", name: "username" });
  const password = h("input", { type: "password", autocomplete: "current-password", name: "password" });
  const cookie = h("input", { type: "checkbox" });
  const said = h("p", { role: "status", class: "quiet" });
  const signIn = async (event) => {
    event.preventDefault();
    const body = { username: name.value, password: password.value };
    if (cookie.checked) body.cookie = true;
    const answer = await fetch("/api/auth/login", {
      method: "POST",
      headers: { "content-type": "application/json", "x-parlance-client": "web" },
      body: JSON.stringify(body),
    }).then((response) => response.json()).catch((error) => ({ detail: String(error) }));
    password.value = "";
    me.cookie = cookie.checked && !answer.code;
    me.token = answer.access_token ?? "";
    token.value = me.token;
    said.textContent = answer.detail ?? (me.cookie ? "Signed in with a cookie." : "Signed in; the token is above.");
  };
  return h("form", { class: "try", onsubmit: signIn },
    h("div", { class: "row" }, h("label", {}, "Bearer token", token)),
    h("div", { class: "row" },
      h("label", {}, "Username", name), h("label", {}, "Password", password),
      h("label", { class: "line" }, cookie, "keep it in a cookie"), h("button", {}, "Sign in")),
    said);
}

export function tryCall(document, path, method, call) {
  const inputs = (call.parameters ?? []).map((parameter) => ({
    parameter,
    input: h("input", { spellcheck: "false", autocomplete: "off", placeholder: parameter.schema?.default ?? parameter.schema?.example ?? "",
      required: parameter.required, oninput: () => show() }),
  }));
  const content = call.requestBody?.content?.["application/json"];
  const body = content && h("textarea", { "aria-label": "Body", spellcheck: "false", oninput: () => show() });
  if (body) body.value = call.requestBody.required ? JSON.stringify(content.example, null, 2) : "";
  const line = h("code");
  const result = h("div", { role: "status" });
  const request = () => {
    let url = path;
    const query = new URLSearchParams();
    const headers = {};
    for (const { parameter, input } of inputs) {
      const value = input.value;
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(value) || `{${parameter.name}}`);
      else if (value && parameter.in === "query") query.set(parameter.name, value);
      else if (value) headers[parameter.name.toLowerCase()] = value;
    }
    if (query.size) url += `?${query}`;
    if (body?.value) headers["content-type"] = "application/json";
    return { url, headers, body: body?.value || undefined };
  };
  const show = () => {
    const { url, headers, body } = request();
    const parts = [`curl -s${method === "get" ? "" : ` -X ${method.toUpperCase()}`} ${quoted(location.origin + url)}`];
    if (call.security?.length) parts.push('-H "authorization: Bearer $token"');
    for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
    if (body) parts.push(`-d ${quoted(body)}`);
    line.textContent = parts.join(" \\\n  ");
  };
  const send = async (event) => {
    event.preventDefault();
    const { url, headers, body } = request();
    if (me.token) headers.authorization = `Bearer ${me.token}`;
    else if (me.cookie) headers["x-parlance-client"] = "web";
    const began = performance.now();
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body });
      const text = await response.text();
      const took = Math.round(performance.now() - began);
      result.replaceChildren(...answer(response, text, took));
    } catch (error) {
      result.replaceChildren(h("p", { class: "bad" }, String(error)));
    }
  };
  show();
  return h("form", { class: "try", onsubmit: send },
    h("h3", {}, "Try it"),
    h("div", { class: "row" }, inputs.map(({ parameter, input }) =>
      h("label", {}, `${parameter.name}${parameter.required ? "" : " (optional)"}`, input))),
    body && h("label", {}, `Body${call.requestBody.required ? "" : " (optional)"}`, body),
    h("pre", { "aria-label": "The same with curl" }, line),
    h("div", { class: "row" }, h("button", {}, "Send"),
      h("button", { type: "button", class: "plain", onclick: () => navigator.clipboard?.writeText(line.textContent) }, "Copy as curl")),
    result);
}

function answer(response, text, took) {
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is not JSON */ }
  const id = response.headers.get("x-request-id");
  return [
    h("p", {}, h("span", { class: `status ${response.ok ? "ok" : "bad"}` }, `${response.status}`), ` in ${took} ms `,
      h("span", { class: "quiet" }, id ? `x-request-id ${id}` : "")),
    shown ? example(shown) : h("p", { class: "quiet" }, "no body"),
  ];
}

// A socket to type frames into.
export function trySocket(frames) {
  const log = h("div", { class: "log mono", role: "log" });
  const note = (arrow, text) => { log.append(h("div", {}, `${arrow} ${text}`)); log.scrollTop = log.scrollHeight; };
  const text = h("textarea", { "aria-label": "Frame", spellcheck: "false" });
  const choice = h("select", { "aria-label": "Example", onchange: () => { text.value = choice.value; } },
    frames.flatMap((frame) => frame.examples.map((one) => h("option", { value: JSON.stringify(one.payload) }, frame.name))));
  let socket = null;
  const connect = h("button", { type: "button", onclick: () => {
    if (socket) return socket.close();
    socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`, "parlance.v1");
    connect.textContent = "Close";
    socket.onopen = () => {
      const hello = { type: "hello", id: 1, ...(me.token && { token: me.token }) };
      socket.send(JSON.stringify(hello));
      note("→", JSON.stringify({ ...hello, ...(me.token && { token: "…" }) }));
    };
    socket.onmessage = (message) => note("←", message.data);
    socket.onclose = (event) => { note("·", `closed with ${event.code} ${event.reason}`); socket = null; connect.textContent = "Connect"; };
  } }, "Connect");
  const send = (event) => {
    event.preventDefault();
    if (socket?.readyState !== WebSocket.OPEN) return note("·", "connect first");
    socket.send(text.value);
    note("→", text.value);
  };
  text.value = choice.value;
  return h("form", { class: "try", onsubmit: send },
    h("h3", {}, "Try a socket"),
    h("p", { class: "quiet" }, "Connects to /ws with the credential above and says hello."),
    h("div", { class: "row" }, connect, choice), h("label", {}, "Frame", text),
    h("div", { class: "row" }, h("button", {}, "Send")), log);
}

