"use strict";
// Everything that comes from the server is put into the page as text, never as HTML.
const make = (name, attributes, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};
const byId = (id) => document.getElementById(id);
const code = (text) => make("code", {}, text);
// A text of ours, with what stands in backticks as code.
const ticked = (text) => text.split("`").map((part, place) => (place % 2 ? code(part) : part));
const table = (caption, heads, rows) =>
  make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption },
    make("table", {},
      make("caption", { class: "unseen" }, caption),
      make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))),
      make("tbody", {}, rows)));
const row = (head, ...cells) =>
  make("tr", {}, make("th", { scope: "row" }, head), cells.map((cell) => make("td", {}, cell)));

// -- who asks: the token stays in the field, and goes nowhere but to this server --------------------------------------
const token = () => byId("token").value.trim();
const access = () => (token() ? { authorization: `Bearer ${token()}` } : {});
const ask = async (path, options) => {
  const answer = await fetch(path, { ...options, headers: { ...options.headers, ...access() }, cache: "no-store" });
  return { status: answer.status, text: await answer.text() };
};
const parsed = (text) => {
  try { return JSON.parse(text); } catch { return null; }
};
const told = (status, found) => {
  const message = found?.message ?? `The server answered with the status ${status}.`;
  return make("div", { class: "trouble" },
    make("p", {}, ticked(message)), found?.hint ? make("p", { class: "why" }, ticked(found.hint)) : null);
};

// -- what a field is ---------------------------------------------------------------------------------------------------
const WORDS = { integer: "whole number", number: "number", string: "text", boolean: "true or false" };
const FORMATS = {
  date: "date", "date-time": "time with its zone", "date-time-local": "time without a zone", "time-local": "time of day",
  decimal: "decimal number",
};
const kindOf = (schema) => {
  const some = (schema.anyOf ?? [schema]).filter((each) => each.type !== "null");
  return { ...some[0], examples: schema.examples ?? schema.enum, mayBeNull: some.length < (schema.anyOf ?? [0]).length };
};
const wordsOf = (kind) => {
  const small = kind.type === "integer" && kind.maximum < 2 ** 31;
  const word = FORMATS[kind.format] ?? WORDS[kind.type] ?? "any value";
  return word + (small ? ` from ${kind.minimum} to ${kind.maximum}` : "") + (kind.mayBeNull ? ", or null" : "");
};
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
// The text of a field in JSON. A number keeps all of its digits; what isn't one is sent as it is: the server says why not.
const literal = (text, kind) => {
  if (text === "") return "null";
  if (kind.type === "boolean") return text;
  return ["integer", "number"].includes(kind.type) && NUMBER.test(text) ? text : JSON.stringify(text);
};
const inputFor = (id, kind, value) => {
  const shown = value === null || value === undefined ? "" : String(value);
  if (kind.type === "boolean") {
    const choices = ["true", "false", ""].map((each) =>
      make("option", { value: each, selected: each === shown }, each || "null"));
    return [make("select", { id }, choices)];
  }
  const known = (kind.examples ?? []).filter((each) => each !== null);
  const list = known.length ? make("datalist", { id: `${id}-known` }, known.map((each) => make("option", { value: each }))) : null;
  return [make("input", { id, value: shown, autocomplete: "off", spellcheck: "false", list: list?.id }), list];
};

