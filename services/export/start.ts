import { Export, ExportState, type StartExportRequest } from '@pairwise/api';
import type { Stored } from '@pairwise/database';
import { inField, isGguf, newId, parseName, refuseField, resolveTargets, type CallOptions } from '@pairwise/rpc';
import type { ExportRecord, Exports } from './exports.ts';
import type { Peers } from './peers.ts';

/** Implements `StartExport` up to queueing the work: checks the request and stores the export. */
export async function startExport(
  { exports, peers }: { exports: Exports; peers: Peers },
  request: StartExportRequest,
  options: CallOptions,
): Promise<Stored<ExportRecord>> {
  const { parent, source, targets } = request;
  parseName('projects/{project}', parent, 'parent');
  const id = newId(request.exportId, 'export', 'export_id');
  if (source === undefined) refuseField('source', 'is not set; give checkpoint or model');
  if (targets.length === 0) refuseField('targets', 'is empty; name at least one');
  const named = resolveTargets(targets, 'targets');
  const adapter = named.findIndex(({ format }) => ['adapter', 'ggufAdapter'].includes(format.$case));
  if (adapter >= 0 && source.$case === 'model')
    refuseField(`targets[${adapter}]`, 'is an adapter, but a base model has no adapter to export');
  const baseName = request.baseName || id;
  if (!/^[\w][\w.-]{0,99}$/.test(baseName))
    refuseField(
      'base_name',
      'must have at most 100 characters, only letters, digits, ., _ and -, and must not start with . or -',
    );
  const { value: name } = source;
  if (source.$case === 'checkpoint') await inField('checkpoint', peers.training.getCheckpoint({ name }, options));
  else await inField('model', peers.model.getModel({ name }, options));
  if (named.some(isGguf)) {
    if (request.encoding === '')
      refuseField('encoding', 'is not set; GGUF files and adapters are verified with its pairs');
    await inField('encoding', peers.dataset.getEncoding({ name: request.encoding }, options));
    if (request.evalEncoding !== '')
      await inField('eval_encoding', peers.dataset.getEncoding({ name: request.evalEncoding }, options));
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
