import { PairwiseError } from '@pairwise/errors';
import { ops, type GraphBuilder, type Value } from '@pairwise/onnx';
import type { ModelConfig } from './config.ts';
import { architectures, type ArchitectureName } from './architectures.ts';
import { plainLinears, type ModelParameters } from './forward.ts';
import { linearModules, targetModules, type LinearModule } from './linearModules.ts';
import { linearShape } from './tensors.ts';

/** The settings of a LoRA adapter, with the names of the proto's `LoraConfig` and of PEFT. */
export interface LoraSettings {
  /** The rank. */
  r: number;
  loraAlpha: number;
  /** The adapted layers, in the model's order. */
  targetModules: LinearModule[];
  /** Whether to scale by loraAlpha / sqrt(r) instead of loraAlpha / r. */
  useRslora: boolean;
}

/** A tensor that is a part of a flat vector. */
export interface FlatEntry {
  /** The name in PEFT. */
  name: string;
  shape: [number, number];
  /** Index of its first element in the flat vector. */
  offset: number;
}

/** The adapter of one layer of the model: a flat float32 vector, fed and differentiated as a whole. */
export interface LoraLayer {
  feed: string;
  size: number;
  entries: FlatEntry[];
}

/** Modules with the same input. Their A factors are adjacent, so that one product computes them all. */
const inputGroups: readonly (readonly LinearModule[])[] = [
  ['q_proj', 'k_proj', 'v_proj'],
  ['qkv_proj'],
  ['o_proj'],
  ['gate_proj', 'up_proj'],
  ['gate_up_proj'],
  ['down_proj'],
];

/** The factor of B A x. */
export function loraScale({ r, loraAlpha, useRslora }: LoraSettings): number {
  return loraAlpha / (useRslora ? Math.sqrt(r) : r);
}

/** The name of a factor in PEFT. */
export function loraName(layer: number, module: LinearModule, factor: 'A' | 'B'): string {
  return `base_model.model.model.layers.${layer}.${linearModules[module]}.lora_${factor}.weight`;
}

/**
 * Where each factor is in the flat vectors, one vector per layer: for each group of modules with the same input all
 * A `[r, in]`, then all B `[out, r]`.
 */
export function loraLayout(config: ModelConfig, lora: LoraSettings): LoraLayer[] {
  return Array.from({ length: config.layerCount }, (_, layer) => {
    const entries: FlatEntry[] = [];
    let offset = 0;
    const place = (name: string, shape: [number, number]) => {
      entries.push({ name, shape, offset });
      offset += shape[0] * shape[1];
    };
    for (const modules of adaptedGroups(config, lora)) {
      for (const module of modules) place(loraName(layer, module, 'A'), [lora.r, linearShape(config, module)[1]]);
      for (const module of modules) place(loraName(layer, module, 'B'), [linearShape(config, module)[0], lora.r]);
    }
    return { feed: `lora_${layer}`, size: offset, entries };
  });
}

function adaptedGroups({ architecture }: ModelConfig, lora: LoraSettings): LinearModule[][] {
  const adapted = adaptedModules(architecture, lora);
  return inputGroups
    .map((modules) => modules.filter((module) => adapted.includes(module)))
    .filter((modules) => modules.length > 0);
}

/**
 * The layers of a model that the settings adapt: those that are named, or all of the model's if every name there is was
 * given, as `all-linear` means. Throws INVALID_ARGUMENT if one that is named is not in the model.
 */
export function adaptedModules(
  architecture: ArchitectureName,
  lora: Pick<LoraSettings, 'targetModules'>,
  field = 'lora.target_modules',
): LinearModule[] {
  const { modules } = architectures[architecture];
  const missing = lora.targetModules.filter((module) => !modules.includes(module));
  if (missing.length > 0 && lora.targetModules.length < targetModules.length) {
    const message = `${field} names ${missing.join(', ')}, which a ${architecture} does not have; it has ${modules.join(', ')}`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field });
  }
  return modules.filter((module) => lora.targetModules.includes(module));
}