// -- an endpoint -------------------------------------------------------------------------------------------------------
const errorsOf = (operation) => {
  const rows = Object.entries(operation.responses).filter(([status]) => status !== "200")
    .map(([status, response]) => row(code(status), ticked(response.description)));
  return make("details", {}, make("summary", {}, "Errors"), table("Errors", ["status", "why"], rows));
};
const formFor = (number, path, operation) => {
  const media = operation.requestBody.content["application/json"];
  const columns = media.schema.properties?.records?.items?.properties ?? {};
  const example = media.example?.records?.[0] ?? {};
  const fields = Object.entries(columns).map(([name, schema], place) => {
    const id = `field-${number}-${place}`, kind = kindOf(schema);
    const [input, list] = inputFor(id, kind, example[name]);
    const known = kind.examples?.length ? make("div", { class: "why" }, `such as ${kind.examples.slice(0, 5).join(", ")}`) : null;
    const line = make("tr", {},
      make("th", { scope: "row" }, make("label", { for: id }, code(name))),
      make("td", { title: schema.description }, wordsOf(kind), known),
      make("td", { class: "value" }, input, list));
    return { name, kind, input, line };
  });
  const body = () =>
    `{"records": [{${fields.map((each) => `${JSON.stringify(each.name)}: ${literal(each.input.value, each.kind)}`).join(", ")}}]}`;
  const url = new URL(`.${path}`, location.href).href;
  const curl = make("pre", { class: "curl" });
  const showCurl = () => {
    const shown = operation.security?.length ? ` \\\n  -H "authorization: Bearer $TOKEN"` : "";
    curl.textContent =
      `curl -s '${url}' \\\n  -H 'content-type: application/json'${shown} \\\n  -d '${body().replaceAll("'", "'\\''")}'`;
  };
  const output = make("output", { "aria-live": "polite" });
  const button = make("button", { type: "submit" }, "Ask");
  const form = make("form", { "aria-label": `Ask ${operation.tags[0]}` },
    table(`Fields of ${operation.tags[0]}`, ["field", "type", "value"], fields.map((each) => each.line)),
    make("div", { class: "ask" }, button, make("span", { class: "why" }, "An empty value is sent as null. The answer is logged like any other.")));
  form.addEventListener("input", showCurl);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    const began = performance.now();
    try {
      const options = { method: "POST", body: body(), headers: { "content-type": "application/json" } };
      const answer = await ask(`.${path}`, options);
      output.replaceChildren(...answerOf(answer, performance.now() - began, fields));
    } catch (error) {
      output.replaceChildren(told(0, { message: `The server can't be reached: ${error.message}` }));
    } finally {
      button.disabled = false;
    }
  });
  showCurl();
  return [form, output, make("h3", {}, "In a terminal"), curl];
};
const answerOf = (answer, milliseconds, fields) => {
  const found = parsed(answer.text), isRight = answer.status === 200;
  const faults = Array.isArray(found?.faults) ? found.faults : [];
  for (const each of fields) {
    each.input.setAttribute("aria-invalid", faults.some((fault) => fault.field === each.name));
  }
  const rows = isRight ? Object.entries(found?.predictions?.[0] ?? {}).map(([name, value]) => row(code(name), String(value))) : [];
  return [
    make("p", {}, make("span", { class: `state ${isRight ? "passed" : "refused"}` }, String(answer.status)),
      ` after ${milliseconds.toFixed(0)} ms`, isRight && found ? `, by version ${found.version} (${found.variant})` : ""),
    isRight ? table("The prediction", ["", "value"], rows) : told(answer.status, found),
    faults.length ? make("ul", {}, faults.map((each) =>
      make("li", {}, each.field === null ? "" : [code(each.field), ": "], ticked(each.what)))) : null,
    make("details", {}, make("summary", {}, "The whole answer"), make("pre", {}, answer.text)),
  ].filter((each) => each !== null);
};
const articleFor = (number, name, operations) => {
  const [main, ...others] = operations;
  const version = main.operation["x-version"];
  const parts = version ? formFor(number, main.path, main.operation) : [];
  return make("article", {},
    make("h2", {}, name, " ", version ? make("small", {}, version) : make("small", {}, "isn't loaded yet")),
    make("p", { class: "path" }, code(`${main.method} ${main.path}`)),
    parts, version ? errorsOf(main.operation) : null, pathsOf(`More paths of ${name}`, others));
};
const pathsOf = (caption, operations) =>
  operations.length
    ? table(caption, ["path", "what it answers"], operations.map((each) =>
        row(code(`${each.method} ${each.path}`), each.operation.summary ?? "")))
    : null;

// -- the page ----------------------------------------------------------------------------------------------------------
const show = (found) => {
  const groups = new Map(), rest = [];
  for (const [path, methods] of Object.entries(found.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const each = { path, method: method.toUpperCase(), operation }, name = operation.tags?.[0];
      if (name === undefined) rest.push(each);
      else groups.set(name, [...(groups.get(name) ?? []), each]);
    }
  }
  byId("version").textContent = `Headrace ${found.info.version}`;
  byId("access").hidden = found.components?.securitySchemes === undefined;
  const articles = [...groups].map(([name, operations], number) => articleFor(number, name, operations));
  const none = make("p", { class: "about" }, "There is no endpoint yet.");
  byId("endpoints").replaceChildren(...(articles.length ? articles : [none]),
    make("section", {}, make("h3", {}, "The server"), pathsOf("The server", rest)));
};
const load = async () => {
  try {
    const answer = await ask("./openapi.json", {});
    const found = parsed(answer.text);
    if (answer.status === 200 && found) {
      show(found);
      return;
    }
    byId("access").hidden = answer.status !== 401 && answer.status !== 403;
    byId("endpoints").replaceChildren(answer.status === 401 && !token() ? "" : told(answer.status, found));
  } catch (error) {
    byId("endpoints").replaceChildren(told(0, { message: `The server can't be reached: ${error.message}` }));
  }
};
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
load();
