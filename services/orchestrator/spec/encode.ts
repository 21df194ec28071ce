import type { Encoding } from '@pairwise/api';
import type { CallOptions } from '@pairwise/rpc';
import type { Peers } from '../peers.ts';
import type { ResolvedSpec } from './resolved.ts';

/** Encodes a dataset version for a model as a run with this spec does. */
export async function encodeFor(
  { dataset }: Peers,
  { chatTemplate, chatTemplateDate, training }: ResolvedSpec,
  request: {
    version: string;
    model: string;
    /** What the caller gave, if anything: the default depends on the model, so the dataset service fills it in. */
    maxLength: number | undefined;
  },
  options: CallOptions,
): Promise<Encoding> {
  const { version: name, model, maxLength } = request;
  const { truncationMode } = training;
  const settings = { maxLength, truncationMode, chatTemplate, chatTemplateDate };
  return (await dataset.encodeVersion({ name, model, ...settings }, options)).encoding!;
}
