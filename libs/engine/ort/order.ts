import type { Graph } from '@pairwise/onnx';

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
