import { ModelState, type Encoding, type Model, type ModelSource, type Run } from '@pairwise/api';
import type { Driver } from '../driver.ts';
import { follow } from '../follow.ts';
import { checkPin, outputsOf, parentOf, progress, resolvedSpecOf } from '../run.ts';

/** Brings in the model, finds the pairs, pins both, and encodes the pairs for the model. */
export async function validate(driver: Driver, run: Run, signal: AbortSignal): Promise<void> {
  const spec = resolvedSpecOf(run);
  const model = await readyModel(driver, run, signal);
  checkPin(spec.pins?.modelDigest, model.digest, 'model_digest');
  const pairs = await encode(driver, run, model, spec.datasetVersion, signal);
  checkPin(spec.pins?.datasetDigest, pairs.digest, 'dataset_digest');
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion'
      ? await encode(driver, run, model, spec.evaluation.value, signal)
      : undefined;
  checkPin(spec.pins?.evalDatasetDigest, evaluation?.digest ?? '', 'eval_dataset_digest');
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).model = model.name;
    outputsOf(changing).encoding = pairs.encoding.name;
    outputsOf(changing).evalEncoding = evaluation?.encoding.name ?? '';
    changing.resolvedSpec = {
      ...spec,
      model: pinnedSource(spec.model, model),
      training: { ...spec.training!, maxLength: pairs.encoding.maxLength },
      pins: {
        modelDigest: model.digest,
        datasetDigest: pairs.digest,
        evalDatasetDigest: evaluation?.digest ?? '',
        numericsProfile: spec.pins?.numericsProfile ?? '',
        engineVersion: spec.pins?.engineVersion ?? '',
      },
    };
    progress(changing, 'validate', pairs.encoding.pairCount, pairs.encoding.pairCount, 'pairs');
    return [{ type: 'dataset.encoded', stage: 'validate', message: describe(pairs.encoding) }];
  });
}

async function readyModel({ peers }: Driver, run: Run, signal: AbortSignal): Promise<Model> {
  const source = resolvedSpecOf(run).model;
  const name =
    source?.source?.$case === 'model'
      ? source.source.value
      : await importModel(peers, parentOf(run), source, `run-${run.uid}-${run.attempt}`, signal);
  return follow(
    {
      read: async () => (await peers.model.getModel({ name }, { signal })).model!,
      ended: ({ state }) => state !== ModelState.IMPORTING,
      error: ({ error }) => error,
    },
    signal,
  );
}

async function importModel(
  peers: Driver['peers'],
  parent: string,
  source: ModelSource | undefined,
  requestId: string,
  signal: AbortSignal,
): Promise<string> {
  const request = { parent, modelId: '', source, requestId, validateOnly: false };
  return (await peers.model.importModel(request, { signal })).model!.name;
}

async function encode({ peers }: Driver, run: Run, model: Model, name: string, signal: AbortSignal) {
  const { truncationMode } = resolvedSpecOf(run).training!;
  // As it was sent: the default depends on the model.
  const maxLength = run.spec?.training?.maxLength;
  const { version } = await peers.dataset.getDatasetVersion({ name }, { signal });
  const request = { name, model: model.name, maxLength, truncationMode };
  const { encoding } = await peers.dataset.encodeVersion(request, { signal });
  return { digest: version!.digest, encoding: encoding! };
}

/** The source with the commit that was found, so that the same spec means the same files tomorrow. */
function pinnedSource(source: ModelSource | undefined, { repoId, commit }: Model): ModelSource | undefined {
  return commit === '' ? source : { source: { $case: 'hub', value: { repoId, revision: commit } } };
}

function describe({ pairCount, tokenCount, longestLength, report }: Encoding): string {
  const left = report === undefined || report.refusedCount === 0 ? '' : `; ${report.refusedCount} were left out`;
  return `${pairCount} pairs of ${tokenCount} tokens, the longest of ${longestLength}${left}.`;
}
