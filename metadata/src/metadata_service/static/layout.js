"use strict";
/* Layered layout of a directed graph, left to right (after Sugiyama): break cycles, rank by longest path, split long
   edges with bends, order each rank by the median of its neighbours, place by least squares. Pure: no page, no state.

   layout(nodes: [{id, width, height}], edges: [{source, target}]) →
     {nodes: Map(id → {x, y, width, height}), edges: [{source, target, points: [[x, y], …]}], width, height}
   Coordinates are those of the upper left corners. */

const RANK_GAP = 64;
const ROW_GAP = 18;
const BEND_HEIGHT = 6;

function layout(nodes, edges) {
  const ids = new Set(nodes.map((node) => node.id));
  const known = edges.filter((edge) => ids.has(edge.source) && ids.has(edge.target) && edge.source !== edge.target);
  const reversed = findBackEdges(nodes, known);
  const forward = known.map((edge) => (reversed.has(edge) ? [edge.target, edge.source] : [edge.source, edge.target]));
  const rank = rankNodes(nodes, forward);
  const cells = new Map(nodes.map((node) => [node.id, { id: node.id, width: node.width, height: node.height, rank: rank.get(node.id), before: [], after: [] }]));
  const chains = known.map((edge, index) => addChain(cells, forward[index], index));
  const ranks = [];
  for (const cell of cells.values()) (ranks[cell.rank] ??= []).push(cell);
  for (let index = 0; index < ranks.length; index += 1) ranks[index] ??= [];
  orderRanks(ranks);
  const width = placeColumns(ranks);
  const height = placeRows(ranks);
  const placed = new Map(nodes.map((node) => [node.id, cells.get(node.id)]));
  const routes = known.map((edge, index) => {
    const chain = chains[index];
    const points = chain.flatMap((cell, at) => {
      const middle = cell.y + cell.height / 2;
      if (at === 0) return [[cell.x + cell.width, middle]];
      if (at === chain.length - 1) return [[cell.x, middle]];
      return [[cell.x, middle], [cell.x + cell.width, middle]];
    });
    return { source: edge.source, target: edge.target, points: reversed.has(edge) ? points.reverse() : points, back: reversed.has(edge) };
  });
  return { nodes: placed, edges: routes, width, height };
}

function findBackEdges(nodes, edges) {
  const out = new Map(nodes.map((node) => [node.id, []]));
  const indegree = new Map(nodes.map((node) => [node.id, 0]));
  for (const edge of edges) {
    out.get(edge.source).push(edge);
    indegree.set(edge.target, indegree.get(edge.target) + 1);
  }
  const back = new Set();
  const state = new Map();
  const starts = [...nodes].sort((a, b) => indegree.get(a.id) - indegree.get(b.id));
  for (const start of starts) {
    if (state.has(start.id)) continue;
    state.set(start.id, "open");
    const stack = [{ id: start.id, next: 0 }];
    while (stack.length) {
      const top = stack[stack.length - 1];
      const edge = out.get(top.id)[top.next];
      if (!edge) {
        state.set(top.id, "done");
        stack.pop();
        continue;
      }
      top.next += 1;
      if (state.get(edge.target) === "open") back.add(edge);
      else if (!state.has(edge.target)) {
        state.set(edge.target, "open");
        stack.push({ id: edge.target, next: 0 });
      }
    }
  }
  return back;
}

function rankNodes(nodes, forward) {
  const indegree = new Map(nodes.map((node) => [node.id, 0]));
  const out = new Map(nodes.map((node) => [node.id, []]));
  for (const [source, target] of forward) {
    out.get(source).push(target);
    indegree.set(target, indegree.get(target) + 1);
  }
  const rank = new Map(nodes.map((node) => [node.id, 0]));
  const order = nodes.map((node) => node.id).filter((id) => indegree.get(id) === 0);
  for (let at = 0; at < order.length; at += 1) {
    for (const target of out.get(order[at])) {
      rank.set(target, Math.max(rank.get(target), rank.get(order[at]) + 1));
      indegree.set(target, indegree.get(target) - 1);
      if (indegree.get(target) === 0) order.push(target);
    }
  }
  // A source stands right before the first of its targets instead of far left.
  for (let at = order.length - 1; at >= 0; at -= 1) {
    const targets = out.get(order[at]);
    if (targets.length) rank.set(order[at], Math.min(...targets.map((target) => rank.get(target))) - 1);
  }
  return rank;
}

function addChain(cells, [source, target], index) {
  const first = cells.get(source);
  const last = cells.get(target);
  const chain = [first];
  for (let rank = first.rank + 1; rank < last.rank; rank += 1) {
    const bend = { id: `bend:${index}:${rank}`, width: 0, height: BEND_HEIGHT, rank, bend: true, before: [], after: [] };
    cells.set(bend.id, bend);
    chain.push(bend);
  }
  chain.push(last);
  for (let at = 1; at < chain.length; at += 1) {
    chain[at - 1].after.push(chain[at]);
    chain[at].before.push(chain[at - 1]);
  }
  return chain;
}

