import type { ActivationCheckpointing } from '@pairwise/autodiff';
import { PairwiseError } from '@pairwise/errors';
import {
  expertRows,
  loraLayout,
  partialModel,
  queryChunkRows,
  rowCount,
  targetCount,
  type BaseModel,
  type LoraSettings,
} from '@pairwise/model';
import { headChunkRows, peakBytes, type Graph, type Sizes } from '@pairwise/onnx';
import { defaultRowLimit } from './batches.ts';
import { treeOf, type TrainingPair } from './dpo.ts';
import { dpoGraph, policyGraph, referenceGraph } from './graphs.ts';
import type { LossType } from './losses.ts';

/** The memory that a worker needs at its peak, in bytes. */
export interface Memory {
  /** Pages of the weight files, which the runtime maps. */
  weightBytes: number;
  /** What exists only while a micro-batch runs: activations, a layer's matrices in float32, part of the logits. */
  activationBytes: number;
  /** The adapter, its gradients and AdamW's moments; 0 for the reference. */
  adapterBytes: number;
  /** The process itself, with the compiled graph. */
  processBytes: number;
}

/** The largest micro-batch of some work. */
export interface MicroBatchShape {
  /** The most rows. */
  rows: number;
  /** The most targets. */
  targets: number;
  /** The rows of the longest pair. */
  longestRows: number;
}

/**
 * A bound on the micro-batches of `rowLimit` rows that any order of these pairs can give. A pair that is longer has one of its
 * own. @default `defaultRowLimit`
 */
export function microBatchShape(
  pairs: readonly Pick<TrainingPair, 'prompt' | 'chosen' | 'rejected'>[],
  rowLimit = defaultRowLimit,
): MicroBatchShape {
  const shape = { rows: 0, targets: 0, longestRows: 0 };
  let all = 0;
  for (const tree of pairs.map(treeOf)) {
    const rows = rowCount(tree);
    shape.longestRows = Math.max(shape.longestRows, rows);
    shape.targets = Math.max(shape.targets, targetCount(tree));
    all += rows;
  }
  const together = Math.min(all, rowLimit);
  shape.rows = Math.max(shape.longestRows, together);
  // Pairs that are almost all response have about a target for each row.
  shape.targets = Math.max(shape.targets, together);
  return shape;
}

/** What a worker trains. */
export interface TrainedAdapter {
  lora: LoraSettings;
  lossType: LossType;
  /** Whether the policy is evaluated too, which a graph of its own does. @default false */
  evaluates?: boolean;
}

/** The memory of a worker that trains. */
export function trainingMemory(
  base: BaseModel,
  { lora, lossType, evaluates = false }: TrainedAdapter,
  activationCheckpointing: ActivationCheckpointing,
  shape: MicroBatchShape,
): Memory {
  const graphOf = (model: BaseModel) => dpoGraph(model, lora, lossType, { activationCheckpointing });
  const parameters = loraLayout(base.config, lora).reduce((sum, { size }) => sum + size, 0);
  // The parameters, two moments, the sum of the gradients, and the gradients of the last micro-batch, which are added to it
  // while the next one runs. The gradients of that one are part of what the graph needs.
  const memory = { ...graphMemory(base, graphOf, shape), adapterBytes: 5 * 4 * parameters };
  if (!evaluates) return memory;
  // The runtime keeps what either graph has needed.
  const { activationBytes, processBytes } = graphMemory(base, (model) => policyGraph(model, lora), shape);
  return {
    ...memory,
    activationBytes: memory.activationBytes + activationBytes,
    processBytes: memory.processBytes + processBytes - ownBytes,
  };
}

/** The memory of a worker that computes reference logps. */
export function referenceMemory(base: BaseModel, shape: MicroBatchShape): Memory {
  return { ...graphMemory(base, referenceGraph, shape), adapterBytes: 0 };
}

/** The sum of all parts, in bytes. */
export function totalBytes({ weightBytes, activationBytes, adapterBytes, processBytes }: Memory): number {
  return weightBytes + activationBytes + adapterBytes + processBytes;
}

/** The share of a worker's memory that a plan may take: the rest is for what else runs there, and for what no plan foresees. */
const usableShare = 0.9;

/** Whether a worker with this much memory has enough. */
export function fits(memory: Memory, availableBytes: number): boolean {
  return totalBytes(memory) <= usableShare * availableBytes;
}

