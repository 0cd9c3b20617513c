"use strict";
/* What of a lineage graph is shown: with its jobs, without them, or by columns; and how answers grow together. */

const MAX_ROWS = 14; // columns of a dataset that are shown

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

const columnKey = ({ dataset_id: dataset, column }) => `${dataset} ${column}`;

/* Datasets with the columns that flow (`rows`), and the arrows between these (`flows`). The most connected ones stay. */
function byColumns(graph) {
  const degree = new Map();
  for (const { source, target } of graph.column_edges) {
    for (const end of [source, target]) degree.set(columnKey(end), { ...end, count: (degree.get(columnKey(end))?.count ?? 0) + 1 });
  }
  const rows = new Map();
  for (const end of degree.values()) rows.set(end.dataset_id, [...(rows.get(end.dataset_id) ?? []), end]);
  for (const [dataset, ends] of rows) {
    const kept = ends.sort((a, b) => b.count - a.count || a.column.localeCompare(b.column)).slice(0, MAX_ROWS);
    rows.set(dataset, kept.map((end) => end.column).sort((a, b) => a.localeCompare(b)));
  }
  const shown = withoutJobs(graph);
  const nodes = shown.nodes.map((node) => ({ ...node, rows: rows.get(node.id) ?? [] }));
  const flows = new Map();
  for (const { source, target, type } of graph.column_edges) {
    const drawn = rows.get(source.dataset_id)?.includes(source.column) && rows.get(target.dataset_id)?.includes(target.column);
    const key = `${columnKey(source)} ${columnKey(target)}`;
    if (drawn && source.dataset_id !== target.dataset_id && (!flows.has(key) || type !== "INDIRECT")) flows.set(key, { source, target, type });
  }
  return { nodes, edges: shown.edges, flows: [...flows.values()] };
}

/* Add an answer to a graph. What it has already stays as it is, so that nothing is there twice. */
function grown(graph, answer) {
  const joined = (mine, theirs, key) => [...new Map([...theirs, ...mine].map((item) => [key(item), item])).values()];
  const edge = ({ source, target }) => `${source} ${target}`;
  const column = (item) => `${columnKey(item.source)} ${columnKey(item.target)} ${item.job_id} ${item.type} ${item.subtype}`;
  return {
    ...graph,
    nodes: joined(graph.nodes, answer.nodes, (node) => node.id),
    edges: joined(graph.edges, answer.edges, edge),
    column_edges: joined(graph.column_edges, answer.column_edges, column),
  };
}
