import {
  Encoding,
  ModelState,
  TruncationMode,
  type DatasetVersion,
  type EncodeVersionRequest,
  type Model,
} from '@pairwise/api';
import { openDocuments, type Database } from '@pairwise/database';
import { thrice } from '@pairwise/durable';
import { PairwiseError } from '@pairwise/errors';
import { inField, parseName, unlessAborted } from '@pairwise/rpc';
import type { BlobStore } from '@pairwise/store';
import { encodeVersion, encodingFingerprint, type Cutting } from './encode.ts';
import { modelPattern, type Models } from '../models/models.ts';
import { versionPattern, type Versions } from '../pairs/versions.ts';

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

/** An encoding in the making, for all calls that wait for it. */
interface Making {
  encoding: Promise<Encoding>;
  callers: number;
  abort: AbortController;
}

/**
 * Encodes each version once for a tokenizer and limits; calls for the same one at the same time share the work, which
 * ends when the last of them is aborted.
 */
export function openEncoder(encoder: Encoder) {
  const active = new Map<string, Making>();

  async function make(
    name: string,
    version: DatasetVersion,
    model: Model,
    cutting: Cutting,
    signal: AbortSignal,
  ): Promise<Encoding> {
    const encoded = await thrice(signal, () => encodeVersion(encoder.blobs, version, model, cutting, signal));
    await encoder.encodings.create(name, version.name, { ...encoded, name });
    return encoder.encodings.get(name);
  }

  async function share(name: string, making: Making, signal: AbortSignal): Promise<Encoding> {
    active.set(name, making);
    making.callers += 1;
    try {
      return await unlessAborted(making.encoding, signal);
    } finally {
      making.callers -= 1;
      if (making.callers === 0) {
        active.delete(name);
        making.abort.abort(signal.reason);
        // Nobody waits for it any more.
        making.encoding.catch(() => undefined);
      }
    }
  }

  return async (request: EncodeVersionRequest, signal: AbortSignal): Promise<Encoding> => {
    parseName(versionPattern, request.name, 'name');
    const version = await encoder.versions.get(request.name);
    const model = await readyModel(encoder.models, request.model);
    const cutting = cuttingOf(request, model);
    const fingerprint = encodingFingerprint(version, model, cutting);
    const name = `${version.name}/encodings/${fingerprint.slice('sha256:'.length, 'sha256:'.length + 32)}`;
    const found = await encoder.encodings.find(name);
    if (found !== undefined) return found;
    const making = active.get(name);
    if (making !== undefined) return share(name, making, signal);
    const abort = new AbortController();
    const encoding = make(name, version, model, cutting, abort.signal);
    return share(name, { encoding, callers: 0, abort }, signal);
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
