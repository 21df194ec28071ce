import { ModelState, type Encoding, type Model, type ModelSource, type Run } from '@pairwise/api';
import type { Driver } from '../driver.ts';
import { cancelled, follow, patiently } from '../follow.ts';
import { checkPin, outputsOf, parentOf, progress, resolvedSpecOf } from '../run.ts';

/** Brings in the model, finds the pairs, pins both, and encodes the pairs for the model. */
export async function validate(driver: Driver, run: Run) {
  const spec = resolvedSpecOf(run);
  const model = await readyModel(driver, run, spec.model!);
  const { maxLength, truncationMode } = spec.training!;
  const encode = async (versionName: string, pinned: string | undefined, field: string) => {
    const { version } = await patiently(driver, run.name, () =>
      driver.peers.dataset.getDatasetVersion({ name: versionName }),
    );
    checkPin(pinned, version!.digest, field);
    const { encoding } = await patiently(driver, run.name, () =>
      driver.peers.dataset.encodeVersion({ name: versionName, model: model.name, maxLength, truncationMode }),
    );
    return { digest: version!.digest, encoding: encoding! };
  };
  checkPin(spec.pins?.modelDigest, model.digest, 'model_digest');
  const pairs = await encode(spec.datasetVersion, spec.pins?.datasetDigest, 'dataset_digest');
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion'
      ? await encode(spec.evaluation.value, spec.pins?.evalDatasetDigest, 'eval_dataset_digest')
      : undefined;
  await driver.runs.change(run.name, (changing) => {
    outputsOf(changing).model = model.name;
    outputsOf(changing).encoding = pairs.encoding.name;
    outputsOf(changing).evalEncoding = evaluation?.encoding.name ?? '';
    changing.resolvedSpec = {
      ...spec,
      // The commit is pinned, so that the same spec means the same files tomorrow.
      model: pinnedSource(spec.model!, model),
      pins: {
        modelDigest: model.digest,
        datasetDigest: pairs.digest,
        evalDatasetDigest: evaluation?.digest ?? '',
        numericsProfile: spec.pins?.numericsProfile ?? '',
        engineVersion: spec.pins?.engineVersion ?? '',
      },
    };
    progress(changing, 'validate', pairs.encoding.pairCount, pairs.encoding.pairCount, 'pairs');
    return [{ type: 'dataset.encoded', stage: 'validate', message: describeEncoding(pairs.encoding) }];
  });
}

async function readyModel(driver: Driver, run: Run, source: ModelSource): Promise<Model> {
  const { peers } = driver;
  const parent = parentOf(run);
  const imported =
    source.source?.$case === 'model'
      ? source.source.value
      : (
          await patiently(driver, run.name, () =>
            peers.model.importModel({ parent, modelId: '', source, requestId: `run-${run.uid}`, validateOnly: false }),
          )
        ).model!.name;
  return follow(driver, run.name, {
    read: async () => (await peers.model.getModel({ name: imported })).model!,
    ended: ({ state }) => state !== ModelState.IMPORTING,
    error: ({ error }) => error,
    // Other runs may wait for the same import, so a cancelled run leaves it alone.
    cancel: () => Promise.reject(cancelled()),
  });
}

function pinnedSource(source: ModelSource, model: Model): ModelSource {
  if (model.commit === '') return source;
  return { source: { $case: 'hub', value: { repoId: model.repoId, revision: model.commit } } };
}

function describeEncoding({ pairCount, tokenCount, longestLength, report }: Encoding): string {
  const refused = report?.refusedCount ?? 0;
  const left = refused === 0 ? '' : `; ${refused} left out`;
  return `${pairCount} pairs of ${tokenCount} tokens, the longest of ${longestLength}${left}.`;
}
