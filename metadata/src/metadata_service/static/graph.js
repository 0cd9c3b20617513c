"use strict";
/* Draws the lineage graph that `data-source` answers: zoom with the wheel or buttons, pan by dragging, hover to see what
   a node depends on and feeds, click to open it. `data-focus` is the id of the node the page is about. */

const SVG = "http://www.w3.org/2000/svg";
const DATASET_HEIGHT = 48;
const JOB_HEIGHT = 30;
const MAX_TEXT = 220;
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
  return { ...node, title: title.text, subtitle: subtitle.text, width, height: job ? JOB_HEIGHT : DATASET_HEIGHT };
}

/* Leave the jobs out: an arrow from each of a job's inputs to each of its outputs. */
function withoutJobs(graph) {
  const jobs = new Map(graph.nodes.filter((node) => node.type === "job").map((node) => [node.id, { from: [], to: [] }]));
  const pairs = new Map();
  const add = (source, target) => source !== target && pairs.set(`${source} ${target}`, { source, target });
  for (const { source, target } of graph.edges) {
    if (jobs.has(target)) jobs.get(target).from.push(source);
    else if (jobs.has(source)) jobs.get(source).to.push(target);
    else add(source, target);
  }
  for (const { from, to } of jobs.values()) for (const source of from) for (const target of to) add(source, target);
  return { nodes: graph.nodes.filter((node) => node.type !== "job"), edges: [...pairs.values()] };
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
    this.draw(true);
    if (this.view.scale < READABLE && this.graph.nodes.some((node) => node.type === "job")) {
      this.tools.querySelector("[data-graph=jobs]").checked = false;
      this.draw(true);
    }
    if (this.view.scale < READABLE) this.zoomToStart();
    this.root.dataset.drawn = "true";
  }

  draw(fit) {
    const shown = this.tools.querySelector("[data-graph=jobs]").checked ? this.graph : withoutJobs(this.graph);
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
    this.nodes = new Map(nodes.map((node) => [node.id, this.drawNode(node)]));
    if (fit) this.fit();
    else this.apply();
  }

  drawNode(node) {
    const { x, y } = this.plan.nodes.get(node.id);
    const job = node.type === "job";
    const group = element("g", { class: `node ${node.type} layer-${node.layer}`, transform: `translate(${x},${y})` });
    if (node.id === this.root.dataset.focus) group.classList.add("focus");
    const link = element("a", { href: `/ui/${job ? "jobs" : "datasets"}/${node.id}`, draggable: "false" });
    link.append(element("title", {}, `${node.namespace}\n${node.name}${node.owner ? `\nowner: ${node.owner}` : ""}${node.state && node.state !== "unknown" ? `\n${node.state.toLowerCase()}` : ""}`));
    link.append(element("rect", { width: node.width, height: node.height, rx: job ? 15 : 9 }));
    if (!job) link.append(element("rect", { class: "bar", x: 0, y: 10, width: 4, height: node.height - 20, rx: 2 }));
    link.append(element("text", { class: "title", x: 14, y: job ? 19 : 21 }, node.title));
    if (!job) link.append(element("text", { class: "subtitle", x: 14, y: 37 }, node.subtitle));
    const tone = job ? RUN_TONES[node.state] : QUALITY_TONES[node.state];
    if (tone) link.append(element("circle", { class: "dot", style: `--tone:${tone}`, cx: node.width - 13, cy: job ? 15 : 17, r: 4 }));
    group.append(link);
    group.addEventListener("mouseenter", () => this.light(node.id));
    group.addEventListener("mouseleave", () => this.light(null));
    this.canvas.append(group);
    return group;
  }

  /* Show what a node depends on and feeds; null shows everything alike. */
  light(id) {
    const lit = new Set(id ? [id] : []);
    for (const [near, far] of [["source", "target"], ["target", "source"]]) {
      const reached = new Set([id]);
      for (let grown = id !== null; grown;) {
        grown = false;
        for (const edge of this.edges) {
          if (reached.has(edge[near]) && !lit.has(edge)) {
            lit.add(edge);
            reached.add(edge[far]);
            lit.add(edge[far]);
            grown = true;
          }
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
    const { clientWidth, clientHeight } = this.svg;
    const focus = this.plan.nodes.get(this.root.dataset.focus);
    const scale = (this.view.scale = 0.8);
    this.view.x = focus ? clientWidth / 2 - (focus.x + focus.width / 2) * scale : MARGIN / 2;
    const middle = focus ? focus.y + focus.height / 2 : Math.min(this.plan.height / 2, (clientHeight / 2 - 2 * MARGIN) / scale);
    this.view.y = clientHeight / 2 - middle * scale;
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
    for (const [name, act] of Object.entries(actions)) this.tools.querySelector(`[data-graph=${name}]`).addEventListener("click", act);
    this.tools.querySelector("[data-graph=jobs]").addEventListener("change", () => this.draw(true));
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
