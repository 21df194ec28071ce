import {
  Encoding,
  ModelState,
  TruncationMode,
  type DatasetVersion,
  type EncodeVersionRequest,
  type Model,
} from '@pairwise/api';
import { openDocuments, type Database } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { inField, parseName } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { encodeVersion, encodingFingerprint, type Cutting } from './encode.ts';
import { modelPattern, type Models } from './models.ts';
import { versionPattern, type Versions } from './versions.ts';

export const encodingPattern = `${versionPattern}/encodings/{encoding}` as const;

/** Longest prompt plus response where the caller does not say, in tokens; the model's own limit where that is shorter. */
const defaultMaxLength = 1024;

export type Encodings = ReturnType<typeof openEncodings>;

/** The encodings in Postgres. They outlive their datasets, since runs may be using them. */
export function openEncodings(database: Database) {
  return openDocuments(database, 'encodings', 'encoding', Encoding);
}

/** What encoding works with. */
export interface Encoder {
  blobs: BlobStore;
  encodings: Encodings;
  models: Models;
  versions: Versions;
}

/** Encodes each version once for a tokenizer and limits; calls for the same one at the same time wait for each other. */
export function openEncoder(encoder: Encoder) {
  const active = new Map<string, Promise<Encoding>>();

  async function make(name: string, version: DatasetVersion, model: Model, cutting: Cutting): Promise<Encoding> {
    const encoded = await encodeVersion(encoder.blobs, version, model, cutting);
    await encoder.encodings.create(name, version.name, { ...encoded, name });
    return encoder.encodings.get(name);
  }

  return async (request: EncodeVersionRequest): Promise<Encoding> => {
    parseName(versionPattern, request.name, 'name');
    const version = await encoder.versions.get(request.name);
    const model = await readyModel(encoder.models, request.model);
    const cutting = cuttingOf(request, model);
    const fingerprint = encodingFingerprint(version, model, cutting);
    const name = `${version.name}/encodings/${fingerprint.slice('sha256:'.length, 'sha256:'.length + 32)}`;
    const found = await encoder.encodings.find(name);
    if (found !== undefined) return found;
    const going = active.get(name) ?? make(name, version, model, cutting).finally(() => active.delete(name));
    active.set(name, going);
    return going;
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

function cuttingOf({ maxLength, truncationMode }: EncodeVersionRequest, model: Model): Cutting {
  const longest = maxLength ?? Math.min(defaultMaxLength, model.maxLength);
  if (longest < 2 || longest > model.maxLength) {
    const message = `max_length is ${longest}; it must be from 2 to ${model.maxLength}, the longest of the model`;
    throw new PairwiseError('INVALID_ARGUMENT', message, { field: 'max_length' });
  }
  const unset = truncationMode === TruncationMode.UNSPECIFIED;
  return { maxLength: longest, truncationMode: unset ? TruncationMode.REFUSE : truncationMode };
}
