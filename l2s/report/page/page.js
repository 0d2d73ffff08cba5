"use strict";
// The item browser. Everything a model wrote goes through textContent, never through markup.

const byId = (id) => document.getElementById(id);
const RIGHT = 0.5; // an answer counts as right from this score on
const PAGE_KEYS = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 };

const strings = JSON.parse(byId("strings").textContent);
const state = { items: [], shown: [], selected: -1, entries: [] };

// Control characters, and those that change the display order of a text.
const REORDERING = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
const spelledOut = (character) => `⟨U+${character.charCodeAt(0).toString(16).toUpperCase()}⟩`;

function element(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = String(text).replace(REORDERING, spelledOut);
  return node;
}

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const isGraded = (answer) => answer.score !== null;
const grade = (answer) => (!isGraded(answer) ? "ungraded" : answer.score >= 1 ? "right" : answer.score > 0 ? "part" : "wrong");
const statusOf = (answer) => strings[`status_${answer.status}`] ?? answer.status;
const isRight = (item, model) => model in item.answers && item.answers[model].score >= RIGHT;
const has = (item, ...models) => models.every((model) => model in item.answers);
const answersOf = (item) => Object.values(item.answers);
const isTruncated = (answer) => answer.finish_reason === "length" || answer.status === "truncated";

const filters = {
  all_items: () => true,
  filter_disagree: (item) => new Set(Object.keys(item.answers).map((model) => isRight(item, model))).size > 1,
  filter_all_wrong: (item) =>
    answersOf(item).every(isGraded) && Object.keys(item.answers).every((model) => !isRight(item, model)),
  filter_truncated: (item) => answersOf(item).some(isTruncated),
};

// The filter of an option: one of the above, or "over A B", the items that model A answers right and model B wrong.
function filterOf(name) {
  const [kind, better, worse] = name.split(" ");
  if (kind !== "over") return filters[name];
  return (item) => has(item, better, worse) && isRight(item, better) && !isRight(item, worse);
}

const asText = (value) =>
  value === null ? strings.none : typeof value === "string" ? value : JSON.stringify(value, null, 2);

function searchText(item) {
  const parts = [item.id, asText(item.reference)];
  parts.push(...item.messages.map((message) => message.content), ...answersOf(item).map((answer) => answer.response));
  return parts.join("\n").toLowerCase();
}

function update() {
  const domain = byId("domain").value;
  const keep = filterOf(byId("filter").value);
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (item) =>
    (!domain || item.domain === domain) && keep(item) && words.every((word) => item.haystack.includes(word));
  state.shown = state.items.filter(matches);
  state.entries = state.shown.map(entry);
  byId("list").replaceChildren(...state.entries);
  const counts = { shown: state.shown.length, n: state.items.length };
  byId("count").textContent = strings.count_items.replace(/\{(\w+)\}/g, (_, name) => counts[name]);
  select(0);
}

function entry(item, index) {
  const row = element("div", "entry");
  row.setAttribute("role", "option");
  row.id = `entry-${index}`;
  const dots = element("span", "dots");
  for (const [model, answer] of Object.entries(item.answers)) {
    const dot = element("span", `dot ${grade(answer)}`);
    dot.title = `${strings[model]}: ${statusOf(answer)}`;
    dots.append(dot);
  }
  row.append(element("span", "", item.id), dots);
  row.addEventListener("click", () => select(index));
  return row;
}

function select(index) {
  state.entries[state.selected]?.setAttribute("aria-selected", "false");
  if (!state.shown.length) {
    state.selected = -1;
    byId("list").removeAttribute("aria-activedescendant");
    byId("item").replaceChildren(element("p", "note", strings.no_items));
    return;
  }
  state.selected = Math.min(Math.max(index, 0), state.shown.length - 1);
  const row = state.entries[state.selected];
  row.setAttribute("aria-selected", "true");
  byId("list").setAttribute("aria-activedescendant", row.id);
  keepInView(row);
  show(state.shown[state.selected]);
}

function keepInView(row) {
  const list = byId("list");
  const top = row.offsetTop - list.offsetTop;
  if (top < list.scrollTop) list.scrollTop = top;
  if (top + row.offsetHeight > list.scrollTop + list.clientHeight) {
    list.scrollTop = top + row.offsetHeight - list.clientHeight;
  }
}

function show(item) {
  const nodes = [heading(item)];
  for (const message of item.messages) {
    nodes.push(element("h4", "", `${strings.prompt} (${message.role})`), element("pre", "text", message.content));
  }
  nodes.push(element("h4", "", strings.reference), element("pre", "text", asText(item.reference)));
  const answers = element("div", "answers");
  answers.append(...Object.entries(item.answers).map(([model, answer]) => answerCard(model, answer)));
  byId("item").replaceChildren(...nodes, answers);
}

function heading(item) {
  const row = element("div", "heading");
  row.append(element("h3", "", `${item.id} · ${item.source}`), step(strings.previous, -1), step(strings.next, 1));
  return row;
}

function step(label, distance) {
  const button = element("button", "", label);
  button.addEventListener("click", () => select(state.selected + distance));
  return button;
}

function answerCard(model, answer) {
  const card = element("section", "answer");
  card.style.setProperty("--model", `var(--${model})`);
  const head = element("header");
  const cut = answer.finish_reason === "length" ? ` · ${strings.cut}` : "";
  const score = isGraded(answer) ? ` · ${strings.score} ${Number(answer.score.toFixed(3))}` : "";
  head.append(
    element("strong", "", strings[model]),
    element("span", `badge ${grade(answer)}`, statusOf(answer) + score),
    element("small", "", `${answer.num_tokens} ${strings.tokens_unit}${cut}`),
  );
  card.append(head, element("pre", "text", answer.response), verdicts(answer));
  return card;
}

function verdicts(answer) {
  const list = element("dl");
  const extracted = asText(answer.extracted ?? null);
  const tag = extracted.includes("\n") ? "code" : ""; // a program keeps its shape
  list.append(element("dt", "", strings.extracted), element("dd", tag, extracted));
  if (answer.details && Object.keys(answer.details).length) {
    list.append(element("dt", "", strings.details), element("dd", "", asText(answer.details)));
  }
  return list;
}

function onKey(event) {
  const field = event.target.closest?.("input, select");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isArrow = event.key.startsWith("Arrow");
  if (isArrow && !event.target.closest?.("#items")) return; // elsewhere arrows scroll the page
  if (event.key in PAGE_KEYS) select(state.selected + PAGE_KEYS[event.key]);
  else if (event.key === "/") byId("search").focus();
  else return;
  event.preventDefault();
}

async function start() {
  if (!byId("items")) return;
  if (!("DecompressionStream" in window)) {
    byId("count").textContent = strings.no_unpack;
    return;
  }
  state.items = await unpack(byId("packed-items").textContent);
  for (const item of state.items) item.haystack = searchText(item);
  for (const id of ["domain", "filter"]) byId(id).addEventListener("change", update);
  byId("search").addEventListener("input", update);
  document.addEventListener("keydown", onKey);
  update();
  document.documentElement.dataset.ready = "true";
}

start();
