import type { Graph } from '@pairwise/onnx';

/**
 * The same graph with the nodes whose results no other node uses at the end, the one that can run first last of all.
 * onnxruntime 1.30 runs nodes in the order of a depth-first search that starts at those nodes, from the last on. Of a
 * training graph they are the gradients: in the order of the backward pass everything else of a layer is free before the
 * next is begun, in any other order all layers' intermediate values wait for the end.
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
