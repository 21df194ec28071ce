import { ModelState, type Encoding, type EncodeVersionRequest, type Model } from '@pairwise/api';
import { retryKilled } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { hexOf } from '@pairwise/fingerprint';
import { inField, parseName, resolveChatTemplate, resolveChatTemplateDate, resolveTruncationMode } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { modelPattern, type Models } from '../models/models.ts';
import { versionPattern, type Versions } from '../pairs/versions.ts';
import { encodeVersion } from './encodeVersion.ts';
import type { Encodings } from './encodings.ts';
import { encodingFingerprint, type EncodingSettings } from './fingerprint.ts';
import { openSharedWork } from './sharedWork.ts';

/** In tokens; the model's own limit applies if it is shorter. */
const defaultMaxLength = 1024;

export interface EncoderDeps {
  blobs: BlobStore;
  encodings: Encodings;
  models: Models;
  versions: Versions;
}

/** Implements `EncodeVersion`. The work stops when `signal` aborts, unless other callers wait for the same encoding. */
export type Encoder = (request: EncodeVersionRequest, signal: AbortSignal) => Promise<Encoding>;

export function openEncoder({ blobs, encodings, models, versions }: EncoderDeps): Encoder {
  const shared = openSharedWork<Encoding>();
  return async (request, signal) => {
    parseName(versionPattern, request.name, 'name');
    const version = await versions.get(request.name);
    const model = await readyModel(models, request.model);
    const settings = settingsOf(request, model);
    const id = hexOf(encodingFingerprint(version, model, settings)).slice(0, 32);
    const name = `${version.name}/encodings/${id}`;
    const found = await encodings.find(name);
    if (found !== undefined) return found;
    return shared.run(name, signal, async (stop) => {
      const encoded = await retryKilled(stop, () => encodeVersion(blobs, version, model, settings, stop));
      await encodings.create(name, version.name, { ...encoded, name });
      return encodings.get(name);
    });
  };
}

async function readyModel(models: Models, name: string): Promise<Model> {
  parseName(modelPattern, name, 'model');
  const { model } = await inField('model', models.get(name));
  if (model.state === ModelState.READY) return model;
  throw new PairwiseError('WRONG_STATE', `model: '${name}' is not ready; wait until its import has ended`, {
    field: 'model',
  });
}

function settingsOf(request: EncodeVersionRequest, model: Model): EncodingSettings {
  const { maxLength } = request;
  const longest = maxLength ?? Math.min(defaultMaxLength, model.maxLength);
  if (longest < 2 || longest > model.maxLength) {
    const message = `max_length is ${longest}; it must be from 2 to ${model.maxLength}, the model's limit`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'max_length' });
  }
  return {
    maxLength: longest,
    truncationMode: resolveTruncationMode(request.truncationMode),
    chatTemplate: resolveChatTemplate(request.chatTemplate),
    chatTemplateDate: resolveChatTemplateDate(request.chatTemplateDate, 'chat_template_date'),
  };
}