/** The refusal of work that needs more memory than `who` has, an OUT_OF_MEMORY that ends with the remedies. */
export function outOfMemory(
  who: string,
  memory: Memory,
  availableBytes: number,
  remedies: readonly string[],
): PairwiseError {
  const problem = `${who} needs ${describeMemory(memory)}, but may use only ${100 * usableShare} % of its ${gigabytes(availableBytes)}`;
  const message = `${problem}; ${[...remedies, 'use workers with more memory'].join(', or ')}`;
  const metadata = { needed_bytes: String(totalBytes(memory)), available_bytes: String(availableBytes) };
  return new PairwiseError('OUT_OF_MEMORY', message, { metadata });
}

/** A plan in words: its sum, and its parts. */
export function describeMemory(memory: Memory): string {
  const { weightBytes, activationBytes, adapterBytes, processBytes } = memory;
  const parts = [
    `weights ${gigabytes(weightBytes)}`,
    `activations ${gigabytes(activationBytes)}`,
    ...(adapterBytes > 0 ? [`adapter and optimizer ${gigabytes(adapterBytes)}`] : []),
    `process ${gigabytes(processBytes)}`,
  ];
  return `${gigabytes(totalBytes(memory))} (${parts.join(', ')})`;
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(bytes < 1e9 ? 2 : 1)} GB`;

/**
 * How much memory the runtime's pool takes for each byte that is in use: what is free in it is often too small for the next
 * value. Measured: 1.1 to 1.4.
 */
const poolFactor = 1.2;

/**
 * Node, the libraries of a worker, its threads and the buffers of their products, in a process with the `allocatorSettings`.
 */
const ownBytes = 225e6;

/** The runtime's objects for a node of a graph. */
const nodeBytes = 7500;

type GraphMemory = Omit<Memory, 'adapterBytes'>;

/** How many layers are planned as they are. */
const plannedLayers = 4;

/** How many experts are planned as they are, besides those of one token. */
const plannedExperts = 2;

/**
 * Building the graph of a deep model, or of one with many experts, would take seconds. All layers have the same shapes, and all
 * experts, so the first ones are planned, and say what each of the others adds to every part. The first experts then have the
 * rows of all of them.
 */
function graphMemory(base: BaseModel, graphOf: (base: BaseModel) => Graph, shape: MicroBatchShape): GraphMemory {
  const { config } = base;
  const { count = 0, perToken = 0 } = config.experts ?? {};
  return extrapolate(config.layerCount, plannedLayers, (layers) =>
    extrapolate(count, perToken + plannedExperts, (experts) => {
      const part = partialModel(base, layers, experts);
      return wholeGraphMemory(graphOf(part), { ...shape, config: part.config });
    }),
  );
}

/** What `count` equal parts take, of which at most `planned` are measured. */
function extrapolate(count: number, planned: number, measure: (count: number) => GraphMemory): GraphMemory {
  const most = measure(Math.min(count, planned));
  if (count <= planned) return most;
  const fewer = measure(planned - 1);
  const all = (part: keyof GraphMemory) => most[part] + (count - planned) * (most[part] - fewer[part]);
  return {
    weightBytes: all('weightBytes'),
    activationBytes: all('activationBytes'),
    processBytes: all('processBytes'),
  };
}

function wholeGraphMemory(graph: Graph, shape: MicroBatchShape & Pick<BaseModel, 'config'>): GraphMemory {
  const weightBytes = graph.externals.reduce((sum, { data }) => sum + data.length, 0);
  return {
    weightBytes,
    activationBytes: Math.round(poolFactor * peakBytes(graph, sizesOf(shape.config, shape))),
    processBytes: ownBytes + nodeBytes * graph.nodes.length,
  };
}

/** Numbers for the names of sizes in graphs; see `packedInputs`, attentionLoops.ts and targetLogpsLoop.ts. */
function sizesOf(
  { experts, vocabularySize }: BaseModel['config'],
  { rows, targets, longestRows }: MicroBatchShape,
): Sizes {
  const sizes: Record<string, number> = {
    T: rows,
    N: targets,
    // A pair has at least three rows.
    P: Math.ceil(rows / 3),
    // Chunks of queries.
    M: Math.ceil(rows / queryChunkRows) * 2,
    C: Math.min(rows, queryChunkRows),
    K: longestRows,
    R: Math.min(headChunkRows, vocabularySize),
    done: rows,
    before: rows,
    changed: longestRows,
    rows: rows + 1,
  };
  const rowsOfExpert = experts === undefined ? 0 : (rows * experts.perToken) / experts.count;
  return (name) => (name.startsWith(expertRows) ? rowsOfExpert : sizes[name]);
}
