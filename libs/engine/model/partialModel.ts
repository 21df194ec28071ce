import type { BaseModel } from './baseModel.ts';
import { routerName } from './linearModules.ts';
import type { Weight } from './tensors.ts';

/**
 * A base model with its first layers only, and the first experts of each. Graphs of it are quickly built, and show what each
 * further layer or expert adds.
 */
export function partialModel(base: BaseModel, layerCount: number, expertCount: number): BaseModel {
  const { config, weights } = base;
  const layers = config.layers.slice(0, layerCount);
  if (config.experts === undefined) return { ...base, config: { ...config, layerCount, layers } };
  const experts = { ...config.experts, count: expertCount };
  const routers = layers.map((_, layer): [string, Weight] => {
    const name = routerName(layer);
    const { shape, length, ...rest } = weights.get(name)!;
    const rowBytes = length / shape[0]!;
    return [name, { ...rest, shape: [expertCount, ...shape.slice(1)], length: expertCount * rowBytes }];
  });
  return { ...base, config: { ...config, layerCount, layers, experts }, weights: new Map([...weights, ...routers]) };
}