/** Declares the adapter's inputs, one flat vector per layer, and builds linear layers with it: W x + scale B A x. */
export function loraLinears(
  g: GraphBuilder,
  config: ModelConfig,
  lora: LoraSettings,
  weight: ModelParameters['weight'],
): { inputs: Value[]; linears: ModelParameters['linears'] } {
  const { gemm, split } = ops(g);
  const layout = loraLayout(config, lora);
  const inputs = layout.map(({ feed, size }) => g.input(feed, 'float32', [size]));
  const factors = inputs.map((input) => splitFactors(g, input, config, lora));
  const scale = loraScale(lora);
  const plain = plainLinears(g, config, weight);
  return {
    inputs,
    linears: (x, layer, modules) => {
      const adapted = modules.filter((module) => lora.targetModules.includes(module));
      const base = plain(x, layer, modules);
      const [first] = adapted;
      if (first === undefined) return base;
      const { a, b } = factors[layer]!;
      const narrow = split(
        gemm(x, a.get(first)!, { transB: true }), // [T, adapted.length r]
        1,
        adapted.map(() => lora.r),
      ); // [T, r] for each
      return modules.map((module, place) => {
        const index = adapted.indexOf(module);
        if (index === -1) return base[place]!;
        return gemm(narrow[index]!, b.get(module)!, { transB: true, alpha: scale, bias: base[place]! }); // [T, out]
      });
    },
  };
}

/** The joined A factors of each group, keyed by the group's first module, and each B factor by its module. */
function splitFactors(g: GraphBuilder, input: Value, config: ModelConfig, lora: LoraSettings) {
  const { reshape, split } = ops(g);
  const groups = adaptedGroups(config, lora);
  const inputSize = (module: LinearModule) => linearShape(config, module)[1];
  const outputSize = (module: LinearModule) => linearShape(config, module)[0];
  const sizes = groups.flatMap((modules) => [
    modules.length * lora.r * inputSize(modules[0]!),
    ...modules.map((module) => lora.r * outputSize(module)),
  ]);
  const parts = [...split(input, 0, sizes)];
  const a = new Map<LinearModule, Value>();
  const b = new Map<LinearModule, Value>();
  for (const modules of groups) {
    const [first] = modules as [LinearModule];
    a.set(first, reshape(parts.shift()!, [modules.length * lora.r, inputSize(first)])); // [modules r, in]
    for (const module of modules) b.set(module, reshape(parts.shift()!, [outputSize(module), lora.r])); // [out, r]
  }
  return { a, b };
}

/**
 * The flat vectors of a new adapter, initialised as in PEFT: A uniform in ±1/sqrt(in) (Kaiming with a = sqrt(5)), B zero.
 * `uniform` returns the next random number in [0, 1).
 */
export function initialLora(layout: readonly LoraLayer[], uniform: () => number): Float32Array[] {
  return layout.map(({ size, entries }) => {
    const flat = new Float32Array(new SharedArrayBuffer(size * 4));
    for (const { name, shape, offset } of entries) {
      if (!name.endsWith('.lora_A.weight')) continue;
      const bound = 1 / Math.sqrt(shape[1]);
      for (let i = 0; i < shape[0] * shape[1]; i++) flat[offset + i] = (2 * uniform() - 1) * bound;
    }
    return flat;
  });
}

/** Adds scale B A to a weight `[out, in]` in place, or to some rows of it given the same rows of B. Sums in float64. */
export function mergeLora(weight: Float32Array, a: Float32Array, b: Float32Array, r: number, scale: number): void {
  const inputs = a.length / r;
  const outputs = b.length / r;
  const row = new Float64Array(inputs);
  for (let out = 0; out < outputs; out++) {
    row.set(weight.subarray(out * inputs, (out + 1) * inputs));
    for (let rank = 0; rank < r; rank++) {
      const factor = scale * b[out * r + rank]!;
      const start = rank * inputs;
      for (let i = 0; i < inputs; i++) row[i]! += factor * a[start + i]!;
    }
    weight.set(row, out * inputs);
  }
}
