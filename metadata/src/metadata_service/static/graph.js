"use strict";
/* Draws the lineage graph that `data-source` answers: zoom with the wheel, buttons or + and -, pan by dragging or with
   the arrow keys, hover or focus to see what a node or column depends on and feeds, click to open it, "+" to see what
   lies beyond. `data-focus` is the id of the node the page is about. */

const SVG = "http://www.w3.org/2000/svg";
const DATASET_HEIGHT = 48;
const JOB_HEIGHT = 30;
const MAX_TEXT = 220;
const ROW_HEIGHT = 18;
const MARGIN = 32;
const READABLE = 0.62; // the scale below which names are too small to read: then jobs start hidden
const QUALITY_TONES = { passing: "var(--good)", failing: "var(--bad)", error: "var(--bad)", warning: "var(--warn)" };
const RUN_TONES = { COMPLETED: "var(--good)", FAILED: "var(--bad)", ABORTED: "var(--warn)", RUNNING: "var(--busy)" };
const pen = document.createElement("canvas").getContext("2d");

function element(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function fitText(text, font) {
  pen.font = `${font} ${getComputedStyle(document.body).fontFamily}`;
  if (pen.measureText(text).width <= MAX_TEXT) return { text, width: pen.measureText(text).width };
  let end = text.length;
  while (end > 1 && pen.measureText(`…${text.slice(-end)}`).width > MAX_TEXT) end -= 1;
  return { text: `…${text.slice(-end)}`, width: MAX_TEXT };
}

function shortName(node) {
  if (node.type === "job" || node.name.includes("/")) return node.name.replace(/^\/+/, "");
  return node.name.split(".").slice(-2).join(".");
}

function measure(node) {
  const job = node.type === "job";
  const title = fitText(shortName(node), job ? "500 12px" : "600 13px");
  const subtitle = job ? { text: "", width: 0 } : fitText(node.namespace, "11px");
  const width = Math.round(Math.max(title.width + (node.state && node.state !== "unknown" ? 16 : 0), subtitle.width, job ? 40 : 90) + 28);
  const rows = (node.rows ?? []).map((column) => ({ column, ...fitText(column, "12px") }));
  const widest = Math.max(width, ...rows.map((row) => Math.round(row.width) + 28));
  const height = job ? JOB_HEIGHT : DATASET_HEIGHT + (rows.length ? rows.length * ROW_HEIGHT + 8 : 0);
  return { ...node, title: title.text, subtitle: subtitle.text, rows, width: widest, height };
}

function path(points) {
  let drawn = `M${points[0][0]},${points[0][1]}`;
  for (let at = 1; at < points.length; at += 1) {
    const [x0, y0] = points[at - 1];
    const [x1, y1] = points[at];
    const bend = (x1 - x0) / 2;
    drawn += ` C${x0 + bend},${y0} ${x1 - bend},${y1} ${x1},${y1}`;
  }
  return drawn;
}

class LineageGraph {
  constructor(root) {
    this.root = root;
    this.svg = root.querySelector("svg");
    this.message = root.querySelector(".graph-message");
    this.tools = root.querySelector(".graph-tools");
    this.view = { x: 0, y: 0, scale: 1 };
    this.listen();
  }

  async load() {
    try {
      const answer = await fetch(this.root.dataset.source);
      if (!answer.ok) throw new Error((await answer.json()).detail);
      this.graph = await answer.json();
    } catch (error) {
      this.message.textContent = `The graph can't be loaded: ${error.message}`;
      return;
    }
    if (!this.graph.edges.length) {
      this.message.textContent = this.root.dataset.focus
        ? "No job is known to read or write this dataset yet."
        : "No lineage yet. It appears when a pipeline reads or writes a dataset.";
      return;
    }
    this.message.textContent = "";
    this.tools.hidden = false;
    this.frontier = new Map((this.graph.frontier ?? []).map((end) => [`${end.id} ${end.direction}`, end]));
    this.tool("columns").parentElement.hidden = !this.graph.column_edges.length;
    this.draw(true);
    if (this.view.scale < READABLE && this.graph.nodes.some((node) => node.type === "job")) {
      this.tool("jobs").checked = false;
      this.draw(true);
    }
    if (this.view.scale < READABLE) this.zoomToStart();
    this.root.dataset.drawn = "true";
  }

  tool(name) {
    return this.tools.querySelector(`[data-graph=${name}]`);
  }

  draw(fit) {
    const columns = this.tool("columns").checked;
    this.tool("jobs").parentElement.hidden = columns;
    const shown = columns ? byColumns(this.graph) : this.tool("jobs").checked ? this.graph : withoutJobs(this.graph);
    const nodes = shown.nodes.map(measure);
    this.plan = layout(nodes, shown.edges);
    this.canvas = element("g", {});
    const arrow = element("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      element("path", { class: "arrow", d: "M0,0.8 L7,4 L0,7.2 z" }));
    this.svg.replaceChildren(element("defs", {}, arrow), this.canvas);
    this.edges = this.plan.edges.map((edge) => {
      const drawn = element("path", { class: "edge", d: path(edge.points), "marker-end": "url(#arrow)" });
      this.canvas.append(drawn);
      return { ...edge, drawn };
    });
    this.shown = nodes;
    this.nodes = new Map(nodes.map((node) => [node.id, this.drawNode(node)]));
    this.flows = (shown.flows ?? []).map((flow) => this.drawFlow(flow));
    this.canvas.classList.toggle("by-columns", columns);
    this.find();
    if (fit) this.fit();
    else this.apply();
  }

  drawNode(node) {
    const { x, y } = this.plan.nodes.get(node.id);
    const job = node.type === "job";
    const group = element("g", { class: `node ${node.type} layer-${node.layer}`, transform: `translate(${x},${y})` });
    if (node.id === this.root.dataset.focus) group.classList.add("focus");
    if (node.deleted) group.classList.add("deleted"); // it keeps its place, and has no page
    const link = node.deleted ? element("g", {}) : element("a", { href: `/ui/${job ? "jobs" : "datasets"}/${node.id}`, draggable: "false" });
    link.append(element("title", {}, `${node.namespace}\n${node.name}${node.deleted ? "\ndeleted" : ""}${node.owner ? `\nowner: ${node.owner}` : ""}${node.state && node.state !== "unknown" ? `\n${node.state.toLowerCase()}` : ""}`));
    link.append(element("rect", { width: node.width, height: node.height, rx: job ? 15 : 9 }));
    if (!job) link.append(element("rect", { class: "bar", x: 0, y: 10, width: 4, height: node.height - 20, rx: 2 }));
    link.append(element("text", { class: "title", x: 14, y: job ? 19 : 21 }, node.title));
    if (!job) link.append(element("text", { class: "subtitle", x: 14, y: 37 }, node.subtitle));
    const tone = job ? RUN_TONES[node.state] : QUALITY_TONES[node.state];
    if (tone) link.append(element("circle", { class: "dot", style: `--tone:${tone}`, cx: node.width - 13, cy: job ? 15 : 17, r: 4 }));
    group.append(link);
    node.rows.forEach((row, at) => group.append(this.drawRow(node, row, at)));
    for (const direction of ["upstream", "downstream"]) {
      const end = this.frontier.get(`${node.id} ${direction}`);
      if (end) group.append(this.drawMore(node, end));
    }
    for (const [begin, end] of [["mouseenter", "mouseleave"], ["focusin", "focusout"]]) {
      group.addEventListener(begin, () => this.light(node.id));
      group.addEventListener(end, () => this.light(null));
    }
    this.canvas.append(group);
    return group;
  }

  drawRow(node, row, at) {
    const y = DATASET_HEIGHT + at * ROW_HEIGHT;
    const drawn = element("g", { class: "row", "data-column": columnKey({ dataset_id: node.id, column: row.column }) },
      element("title", {}, `${node.name}.${row.column}`),
      element("rect", { x: 1, y, width: node.width - 2, height: ROW_HEIGHT }),
      element("text", { x: 14, y: y + 13 }, row.text));
    drawn.addEventListener("mouseenter", (event) => {
      event.stopPropagation();
      this.lightColumn(drawn.dataset.column);
    });
    drawn.addEventListener("mouseleave", () => this.lightColumn(null));
    return drawn;
  }

  /* The "+" of a node that has neighbours which are not shown. */
  drawMore(node, end) {
    const upstream = end.direction === "upstream";
    const more = element("g", { class: "more", role: "button", tabindex: "0", transform: `translate(${upstream ? 0 : node.width},${Math.min(node.height, DATASET_HEIGHT) / 2})`, "aria-label": `Show more ${end.direction} of ${node.title}` },
      element("title", {}, `Show more ${end.direction}`),
      element("circle", { r: 9 }), element("path", { d: "M-4,0 H4 M0,-4 V4" }));
    more.addEventListener("click", () => this.expand(end));
    more.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.expand(end);
    });
    return more;
  }

  /* A column into another; a way back is drawn as a loop outside. */
  drawFlow(flow) {
    const [from, to] = [flow.source, flow.target].map((end) => {
      const node = this.shown.find((other) => other.id === end.dataset_id);
      const { x, y } = this.plan.nodes.get(node.id);
      return { x, y: y + DATASET_HEIGHT + (node.rows.findIndex((row) => row.column === end.column) + 0.5) * ROW_HEIGHT, width: node.width };
    });
    const drawn = element("path", { class: `flow${flow.type === "INDIRECT" ? " indirect" : ""}`, d: path([[from.x + from.width, from.y], [to.x, to.y]]) });
    this.canvas.append(drawn);
    return { source: columnKey(flow.source), target: columnKey(flow.target), drawn };
  }

  async expand(end) {
    const kind = end.type === "job" ? "jobs" : "datasets";
    const after = end.after ? `&after=${end.after}` : "";
    const answer = await fetch(`/${kind}/${end.id}/lineage?depth=1&direction=${end.direction}${after}`);
    if (!answer.ok) {
      this.message.textContent = `More can't be loaded: ${(await answer.json()).detail}`;
      return;
    }
    const more = await answer.json();
    const known = new Set(this.graph.nodes.map((node) => node.id));
    const added = more.nodes.filter((node) => !known.has(node.id));
    if (added.every((node) => node.type === "job")) this.tool("jobs").checked = true; // or nothing would be seen of it
    this.graph = grown(this.graph, more);
    this.frontier.delete(`${end.id} ${end.direction}`);
    for (const further of more.frontier) {
      if (!known.has(further.id) || further.id === end.id) this.frontier.set(`${further.id} ${further.direction}`, further);
    }
    this.tool("columns").parentElement.hidden = !this.graph.column_edges.length;
    this.draw(true);
    if (this.view.scale < READABLE) this.zoomTo(end.id);
  }

  /* Show the nodes that have the words of the box in their names; Enter goes to the next of them. */
  find(next = false) {
    const words = this.tool("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    const matches = (node) => words.every((word) => node.name.toLowerCase().includes(word) || node.rows?.some((row) => row.column.toLowerCase().includes(word)));
    const found = words.length ? this.shown.filter(matches) : [];
    for (const [id, group] of this.nodes) {
      group.classList.toggle("found", found.some((node) => node.id === id));
      group.classList.toggle("missed", words.length > 0 && !found.some((node) => node.id === id));
    }
    if (!next || !found.length) return;
    this.place = ((this.place ?? -1) + 1) % found.length;
    this.zoomTo(found[this.place].id);
  }

  lightColumn(key) {
    const lit = new Set(key ? [key] : []);
    for (const [near, far] of [["source", "target"], ["target", "source"]]) {
      const reached = new Set([key]);
      for (const at of reached) {
        for (const flow of this.flows.filter((one) => one[near] === at)) {
          lit.add(flow);
          lit.add(flow[far]);
          reached.add(flow[far]);
        }
      }
    }
    for (const flow of this.flows) {
      flow.drawn.classList.toggle("lit", lit.has(flow));
      flow.drawn.classList.toggle("faded", key !== null && !lit.has(flow));
    }
    for (const row of this.canvas.querySelectorAll(".row")) row.classList.toggle("lit", lit.has(row.dataset.column));
  }

  /* Show what a node depends on and feeds; null shows everything alike. */
  light(id) {
    if (this.flows.length) return; // columns tell more
    const lit = new Set(id ? [id] : []);
    for (const [near, far] of [["source", "target"], ["target", "source"]]) {
      const next = new Map();
      for (const edge of this.edges) next.set(edge[near], [...(next.get(edge[near]) ?? []), edge]);
      const reached = new Set([id]);
      for (const at of reached) {
        for (const edge of next.get(at) ?? []) {
          lit.add(edge);
          lit.add(edge[far]);
          reached.add(edge[far]);
        }
      }
    }
    for (const edge of this.edges) {
      edge.drawn.classList.toggle("lit", lit.has(edge));
      edge.drawn.classList.toggle("faded", id !== null && !lit.has(edge));
    }
    for (const [key, group] of this.nodes) group.classList.toggle("faded", id !== null && !lit.has(key));
  }

  fit() {
    const across = Math.min((this.svg.clientWidth - 2 * MARGIN) / this.plan.width, 1.15);
    if (this.root.dataset.focus) this.root.style.height = `${Math.min(Math.max(this.plan.height * across + 4 * MARGIN, 220), 460)}px`;
    const { clientWidth, clientHeight } = this.svg;
    const scale = Math.min(across, (clientHeight - 2 * MARGIN) / this.plan.height);
    this.view.scale = Math.max(scale, 0.12);
    this.view.x = (clientWidth - this.plan.width * this.view.scale) / 2;
    this.view.y = (clientHeight - this.plan.height * this.view.scale) / 2;
    this.apply();
  }

  // Where the whole is too small to read: show the dataset in question, else the beginning, at a size that can be read.
  zoomToStart() {
    if (this.plan.nodes.has(this.root.dataset.focus)) {
      this.zoomTo(this.root.dataset.focus);
      return;
    }
    const { clientHeight } = this.svg;
    const scale = (this.view.scale = 0.8);
    this.view.x = MARGIN / 2;
    this.view.y = clientHeight / 2 - Math.min(this.plan.height / 2, (clientHeight / 2 - 2 * MARGIN) / scale) * scale;
    this.apply();
  }

  zoomTo(id) {
    const { clientWidth, clientHeight } = this.svg;
    const { x, y, width, height } = this.plan.nodes.get(id);
    this.view.scale = Math.max(this.view.scale, 0.8);
    this.view.x = clientWidth / 2 - (x + width / 2) * this.view.scale;
    this.view.y = clientHeight / 2 - (y + height / 2) * this.view.scale;
    this.apply();
  }

  zoom(factor, x = this.svg.clientWidth / 2, y = this.svg.clientHeight / 2) {
    const scale = Math.min(Math.max(this.view.scale * factor, 0.1), 3);
    this.view.x = x - ((x - this.view.x) * scale) / this.view.scale;
    this.view.y = y - ((y - this.view.y) * scale) / this.view.scale;
    this.view.scale = scale;
    this.apply();
  }

  apply() {
    this.canvas.setAttribute("transform", `translate(${this.view.x},${this.view.y}) scale(${this.view.scale})`);
  }

  listen() {
    const actions = { in: () => this.zoom(1.25), out: () => this.zoom(0.8), fit: () => this.fit() };
    for (const [name, act] of Object.entries(actions)) this.tool(name).addEventListener("click", act);
    for (const name of ["jobs", "columns"]) this.tool(name).addEventListener("change", () => this.draw(true));
    this.tool("find").addEventListener("input", () => { this.place = -1; this.find(); });
    this.tool("find").addEventListener("keydown", (event) => event.key === "Enter" && this.find(true));
    const keys = { "+": [0, 0, 1.25], "-": [0, 0, 0.8], ArrowLeft: [60, 0, 1], ArrowRight: [-60, 0, 1], ArrowUp: [0, 60, 1], ArrowDown: [0, -60, 1] };
    this.svg.addEventListener("keydown", (event) => {
      const [dx, dy, factor] = keys[event.key] ?? [];
      if (!factor || !this.canvas) return;
      event.preventDefault();
      this.view.x += dx;
      this.view.y += dy;
      this.zoom(factor);
    });
    this.svg.addEventListener("wheel", (event) => {
      if (!this.canvas) return;
      event.preventDefault();
      const box = this.svg.getBoundingClientRect();
      this.zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
    }, { passive: false });
    let moved = false;
    let last = null;
    this.svg.addEventListener("pointerdown", (event) => {
      last = [event.clientX, event.clientY];
      moved = false;
    });
    window.addEventListener("pointermove", (event) => {
      if (!last || !this.canvas) return;
      const [dx, dy] = [event.clientX - last[0], event.clientY - last[1]];
      if (!moved && Math.hypot(dx, dy) < 4) return;
      moved = true;
      last = [event.clientX, event.clientY];
      this.view.x += dx;
      this.view.y += dy;
      this.apply();
    });
    window.addEventListener("pointerup", () => { last = null; });
    this.svg.addEventListener("click", (event) => moved && event.preventDefault(), true);
    this.svg.addEventListener("dragstart", (event) => event.preventDefault());
  }
}

for (const root of document.querySelectorAll(".graph")) new LineageGraph(root).load();
