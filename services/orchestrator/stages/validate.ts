import { ModelState, type Encoding, type Model, type ModelSource } from '@pairwise/api';
import { untilEnded } from '../poll.ts';
import { outputsOf, parentOf, setProgress } from '../run.ts';
import { changed } from '../runs.ts';
import { checkPin } from '../spec/pins.ts';
import type { ResolvedSource } from '../spec/resolved.ts';
import type { StageContext } from './context.ts';

/** Imports the model, finds the pairs, pins both, and encodes the pairs for the model. */
export async function validate(context: StageContext): Promise<void> {
  const { spec, change } = context;
  const model = await readyModel(context);
  checkPin(spec, 'modelDigest', model.digest);
  const pairs = await encode(context, model, spec.datasetVersion);
  checkPin(spec, 'datasetDigest', pairs.digest);
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion' ? await encode(context, model, spec.evaluation.value) : undefined;
  checkPin(spec, 'evalDatasetDigest', evaluation?.digest ?? '');
  await change((changing) => {
    const { name, maxLength, pairCount } = pairs.encoding;
    outputsOf(changing).model = model.name;
    outputsOf(changing).encoding = name;
    outputsOf(changing).evalEncoding = evaluation?.encoding.name ?? '';
    changing.resolvedSpec = {
      ...spec,
      model: pinnedSource(spec.model, model),
      training: { ...spec.training, maxLength },
      pins: {
        modelDigest: model.digest,
        datasetDigest: pairs.digest,
        evalDatasetDigest: evaluation?.digest ?? '',
        numericsProfile: spec.pins?.numericsProfile ?? '',
        engineVersion: spec.pins?.engineVersion ?? '',
      },
    };
    setProgress(changing, 'validate', { completed: pairCount, total: pairCount, unit: 'pairs' });
    return changed({ type: 'dataset.encoded', stage: 'validate', message: describe(pairs.encoding) });
  });
}

async function readyModel({ run, spec, peers, signal }: StageContext): Promise<Model> {
  const importModel = async () => {
    const requestId = `run-${run.uid}-${run.attempt}`;
    const request = { parent: parentOf(run), modelId: '', source: spec.model, requestId, validateOnly: false };
    return (await peers.model.importModel(request, { signal })).model!.name;
  };
  const { source } = spec.model;
  const name = source.$case === 'model' ? source.value : await importModel();
  return untilEnded(
    {
      read: async () => (await peers.model.getModel({ name }, { signal })).model!,
      ended: ({ state }) => state !== ModelState.IMPORTING,
      error: ({ error }) => error,
    },
    signal,
  );
}

async function encode({ run, spec, peers, signal }: StageContext, model: Model, name: string) {
  // What the caller gave, if anything: the default depends on the model, so the dataset service fills it in.
  const maxLength = run.spec?.training?.maxLength;
  const { version } = await peers.dataset.getDatasetVersion({ name }, { signal });
  const { chatTemplate, chatTemplateDate, training } = spec;
  const request = {
    name,
    model: model.name,
    maxLength,
    truncationMode: training.truncationMode,
    chatTemplate,
    chatTemplateDate,
  };
  const { encoding } = await peers.dataset.encodeVersion(request, { signal });
  return { digest: version!.digest, encoding: encoding! };
}

/** The source with the commit that was found, so that the same spec means the same files tomorrow. */
function pinnedSource(source: ResolvedSource, { repoId, commit }: Model): ModelSource {
  return commit === '' ? source : { source: { $case: 'hub', value: { repoId, revision: commit } } };
}

function describe({ pairCount, tokenCount, longestLength, report }: Encoding): string {
  const refused = report?.refusedCount ?? 0;
  const left = refused === 0 ? '' : `; ${refused} were left out`;
  return `${pairCount} pairs with ${tokenCount} tokens, the longest with ${longestLength}${left}.`;
}
