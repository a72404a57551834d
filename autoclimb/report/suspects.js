"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 60; // cards drawn at once, so that ten thousand stay fluent
  const store = "autoclimb-decisions:" + data.run;
  const el = (id) => document.getElementById(id);
  const cards = data.cards;
  let decisions = {}; // id -> [decision, label]
  try { decisions = JSON.parse(localStorage.getItem(store)) || {}; } catch (error) { decisions = {}; }
  let reason = "";
  let shown = [];
  let page = 0;

  const has = (id) => Object.prototype.hasOwnProperty.call(decisions, id);
  const make = (tag, text, className) => {
    const node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  };
  const isolated = (text) => { const node = make("bdi", text); node.dir = "auto"; return node; };

  function decide(card, decision, label) {
    if (decision) decisions[card.id] = [decision, label || ""]; else delete decisions[card.id];
    try { localStorage.setItem(store, JSON.stringify(decisions)); } catch (error) { el("state").textContent = "This browser keeps nothing: save before you leave."; }
    document.querySelectorAll("#cards > li").forEach((node) => { if (node.card === card) mark(node); });
    count();
  }

  function mark(node) {
    const [decision, label] = has(node.card.id) ? decisions[node.card.id] : ["", ""];
    node.dataset.decision = decision;
    node.querySelectorAll("button").forEach((button) => {
      const on = button.dataset.decision === decision && (decision !== "relabel" || button.dataset.label === label);
      button.setAttribute("aria-pressed", String(on));
    });
  }

  function count() {
    const values = Object.values(decisions);
    const of = (name) => values.filter(([decision]) => decision === name).length;
    el("state").textContent = values.length.toLocaleString("en") + " of " + cards.length.toLocaleString("en") + " decided: " +
      of("keep") + " keep, " + of("drop") + " drop, " + of("relabel") + " relabel";
  }

  function button(words, decision, label, card, key) {
    const node = make("button");
    node.type = "button";
    node.tabIndex = -1;
    node.append(make("kbd", key), isolated(words));
    node.dataset.decision = decision;
    node.dataset.label = label;
    node.addEventListener("click", () => {
      const same = node.getAttribute("aria-pressed") === "true";
      decide(card, same ? "" : decision, label);
    });
    return node;
  }

  function drawn(card, number) {
    const node = make("li");
    node.card = card;
    node.tabIndex = number === 0 ? 0 : -1;
    if (card.image) {
      const image = make("img");
      image.src = card.image;
      image.alt = "";
      image.width = image.height = 112;
      node.append(image);
    }
    const given = make("p", undefined, "given");
    given.append(make("span", "labelled "), isolated(card.given));
    const proposed = make("p", undefined, "proposed");
    proposed.append(make("span", { "label unlikely": "unlikely ", "label missing": "lacks " }[card.reason] || "rather "), isolated(card.proposed));
    const id = make("p", undefined, "id");
    id.append(isolated(card.id.length > 60 ? card.id.slice(0, 40) + "…" + card.id.slice(-18) : card.id));
    const buttons = make("div", undefined, "buttons");
    buttons.append(button("keep", "keep", "", card, "1"), button("drop", "drop", "", card, "2"));
    card.choices.forEach((choice, i) => buttons.append(button(choice.words, "relabel", choice.label, card, String(i + 3))));
    node.append(given, proposed, id, buttons);
    mark(node);
    return node;
  }

  function draw(focus) {
    const last = Math.max(Math.ceil(shown.length / PAGE) - 1, 0);
    page = Math.min(Math.max(page, 0), last);
    const some = shown.slice(page * PAGE, (page + 1) * PAGE);
    el("cards").replaceChildren(...some.map(drawn));
    el("place").textContent = "Page " + (page + 1) + " of " + (last + 1);
    el("before").disabled = page === 0;
    el("next").disabled = page === last;
    const node = el("cards").children[Math.min(focus || 0, some.length - 1)];
    if (focus !== undefined && node) node.focus();
  }

  function filter(name) {
    reason = name;
    shown = cards.filter((card) => !name || card.reason === name);
    page = 0;
    el("why").textContent = name ? data.reasons[name] + "." : "";
    document.querySelectorAll("#reasons button").forEach((node) => node.setAttribute("aria-pressed", String(node.dataset.reason === name)));
    draw();
  }

  function turn(step, focus) {
    const last = Math.max(Math.ceil(shown.length / PAGE) - 1, 0);
    if (page + step < 0 || page + step > last) return false;
    page += step;
    draw(focus);
    window.scrollTo(0, 0);
    return true;
  }

  function move(node, step) {
    const nodes = [...el("cards").children];
    const to = nodes.indexOf(node) + step;
    if (to < 0) { if (!turn(-1, PAGE - 1)) nodes[0].focus(); return; }
    if (to >= nodes.length) { if (!turn(1, 0)) nodes[nodes.length - 1].focus(); return; }
    nodes[to].focus();
  }

  function inRow() {
    const nodes = [...el("cards").children];
    return nodes.filter((node) => node.offsetTop === nodes[0].offsetTop).length || 1;
  }

  el("cards").addEventListener("focusin", (event) => {
    const node = event.target.closest("li");
    document.querySelectorAll("#cards > li").forEach((other) => { other.tabIndex = other === node ? 0 : -1; });
  });
  el("cards").addEventListener("keydown", (event) => {
    const node = event.target.closest("li");
    if (!node || event.ctrlKey || event.metaKey || event.altKey) return;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -inRow(), ArrowDown: inRow() };
    if (event.key in steps) move(node, steps[event.key]);
    else if (event.key === "PageDown") turn(1, 0);
    else if (event.key === "PageUp") turn(-1, 0);
    else if (event.key === "0") decide(node.card, "");
    else if (/^[1-9]$/.test(event.key)) {
      const number = Number(event.key);
      const choice = node.card.choices[number - 3];
      if (number > 2 && !choice) return;
      decide(node.card, number === 1 ? "keep" : number === 2 ? "drop" : "relabel", choice ? choice.label : "");
      move(node, 1);
    } else return;
    event.preventDefault();
  });
  el("before").addEventListener("click", () => turn(-1, 0));
  el("next").addEventListener("click", () => turn(1, 0));
  el("save").addEventListener("click", () => {
    const quoted = (text) => '"' + String(text).replace(/"/g, '""') + '"';
    const rows = Object.entries(decisions).map(([id, [decision, label]]) => [id, decision, label].map(quoted).join(","));
    const link = make("a");
    link.href = URL.createObjectURL(new Blob(["id,decision,label\n" + rows.map((row) => row + "\n").join("")], { type: "text/csv" }));
    link.download = "decisions.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  const counts = {};
  cards.forEach((card) => { counts[card.reason] = (counts[card.reason] || 0) + 1; });
  const names = Object.keys(data.reasons).filter((name) => counts[name]);
  [["", "all", cards.length], ...names.map((name) => [name, name, counts[name]])].forEach(([name, words, n]) => {
    const node = make("button", words + " " + n.toLocaleString("en"));
    node.type = "button";
    node.dataset.reason = name;
    node.addEventListener("click", () => filter(name));
    el("reasons").append(node);
  });
  filter("");
  count();
})();
