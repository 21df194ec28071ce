/** The linear layers that an adapter can change, with their names below `model.layers.N`. Each architecture has some of them. */
export const linearModules = {
  q_proj: 'self_attn.q_proj',
  k_proj: 'self_attn.k_proj',
  v_proj: 'self_attn.v_proj',
  qkv_proj: 'self_attn.qkv_proj',
  o_proj: 'self_attn.o_proj',
  gate_proj: 'mlp.gate_proj',
  up_proj: 'mlp.up_proj',
  gate_up_proj: 'mlp.gate_up_proj',
  down_proj: 'mlp.down_proj',
} as const;
export type LinearModule = keyof typeof linearModules;
/** The same layers by name: what `target_modules` may list. */
export const targetModules = Object.keys(linearModules) as LinearModule[];

/** A linear layer's weight as Hugging Face names it. */
export function linearName(layer: number, module: LinearModule): string {
  return `model.layers.${layer}.${linearModules[module]}.weight`;
}

/** A linear layer's bias as Hugging Face names it. */
export function biasName(layer: number, module: LinearModule): string {
  return `model.layers.${layer}.${linearModules[module]}.bias`;
}

/** The weight of the router of a layer with experts, `[experts, hidden]`. */
export function routerName(layer: number): string {
  return `model.layers.${layer}.mlp.gate.weight`;
}

/** A weight of one expert. */
export function expertName(layer: number, expert: number, module: 'gate_proj' | 'up_proj' | 'down_proj'): string {
  return `model.layers.${layer}.mlp.experts.${expert}.${module}.weight`;
}