function orderRanks(ranks) {
  groupComponents(ranks);
  const number = (cells) => cells.forEach((cell, index) => { cell.order = index; });
  ranks.forEach(number);
  let best = ranks.map((cells) => [...cells]);
  let fewest = crossings(ranks);
  for (let sweep = 0; sweep < 12 && fewest > 0; sweep += 1) {
    const down = sweep % 2 === 0;
    const sequence = down ? ranks : [...ranks].reverse();
    for (const cells of sequence) {
      for (const cell of cells) {
        const near = (down ? cell.before : cell.after).map((other) => other.order).sort((a, b) => a - b);
        cell.wish = near.length ? (near[Math.floor((near.length - 1) / 2)] + near[Math.ceil((near.length - 1) / 2)]) / 2 : cell.order;
      }
      cells.sort((a, b) => a.component - b.component || a.wish - b.wish || a.order - b.order);
      number(cells);
    }
    const count = crossings(ranks);
    if (count < fewest) {
      fewest = count;
      best = ranks.map((cells) => [...cells]);
    }
  }
  best.forEach((cells, index) => {
    ranks[index] = cells;
    number(cells);
  });
}

/* Number the connected components, largest first, and keep the cells of each together. */
function groupComponents(ranks) {
  const groups = [];
  for (const start of ranks.flat()) {
    if (start.component !== undefined) continue;
    const group = [start];
    start.component = -1;
    for (let at = 0; at < group.length; at += 1) {
      for (const other of [...group[at].before, ...group[at].after]) {
        if (other.component !== undefined) continue;
        other.component = -1;
        group.push(other);
      }
    }
    groups.push(group);
  }
  groups.sort((a, b) => b.length - a.length);
  groups.forEach((group, index) => group.forEach((cell) => { cell.component = index; }));
  for (const cells of ranks) cells.sort((a, b) => a.component - b.component);
}

function crossings(ranks) {
  let count = 0;
  for (const cells of ranks) {
    const ends = cells.flatMap((cell) => cell.after.map((other) => [cell.order, other.order]));
    for (let a = 0; a < ends.length; a += 1) {
      for (let b = a + 1; b < ends.length; b += 1) {
        if ((ends[a][0] - ends[b][0]) * (ends[a][1] - ends[b][1]) < 0) count += 1;
      }
    }
  }
  return count;
}

function placeColumns(ranks) {
  let x = 0;
  for (const cells of ranks) {
    const width = Math.max(0, ...cells.map((cell) => cell.width));
    for (const cell of cells) {
      cell.x = cell.bend ? x : x + (width - cell.width) / 2;
      if (cell.bend) cell.width = width;
    }
    x += width + RANK_GAP;
  }
  return Math.max(0, x - RANK_GAP);
}

function placeRows(ranks) {
  for (const cells of ranks) {
    let y = 0;
    for (const cell of cells) {
      cell.y = y;
      y += cell.height + ROW_GAP;
    }
  }
  for (let sweep = 0; sweep < 16; sweep += 1) {
    const down = sweep % 2 === 0;
    for (const cells of down ? ranks : [...ranks].reverse()) {
      for (const cell of cells) {
        const near = sweep < 12 ? (down ? cell.before : cell.after) : [...cell.before, ...cell.after];
        const wanted = near.length ? near.reduce((sum, other) => sum + other.y + other.height / 2, 0) / near.length : cell.y + cell.height / 2;
        cell.wish = wanted - cell.height / 2;
        cell.weight = near.length ? (cell.bend ? 4 : 1) : 0.05;
      }
      settle(cells);
    }
  }
  const all = ranks.flat();
  const top = Math.min(0, ...all.map((cell) => cell.y));
  const least = all.length ? Math.min(...all.map((cell) => cell.y)) : top;
  for (const cell of all) cell.y -= least;
  return Math.max(0, ...all.map((cell) => cell.y + cell.height));
}

/* Give the cells of a rank the places nearest to their wishes (weighted least squares) that keep order and distance:
   cells that would overlap merge into a block, which stands at the mean of its wishes (pool adjacent violators). */
function settle(cells) {
  const blocks = [];
  let offset = 0;
  for (const cell of cells) {
    let block = { cells: [cell], weight: cell.weight, sum: cell.weight * (cell.wish - offset) };
    cell.offset = offset;
    offset += cell.height + ROW_GAP;
    while (blocks.length && blocks[blocks.length - 1].sum / blocks[blocks.length - 1].weight > block.sum / block.weight) {
      const before = blocks.pop();
      block = { cells: [...before.cells, ...block.cells], weight: before.weight + block.weight, sum: before.sum + block.sum };
    }
    blocks.push(block);
  }
  for (const block of blocks) {
    for (const cell of block.cells) cell.y = block.sum / block.weight + cell.offset;
  }
}

if (typeof module !== "undefined") module.exports = { layout };
