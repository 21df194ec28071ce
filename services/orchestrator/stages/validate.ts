import { ModelState, type InspectModelResponse, type Model, type ModelSource, type RunOutputs } from '@pairwise/api';
import { untilEnded } from '../poll.ts';
import { outputsOf, parentOf, setProgress } from '../run.ts';
import { changed } from '../runs.ts';
import { encodeFor } from '../spec/encode.ts';
import { checkGgufTargets } from '../spec/gguf.ts';
import { modulesOf } from '../spec/modules.ts';
import { checkPin } from '../spec/pins.ts';
import type { ResolvedSource } from '../spec/resolved.ts';
import type { StageContext } from './context.ts';
import { encodedSet, pairsEvents, type EncodedSet } from './pairs.ts';
import { planMemory } from './memory.ts';
import { quantize } from './quantize.ts';

/** Imports the model, finds the pairs, pins both, checks the exports, encodes the pairs for the model, and quantises it. */
export async function validate(context: StageContext): Promise<void> {
  const { spec, change } = context;
  const model = await readyModel(context);
  checkPin(spec, 'modelDigest', model.digest);
  const targetModules = modulesOf(spec.training, model);
  const inspected = await inspect(context, model);
  checkGgufTargets(spec, inspected);
  const training = await encode(context, model, 'training', spec.datasetVersion);
  checkPin(spec, 'datasetDigest', training.digest);
  const evaluation =
    spec.evaluation?.$case === 'evalDatasetVersion'
      ? await encode(context, model, 'evaluation', spec.evaluation.value)
      : undefined;
  checkPin(spec, 'evalDatasetDigest', evaluation?.digest ?? '');
  const plan = await planMemory(context, inspected, evaluation === undefined ? [training] : [training, evaluation]);
  // Last, since it takes the longest.
  await quantize(context, model);
  await change((changing) => {
    const { encoding, pairs } = training;
    Object.assign(outputsOf(changing), {
      model: model.name,
      encoding: encoding.name,
      evalEncoding: evaluation?.encoding.name ?? '',
      pairs,
      evalPairs: evaluation?.pairs,
    } satisfies Partial<RunOutputs>);
    changing.resolvedSpec = {
      ...spec,
      model: pinnedSource(spec.model, model),
      training: {
        ...spec.training,
        tuning: { $case: 'lora', value: { ...spec.training.tuning.value, targetModules } },
        maxLength: encoding.maxLength,
        ...plan.pins,
      },
      pins: {
        modelDigest: model.digest,
        datasetDigest: training.digest,
        evalDatasetDigest: evaluation?.digest ?? '',
        numericsProfile: spec.pins?.numericsProfile ?? '',
        engineVersion: spec.pins?.engineVersion ?? '',
      },
    };
    const total = pairs.encodedCount + pairs.leftOutCount;
    setProgress(changing, 'validate', { completed: total, total, unit: 'pairs' });
    return changed(...pairsEvents(evaluation === undefined ? [training] : [training, evaluation]), plan.event);
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

/** What `CreateRun` may have been unable to find out, because the model was not imported yet. */
function inspect({ run, peers, signal }: StageContext, { name }: Model): Promise<InspectModelResponse> {
  const source: ModelSource = { source: { $case: 'model', value: name } };
  return peers.model.inspectModel({ parent: parentOf(run), source }, { signal });
}

async function encode(
  { run, spec, peers, signal }: StageContext,
  model: Model,
  use: EncodedSet['use'],
  name: string,
): Promise<EncodedSet & { digest: string }> {
  const { version } = await peers.dataset.getDatasetVersion({ name }, { signal });
  const maxLength = run.spec?.training?.maxLength;
  const encoding = await encodeFor(peers, spec, { version: name, model: model.name, maxLength }, { signal });
  return { ...encodedSet(use, encoding), digest: version!.digest };
}

/** The source with the commit that was found, so that the same spec means the same files tomorrow. */
function pinnedSource(source: ResolvedSource, { repoId, commit }: Model): ModelSource {
  return commit === '' ? source : { source: { $case: 'hub', value: { repoId, revision: commit } } };
}
