import { BaseQuantization, QuantizationState, type Model } from '@pairwise/api';
import { inField, resolveBaseQuantization } from '@pairwise/rpc';
import { untilEnded } from '../poll.ts';
import type { StageContext } from './context.ts';

/** Makes sure that the model has the quantisation that the run trains on, if any. Throws what quantising failed with. */
export async function quantize({ spec, peers, signal, report }: StageContext, { name }: Model): Promise<void> {
  const type = resolveBaseQuantization(spec.training.baseQuantization);
  if (type === BaseQuantization.NONE) return;
  await peers.model.ensureQuantization({ name, type }, { signal });
  const ready = untilEnded(
    {
      read: async () => {
        const { model } = await peers.model.getModel({ name }, { signal });
        return model!.quantizations.find((each) => each.type === type)!;
      },
      ended: ({ state }) => state !== QuantizationState.RUNNING,
      error: ({ error }) => error,
      changed: ({ writtenSizeBytes, sizeBytes }) =>
        report({ completed: Number(writtenSizeBytes), total: Number(sizeBytes), unit: 'bytes' }),
    },
    signal,
  );
  await inField('spec.training.base_quantization', ready);
}
