import { Export, ExportState, type ExportTarget, type StartExportRequest } from '@pairwise/api';
import type { Stored } from '@pairwise/database';
import { PairwiseError } from '@pairwise/errors';
import { inField, newId, parseName, refuseLongList, refuseUnknownFields, type CallOptions } from '@pairwise/rpc';
import type { ExportRecord, Exports } from './exports.ts';
import type { Peers } from './peers.ts';
import { storedBytes } from './storage.ts';
import { tolerances } from './verify.ts';

/** Artifacts per export. */
const maxTargets = 32;

/** Implements `StartExport` up to queueing the work: checks the request and stores the export. */
export async function startExport(
  { exports, peers }: { exports: Exports; peers: Peers },
  request: StartExportRequest,
  options: CallOptions,
): Promise<Stored<ExportRecord>> {
  const { parent, source, targets } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.exportId, 'export', 'export_id');
  if (source === undefined) refuse('source', 'is not set; give checkpoint or model');
  refuseLongList(targets, maxTargets, 'targets');
  refuseUnknownFields(targets, 'targets');
  if (targets.length === 0) refuse('targets', 'is empty; name at least one');
  const named = targets.map((target, index) => checkTarget(target, source.$case, `targets[${index}]`));
  if (new Set(named.map(({ name }) => name)).size < named.length)
    refuse('targets', 'has two targets with the same name');
  const baseName = request.baseName || id;
  if (!/^[\w][\w.-]{0,99}$/.test(baseName))
    refuse(
      'base_name',
      'must have at most 100 characters, only letters, digits, ., _ and -, and must not start with . or -',
    );
  const { value: name } = source;
  if (source.$case === 'checkpoint') await inField('checkpoint', peers.training.getCheckpoint({ name }, options));
  else await inField('model', peers.model.getModel({ name }, options));
  if (named.some(({ format }) => format?.$case === 'gguf')) {
    if (request.encoding === '') refuse('encoding', 'is not set; GGUF files are verified with its pairs');
    await inField('encoding', peers.dataset.getEncoding({ name: request.encoding }, options));
  }
  const now = new Date();
  const exported = Export.create({
    name: `${parent}/exports/${id}`,
    state: ExportState.QUEUED,
    createTime: now,
    updateTime: now,
    targetCount: named.length,
  });
  return exports.ensure(exported, { ...request, exportId: id, baseName, targets: named });
}

function refuse(field: string, problem: string): never {
  throw new PairwiseError('INVALID_ARGUMENT', `${field} ${problem}`, { field });
}

function checkTarget(target: ExportTarget, source: 'checkpoint' | 'model', path: string): ExportTarget {
  const { format } = target;
  if (format === undefined) refuse(path, 'has no format; give gguf, adapter or merged');
  if (format.$case === 'adapter' && source === 'model')
    refuse(path, 'is an adapter, but a base model has no adapter to export');
  if (format.$case === 'gguf') oneOf(`${path}.gguf.type`, format.value.type, Object.keys(tolerances));
  const dtype = format.$case === 'merged' ? format.value.dtype : undefined;
  if (dtype !== undefined) oneOf(`${path}.merged.dtype`, dtype, Object.keys(storedBytes));
  const type = format.$case === 'gguf' ? format.value.type : dtype;
  const label = [format.$case, type].flatMap((part) => part ?? []).join('-');
  return { ...target, name: newId(target.name || label.toLowerCase().replaceAll('_', '-'), '', `${path}.name`) };
}

function oneOf(field: string, value: string, known: readonly string[]): void {
  if (!known.includes(value)) refuse(field, `is '${value}'; it must be one of ${known.join(', ')}`);
}
