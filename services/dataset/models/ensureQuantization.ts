import {
  BaseQuantization,
  baseQuantizationToJSON,
  ModelQuantization,
  ModelState,
  QuantizationState,
  type EnsureQuantizationRequest,
  type Model,
} from '@pairwise/api';
import type { Queries } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { parseName, refuseField } from '@pairwise/rpc';
import { modelPattern, type Models } from './models.ts';
import type { QuantizeInput } from './quantizeWork.ts';

export interface EnsureQuantizationDeps {
  models: Models;
  /** Queues the quantising of a model when the transaction commits. */
  enqueueQuantization: (input: QuantizeInput, tx: Queries) => Promise<void>;
}

const types: readonly BaseQuantization[] = [BaseQuantization.INT8, BaseQuantization.NF4];

/** Implements `EnsureQuantization`: queues the quantising of a model unless it is queued, running or done. */
export async function ensureQuantization(
  { models, enqueueQuantization }: EnsureQuantizationDeps,
  { name, type }: EnsureQuantizationRequest,
): Promise<Model> {
  parseName(modelPattern, name, 'name');
  if (!types.includes(type)) {
    const [given, ...allowed] = [type, ...types].map(baseQuantizationToJSON);
    refuseField('type', `is ${given}; it must be one of ${allowed.join(', ')}`);
  }
  const { model: changed } = await models.change(name, async ({ model, quantizationAttempts }, tx) => {
    if (model.state !== ModelState.READY) {
      const message = `name: '${name}' is not ready; wait until its import has succeeded`;
      throw new PairwiseError('WRONG_STATE', message, { field: 'name' });
    }
    const found = model.quantizations.findIndex((each) => each.type === type);
    if (found >= 0 && model.quantizations[found]!.state !== QuantizationState.FAILED) return 'unchanged';
    const begun = ModelQuantization.create({ type, state: QuantizationState.RUNNING });
    model.quantizations.splice(found < 0 ? model.quantizations.length : found, 1, begun);
    const json = baseQuantizationToJSON(type);
    const attempt = (quantizationAttempts[json] ?? 0) + 1;
    quantizationAttempts[json] = attempt;
    await enqueueQuantization({ name, type: json, attempt }, tx);
    return 'changed';
  });
  return changed;
}
