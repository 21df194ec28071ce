import type { Graph, Node } from './graph.ts';
import { lower } from './lower.ts';

/**
 * Moves the nodes whose outputs no other node uses to the end, with the one that can run first at the very end.
 * onnxruntime 1.30 runs nodes in the order of a depth-first search from these final nodes, starting with the last. In a
 * training graph they are the gradients. In the order of the backward pass, everything in a layer is freed before the
 * next layer begins; in any other order the intermediate values of all layers stay in memory until the end.
 */
export function endsLast(graph: Graph): Graph {
  const used = new Set(graph.nodes.flatMap(({ inputs }) => inputs.map((input) => input?.name)));
  const place = new Map<string, number>();
  graph.nodes.forEach(({ outputs }, index) => outputs.forEach(({ name }) => place.set(name, index)));
  const isEnd = (node: Graph['nodes'][number]) => node.outputs.every(({ name }) => !used.has(name));
  const ready = ({ inputs }: Graph['nodes'][number]) =>
    Math.max(-1, ...inputs.map((input) => (input ? (place.get(input.name) ?? -1) : -1)));
  const ends = graph.nodes.filter(isEnd).sort((a, b) => ready(b) - ready(a));
  return { ...graph, nodes: [...graph.nodes.filter((node) => !isEnd(node)), ...ends] };
}

/** Lowered nodes in the order in which onnxruntime 1.30 runs them: that search visits the inputs declared last first. */
export function runOrder(nodes: readonly Node[]): Node[] {
  const producers = new Map(nodes.flatMap(({ outputs }, place) => outputs.map(({ name }) => [name, place] as const)));
  const inputs = nodes.map((node) => {
    const places = readsOf(node).map((name) => producers.get(name));
    return [...new Set(places)].filter((place) => place !== undefined).sort((a, b) => a - b);
  });
  const read = new Set(inputs.flat());
  const stack = nodes.map((_, place) => ({ place, inputsDone: false })).filter(({ place }) => !read.has(place));
  const visited = new Set<number>();
  const order: Node[] = [];
  for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
    const { place, inputsDone } = next;
    if (inputsDone) order.push(nodes[place]!);
    else if (!visited.has(place)) {
      visited.add(place);
      stack.push({ place, inputsDone: true }, ...inputs[place]!.map((input) => ({ place: input, inputsDone: false })));
    }
  }
  return order;
}

/** The names of the values that a lowered node reads, those that only the body of a loop reads included. */
export function readsOf({ inputs, attributes: { body } }: Node): string[] {
  const own = inputs.flatMap((input) => (input ? [input.name] : []));
  if (typeof body !== 'object' || !('graph' in body)) return own;
  const { nodes, outputs } = lower(body.graph);
  return [...own, ...nodes.flatMap(readsOf), ...outputs.map(({ name }) => name)];
}
